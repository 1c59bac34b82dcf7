//! The nonces of the last minute or two, in two generations, so that nothing has to be searched for what is old: a
//! signature is believed for 30 seconds either way. Each process remembers for itself.

use std::collections::HashSet;

/// The most of one generation. A service that gets more in a minute forgets earlier, and says so to nobody: a repetition
/// then passes within the minute.
const MOST: usize = 1_000_000;

/// What was used.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    young: HashSet<String>,
    old: HashSet<String>,
    turned_at: i64,
}

impl Nonces {
    /// Remembers a nonce; `false` when it was used before.
    pub(crate) fn remember(&mut self, nonce: String, now_s: i64) -> bool {
        if now_s - self.turned_at > 60 || self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = now_s;
        }
        !self.old.contains(&nonce) && self.young.insert(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::Nonces;

    #[test]
    fn a_nonce_counts_once_for_as_long_as_its_signature_is_believed() {
        let mut nonces = Nonces::default();
        assert!(nonces.remember("a".to_owned(), 1000));
        assert!(!nonces.remember("a".to_owned(), 1059));
        assert!(!nonces.remember("a".to_owned(), 1061), "one generation later it is still known");
        assert!(nonces.remember("b".to_owned(), 1061));
        assert!(nonces.remember("a".to_owned(), 1200));
    }
}
