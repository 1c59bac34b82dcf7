//! Secrets that print as `***` and are wiped when dropped, and their hashes.

use crate::base64;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text: a password or the secret half of a key. Never printed, wiped on drop.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a text into custody.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself; the one place where it leaves custody.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A 256-bit key for HMAC-SHA-256 or for sealing. Never printed, wiped on drop.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// A text that is not a 256-bit key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes in base64url without padding (43 characters)")]
pub struct NotAKey;

impl SecretKey {
    /// A key over 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key from base64url; surrounding white space, as files have it, is ignored.
    ///
    /// # Errors
    /// [`NotAKey`] when the text is not exactly 32 bytes.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = Zeroizing::new(base64::decode_url(text.trim()).map_err(|_| NotAKey)?);
        Ok(Self(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| NotAKey)?)))
    }

    /// The key's text, for a file or an environment variable.
    pub fn to_text(&self) -> SecretText {
        SecretText::new(base64::encode_url(self.0.as_ref()))
    }

    /// The key's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 (RFC 2104) of the parts, each preceded by its length so that no two lists of parts collide.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.mac();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// HMAC-SHA-256 of one message as it is.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.mac();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// A key for one purpose, so that no key serves two.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self::from_bytes(self.tag(&[b"margrave derive", purpose.as_bytes()]))
    }

    fn mac(&self) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0_u8; 64]);
        for (to, from) in block.iter_mut().zip(self.0.iter()) {
            *to = *from;
        }
        // A key padded to the block size is the same HMAC key (RFC 2104 §2), and needs no fallible constructor.
        Hmac::<Sha256>::new((&*block).into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The SHA-256 under which a random secret of at least 128 bits is stored.
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares without telling by time where two values differ.
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_case_2_shape() {
        // RFC 4231 uses short keys; a 32-byte key checked against an independent implementation (Python hmac).
        let key = SecretKey::from_bytes([7; 32]);
        assert_eq!(
            crate::base64::encode_url(&key.sign(b"what do ya want for nothing?")),
            "N4U6_33y_x-U4ZStZt12M-AfJkK9vALwtqHqdUDSrA4"
        );
    }

    #[test]
    fn tags_of_different_splits_differ() {
        let key = SecretKey::from_bytes([1; 32]);
        assert_ne!(key.tag(&[b"ab", b"c"]), key.tag(&[b"a", b"bc"]));
        assert_ne!(key.derive("a").bytes(), key.derive("b").bytes());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", SecretText::new("hunter2".into())), "***");
        assert_eq!(format!("{:?}", SecretKey::from_bytes([9; 32])), "***");
    }

    #[test]
    fn keys_are_read_from_files_with_a_line_end() {
        let key = SecretKey::from_bytes([3; 32]);
        let text = format!("{}\n", key.to_text().expose());
        assert_eq!(SecretKey::parse(&text).unwrap().bytes(), key.bytes());
        assert!(SecretKey::parse("short").is_err());
    }
}
