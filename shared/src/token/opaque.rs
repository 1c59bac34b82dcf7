//! Random secrets that are no JWTs: the secret half of a merchant key.

use crate::base64;
use crate::secret::SecretText;

/// What a merchant key's secret begins with, so that scanners recognise a leaked one.
pub const KEY_SECRET_PREFIX: &str = "mgk_";

/// A merchant key's secret over 32 random bytes.
pub fn key_secret(random: [u8; 32]) -> SecretText {
    SecretText::new(format!("{KEY_SECRET_PREFIX}{}", base64::encode_url(&random)))
}

/// Whether a text has the form of such a secret. What has not needs no look at the database.
pub fn is_key_secret(text: &str) -> bool {
    text.strip_prefix(KEY_SECRET_PREFIX)
        .is_some_and(|rest| base64::decode_url(rest).is_ok_and(|bytes| bytes.len() == 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_secret_has_the_form_of_one() {
        assert!(is_key_secret(key_secret([9; 32]).expose()));
        for bad in ["", "mgk_", "mgk_AAAA", "abc", &format!("xxx_{}", base64::encode_url(&[9; 32]))] {
            assert!(!is_key_secret(bad), "{bad}");
        }
    }
}
