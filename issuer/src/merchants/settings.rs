//! A merchant's settings, stored as JSON.

use margrave_shared::factor_policy::FactorPolicy;
use margrave_shared::session::SessionPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A merchant's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
// What a later release has stored is read past; what a request brings is not (`Incoming::read`).
#[schemars(deny_unknown_fields)]
pub(crate) struct MerchantSettings {
    /// The limits of its sessions; absent = the issuer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionPolicy>,
    /// Which permissions factors give; absent = the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) factor_policy: Option<FactorPolicy>,
    /// Whether a new login ends the account's other sessions (L7); absent = no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) single_session: Option<bool>,
}

impl MerchantSettings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// With what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.session.as_ref().map_or(Ok(()), SessionPolicy::check)?;
        let policy = self.factor_policy.as_ref().map_or(Ok(()), FactorPolicy::check);
        policy.map_err(|problem| format!("`factor_policy`: {problem}"))
    }
}
