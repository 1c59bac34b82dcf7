//! A merchant's settings, stored as JSON.

use margrave_shared::permission::FactorPolicy;
use margrave_shared::session::SessionPolicy;
use serde::{Deserialize, Serialize};

/// A merchant's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MerchantSettings {
    /// The limits of its sessions; absent = the issuer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionPolicy>,
    /// Which permissions factors give; absent = the default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) factor_policy: Option<FactorPolicy>,
}
