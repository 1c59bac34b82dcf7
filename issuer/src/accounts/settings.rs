//! What of an account differs from its merchant's settings, stored as JSON.

use margrave_shared::permission::Permission;
use margrave_shared::session::SessionPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An account's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
// What a later release has stored is read past; what a request brings is not (`Incoming::read`).
#[schemars(deny_unknown_fields)]
pub(crate) struct AccountSettings {
    /// Permissions that it has beside those of its roles.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(length(max = 100))]
    pub(crate) permissions: BTreeSet<Permission>,
    /// The limits of its sessions (L3); absent = the merchant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionPolicy>,
    /// Whether a new login ends its other sessions (L7); absent = as the merchant says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) single_session: Option<bool>,
}

impl AccountSettings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// With what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.session.as_ref().map_or(Ok(()), SessionPolicy::check)
    }
}
