//! `[token]`: how long tokens live.

use serde::{Deserialize, Serialize};

/// How long tokens live.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct TokenConfig {
    /// A permission token's life in seconds. Default 5 minutes.
    pub(crate) permission_ttl_s: i64,
    /// A security token's life in seconds. Default 5 minutes.
    pub(crate) security_ttl_s: i64,
    /// Whether permission tokens have a place in a status list, for verifiers that are not Margrave's edge. It costs a row for
    /// each token. Default no.
    pub(crate) status_lists: bool,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { permission_ttl_s: 300, security_ttl_s: 300, status_lists: false }
    }
}

impl TokenConfig {
    /// The longest life of a token that is checked against the published keys alone.
    pub(crate) fn longest_s(&self) -> i64 {
        self.permission_ttl_s.max(self.security_ttl_s)
    }

    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        for (name, value) in
            [("permission_ttl_s", self.permission_ttl_s), ("security_ttl_s", self.security_ttl_s)]
        {
            if !(1..=3600).contains(&value) {
                problems.push(format!("`token.{name}` is 1 to 3600, not {value}"));
            }
        }
    }
}
