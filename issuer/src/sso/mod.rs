//! Users whom a company's own page vouches for (S4): the secrets by which a merchant does so.

mod secret;
mod store;

pub(crate) use secret::{NewSecret, Previous, check, delete_secret, find_secret, set_secret_in};

use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;

/// A merchant's secret, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct SsoSecret {
    /// When it was set.
    pub(crate) created_at: UnixMs,
    /// Until when what was signed with the one before counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous_until: Option<UnixMs>,
}
