//! `[reset]`: how long an account's reset waits and lives.

use serde::{Deserialize, Serialize};

/// The times of resets.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ResetConfig {
    /// How long a reset waits before it counts, in seconds: within it the owner sees it and may call it off. Default a day; 0 = not
    /// at all.
    pub(crate) delay_s: i64,
    /// How long it counts then, in seconds. Default a day.
    pub(crate) valid_s: i64,
}

impl Default for ResetConfig {
    fn default() -> Self {
        Self { delay_s: 86_400, valid_s: 86_400 }
    }
}

const LONGEST_S: i64 = 30 * 86_400;

impl ResetConfig {
    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        if !(0..=LONGEST_S).contains(&self.delay_s) {
            problems.push(format!("`reset.delay_s` is 0 to {LONGEST_S}"));
        }
        if !(60..=LONGEST_S).contains(&self.valid_s) {
            problems.push(format!("`reset.valid_s` is 60 to {LONGEST_S}"));
        }
    }
}
