//! What may be a password (C6; NIST SP 800-63B-4 §3.1.1.2): any characters, NFKC, no composition rules, no
//! truncation.

use crate::login::nfkc;
use crate::secret::SecretText;

/// The most bytes a password may have after NFKC; longer ones are refused, never cut.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Fewer characters than the operator asks for.
    #[error("the password is shorter than {0} characters")]
    TooShort(usize),
    /// More than [`MAX_PASSWORD_BYTES`].
    #[error("the password is longer than 1024 bytes")]
    TooLong,
}

/// The form in which a password is hashed.
///
/// # Errors
/// [`BadPassword::TooLong`]: applies to attempts too, which then are simply wrong.
pub fn normal_form(password: &SecretText) -> Result<SecretText, BadPassword> {
    let text = password.expose();
    if text.len() > MAX_PASSWORD_BYTES {
        return Err(BadPassword::TooLong);
    }
    let normal = SecretText::new(nfkc(text));
    if normal.expose().len() > MAX_PASSWORD_BYTES { Err(BadPassword::TooLong) } else { Ok(normal) }
}

/// Judges a new password, given in any form.
///
/// # Errors
/// [`BadPassword`].
pub fn check_new(password: &SecretText, min_chars: usize) -> Result<SecretText, BadPassword> {
    let normal = normal_form(password)?;
    if normal.expose().chars().count() < min_chars {
        Err(BadPassword::TooShort(min_chars))
    } else {
        Ok(normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    #[test]
    fn composed_and_decomposed_are_one_password_and_case_matters() {
        let form = |text| normal_form(&secret(text)).unwrap().expose().to_owned();
        assert_eq!(form("caf\u{e9}"), form("cafe\u{301}"));
        assert_ne!(form("Secret"), form("secret"));
    }

    #[test]
    fn nothing_is_cut() {
        let (a, b) = (format!("{}a", "x".repeat(127)), format!("{}b", "x".repeat(127)));
        assert_ne!(normal_form(&secret(&a)).unwrap().expose(), normal_form(&secret(&b)).unwrap().expose());
        assert!(normal_form(&secret(&"x".repeat(1024))).is_ok());
        assert_eq!(normal_form(&secret(&"x".repeat(1025))).err(), Some(BadPassword::TooLong));
        assert_eq!(normal_form(&secret(&"ﷺ".repeat(300))).err(), Some(BadPassword::TooLong));
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(check_new(&secret("éééé"), 5).err(), Some(BadPassword::TooShort(5)));
        assert!(check_new(&secret("ééééé"), 5).is_ok());
    }
}
