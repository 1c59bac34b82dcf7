//! Getting into an account again: an administrator starts a reset, waits with its owner, and who holds the token sets a password.

mod confirm_reset;
pub(crate) mod routes;
mod start_reset;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use start_reset::{Starter, call_off_reset, cancel_reset, start_reset_in};
pub(crate) use store::{delete_dead, delete_reset, delete_resets_of, find_reset};

use margrave_shared::account_reset::ResetReason;
use margrave_shared::permission::Permission;
use margrave_shared::secret::SecretText;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// A reset that has been started, without its token.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Reset {
    /// Who started it, as the audit names them.
    pub(crate) started_by: String,
    /// What they might do then.
    #[serde(skip)]
    pub(crate) scope: BTreeSet<Permission>,
    /// The generation of a person who started it: whatever ends all that they have ends this.
    #[serde(skip)]
    pub(crate) starter_generation: Option<i64>,
    /// Why.
    pub(crate) reason: ResetReason,
    /// When.
    pub(crate) started_at: UnixMs,
    /// From when on a password can be set.
    pub(crate) usable_at: UnixMs,
    /// Until when.
    pub(crate) expires_at: UnixMs,
}

/// A reset with its token, which is shown this once.
#[derive(Debug)]
pub(crate) struct IssuedReset {
    /// The token.
    pub(crate) token: SecretText,
    /// What was started.
    pub(crate) reset: Reset,
}

impl IssuedReset {
    /// Where a person sets the password: the token stands in the fragment, which no server and no log gets.
    pub(crate) fn link(&self, public_url: &str) -> String {
        format!("{public_url}/reset#{}", self.token.expose())
    }
}
