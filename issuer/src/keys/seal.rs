//! Sealing with the master key: XChaCha20-Poly1305 with a random nonce, bound to what it is sealed for.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use margrave_shared::secret::SecretKey;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;

/// What cannot be opened: another master key, another purpose, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: is this the master key it was sealed with?")]
pub(crate) struct DoesNotOpen;

/// Seals: nonce, then ciphertext and tag. `purpose` must be the same when it is opened.
pub(crate) fn seal(key: &SecretKey, purpose: &str, plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let payload = Payload { msg: plain, aad: purpose.as_bytes() };
    // Encrypting fails only beyond 256 GiB; an empty value then does not open.
    let mut sealed = nonce.to_vec();
    sealed.extend(cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default());
    sealed
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`DoesNotOpen`].
pub(crate) fn open(key: &SecretKey, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(DoesNotOpen)?;
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let payload = Payload { msg: ciphertext, aad: purpose.as_bytes() };
    cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open() {
        let key = SecretKey::from_bytes([1; 32]);
        let sealed = seal(&key, "a", b"secret", [2; 24]);
        assert_eq!(open(&key, "a", &sealed).unwrap().as_slice(), b"secret");
        assert!(open(&key, "b", &sealed).is_err());
        assert!(open(&SecretKey::from_bytes([3; 32]), "a", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(open(&key, "a", &changed).is_err(), "byte {i}");
        }
        assert!(open(&key, "a", &[]).is_err());
    }
}
