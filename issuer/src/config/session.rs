//! `[session]`: the limits of sessions where a merchant sets none.

use margrave_shared::session::SessionPolicy;
use serde::{Deserialize, Serialize};

/// The limits of sessions.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct SessionConfig {
    /// Longest pause in seconds; 0 = off. Default 30 minutes.
    pub(crate) idle_s: i64,
    /// Longest life in seconds; 0 = off. Default 12 hours.
    pub(crate) absolute_s: i64,
}

impl Default for SessionConfig {
    fn default() -> Self {
        let policy = SessionPolicy::default();
        Self { idle_s: policy.idle_s, absolute_s: policy.absolute_s }
    }
}

impl SessionConfig {
    /// The limits as the rule takes them.
    pub(crate) const fn policy(&self) -> SessionPolicy {
        SessionPolicy { idle_s: self.idle_s, absolute_s: self.absolute_s }
    }

    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        problems.extend(self.policy().check().err());
    }
}
