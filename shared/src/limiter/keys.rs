//! The keys that an edge counts by: one, or two while it is being changed.

use crate::secret::{NotAKey, SecretKey};

/// What names of buckets are hashed with. Every attempt draws from its bucket under each of them, and what was taken under one is known
/// under the other with the first attempt that both admit. So limits go on exactly when a key is changed, if a window passes while there
/// are both.
#[derive(Debug, Clone)]
pub struct LimiterKeys {
    first: SecretKey,
    second: Option<SecretKey>,
}

/// A text that is no list of one or two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLimiterKeys {
    /// One of them is no key.
    #[error(transparent)]
    NotAKey(#[from] NotAKey),
    /// More than two.
    #[error("it is one key, or two different ones with a comma between while it is being changed")]
    NotOneOrTwo,
}

impl From<SecretKey> for LimiterKeys {
    fn from(only: SecretKey) -> Self {
        Self { first: only, second: None }
    }
}

impl LimiterKeys {
    /// Reads the secret `LIMITER_KEY`: a key, or two with a comma between, of which the first one signs.
    ///
    /// # Errors
    /// [`NotLimiterKeys`], also where both are the same: every attempt would count twice.
    pub fn parse(text: &str) -> Result<Self, NotLimiterKeys> {
        let Some((first, second)) = text.split_once(',') else { return Ok(SecretKey::parse(text)?.into()) };
        if second.contains(',') {
            return Err(NotLimiterKeys::NotOneOrTwo);
        }
        let (first, second) = (SecretKey::parse(first)?, SecretKey::parse(second)?);
        if first.bytes() == second.bytes() {
            return Err(NotLimiterKeys::NotOneOrTwo);
        }
        Ok(Self { first, second: Some(second) })
    }

    /// The one that signs.
    pub const fn first(&self) -> &SecretKey {
        &self.first
    }

    /// All of them, the first one first.
    pub fn each(&self) -> impl Iterator<Item = &SecretKey> {
        core::iter::once(&self.first).chain(&self.second)
    }

    /// Keys for another purpose, in the same order.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let derive = |key: &SecretKey| key.derive(purpose);
        Self { first: derive(&self.first), second: self.second.as_ref().map(derive) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_or_two_different_ones() {
        let text = |byte| SecretKey::from_bytes([byte; 32]).to_text().expose().to_owned();
        let (a, b) = (text(1), text(2));
        for (list, read) in [
            (a.clone(), Some(vec![1])),
            (format!(" {a}\n"), Some(vec![1])),
            (format!("{a},{b}"), Some(vec![1, 2])),
            (format!("{b} , {a}\n"), Some(vec![2, 1])),
            (format!("{a},{a}"), None),
            (format!("{a},{b},{}", text(3)), None),
            (format!("{a},"), None),
            (format!(",{a}"), None),
            (String::new(), None),
            (format!("k1:{a}"), None),
        ] {
            let keys = LimiterKeys::parse(&list).ok();
            let bytes = keys.map(|keys| keys.each().map(|key| key.bytes()[0]).collect::<Vec<_>>());
            assert_eq!(bytes, read, "{list}");
        }
    }
}
