//! Random secrets that are no JWTs: the secret half of a merchant key, the token that resets an account, a secret that a merchant's page
//! signs with.

use crate::base64;
use crate::secret::SecretText;

/// What a merchant key's secret begins with, so that scanners recognise a leaked one.
pub const KEY_SECRET_PREFIX: &str = "mgk_";

/// What the token of an account's reset begins with.
pub const RESET_TOKEN_PREFIX: &str = "mgr_";

/// A merchant key's secret over 32 random bytes.
pub fn key_secret(random: [u8; 32]) -> SecretText {
    with_prefix(KEY_SECRET_PREFIX, random)
}

/// Whether a text has the form of such a secret. What has not needs no look at the database.
pub fn is_key_secret(text: &str) -> bool {
    has_prefix(text, KEY_SECRET_PREFIX)
}

/// The token of an account's reset over 32 random bytes.
pub fn reset_token(random: [u8; 32]) -> SecretText {
    with_prefix(RESET_TOKEN_PREFIX, random)
}

/// A secret over 32 random bytes that a merchant's page signs its users with.
pub fn sso_secret(random: [u8; 32]) -> SecretText {
    with_prefix("mgs_", random)
}

/// Whether a text has the form of such a token.
pub fn is_reset_token(text: &str) -> bool {
    has_prefix(text, RESET_TOKEN_PREFIX)
}

fn with_prefix(prefix: &str, random: [u8; 32]) -> SecretText {
    SecretText::new(format!("{prefix}{}", base64::encode_url(&random)))
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
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
        assert!(is_reset_token(reset_token([9; 32]).expose()));
        // What is made for one is none for the other.
        assert!(
            !is_reset_token(key_secret([9; 32]).expose()) && !is_key_secret(reset_token([9; 32]).expose())
        );
    }
}
