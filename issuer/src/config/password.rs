//! `[password]`: how passwords are hashed, and how much hashing may go on at once.

use serde::{Deserialize, Serialize};

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PasswordConfig {
    /// argon2id memory in KiB. Default 19456.
    pub(crate) memory_kib: u32,
    /// argon2id passes. Default 2.
    pub(crate) iterations: u32,
    /// argon2id lanes. Default 1.
    pub(crate) lanes: u32,
    /// The fewest characters of a new password. Default 8.
    pub(crate) min_chars: usize,
    /// How many hashes are computed at once; 0 = one per processor. Default 0.
    pub(crate) parallel: usize,
    /// How many attempts may wait for their turn; more are answered 503. Default 128.
    pub(crate) queue: usize,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self { memory_kib: 19456, iterations: 2, lanes: 1, min_chars: 8, parallel: 0, queue: 128 }
    }
}

impl PasswordConfig {
    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        // OWASP Password Storage Cheat Sheet: equally strong pairs of memory and passes.
        let floor = [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5)];
        let strong =
            floor.iter().any(|(memory, passes)| self.memory_kib >= *memory && self.iterations >= *passes);
        if !strong || !(1..=16).contains(&self.lanes) || self.memory_kib > 4 << 20 || self.iterations > 64 {
            problems.push(format!(
                "`password`: argon2id with memory_kib = {}, iterations = {}, lanes = {} is below OWASP's floor \
                 (19456/2, 12288/3, 47104/1) or beyond all measure",
                self.memory_kib, self.iterations, self.lanes
            ));
        }
        if !(8..=64).contains(&self.min_chars) {
            problems.push("`password.min_chars` is 8 to 64".to_owned());
        }
        if self.queue == 0 {
            problems.push("`password.queue` is at least 1".to_owned());
        }
    }
}
