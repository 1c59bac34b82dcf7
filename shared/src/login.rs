//! Logins: usernames and their normal form (C6), and the form under which attempts are counted.

use crate::x_address::XAddress;
use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// The most code points a username may have.
pub const MAX_USERNAME_CHARS: usize = 64;

/// Why a text cannot be a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUsername {
    /// Nothing is left of it.
    #[error("a username is not empty")]
    Empty,
    /// Longer than [`MAX_USERNAME_CHARS`].
    #[error("a username has at most 64 characters")]
    TooLong,
    /// A control, invisible or direction-changing character, or white space at an end.
    #[error("a username has no control, invisible or direction characters, and no space at its ends")]
    BadCharacter,
    /// It could be taken for a phone number, an e-mail address, an X-address or an account's id.
    #[error("a username does not look like a phone number, an e-mail address, an X-address or a UUID")]
    LooksLikeAnotherLogin,
}

/// A username as its owner wrote it (in NFKC) and as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    display: String,
    key: String,
}

impl Username {
    /// Reads a username.
    ///
    /// # Errors
    /// [`BadUsername`].
    pub fn parse(text: &str) -> Result<Self, BadUsername> {
        // Before the work of normalising: 64 characters are at most 256 bytes, and NFKC can grow a text 18-fold.
        if text.len() > 4 * MAX_USERNAME_CHARS {
            return Err(BadUsername::TooLong);
        }
        let display = nfkc(text);
        let key = login_key(text);
        if key.is_empty() {
            return Err(BadUsername::Empty);
        }
        if display.chars().count().max(key.chars().count()) > MAX_USERNAME_CHARS {
            return Err(BadUsername::TooLong);
        }
        let edges = display.starts_with(char::is_whitespace) || display.ends_with(char::is_whitespace);
        if edges || display.chars().chain(key.chars()).any(is_forbidden) {
            return Err(BadUsername::BadCharacter);
        }
        if looks_like_another_login(&key) {
            return Err(BadUsername::LooksLikeAnotherLogin);
        }
        Ok(Self { display, key })
    }

    /// As its owner wrote it.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// As it is compared; unique in the system.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// The normal form of anything typed as a login: NFKC, full case folding, NFKC again (Unicode, UAX #15 and section
/// 3.13, "toNFKC_Casefold" without removing characters). Attempts are counted by it, whatever was typed.
pub fn login_key(text: &str) -> String {
    nfkc(&CaseMapper::new().fold_string(&nfkc(text)))
}

/// NFKC of a text, as passwords are hashed (NIST SP 800-63B-4 §3.1.1.2).
pub fn nfkc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned()
}

/// Control characters, characters without a width and those that change the direction of the text around them.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{e000}'..='\u{f8ff}')
}

fn looks_like_another_login(key: &str) -> bool {
    let phone = key.chars().filter(char::is_ascii_digit).count() >= 5
        && key.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '(' | ')' | '-' | '.'));
    let uuid = key.len() == 36
        && key
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() });
    phone || uuid || key.contains('@') || key.starts_with("x:")
}

/// What a login names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// An X-address.
    XAddress(XAddress),
    /// A username's key; contacts join with their factors.
    Username(String),
}

impl Login {
    /// Reads what somebody typed as a login. Everything is a login; most name nobody.
    pub fn parse(text: &str) -> Self {
        match XAddress::parse(text) {
            Ok(address) => Self::XAddress(address),
            Err(_) => Self::Username(login_key(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_are_one_name() {
        for (a, b) in [
            ("Alice", "aLICE"),
            ("straße", "STRASSE"),
            ("ﬁona", "FIONA"),
            ("Ａｌｉｃｅ", "alice"),
            ("e\u{301}va", "éva"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ] {
            assert_eq!(Username::parse(a).unwrap().key(), Username::parse(b).unwrap().key(), "{a} {b}");
        }
    }

    #[test]
    fn the_table_of_refusals() {
        use BadUsername::{BadCharacter, Empty, LooksLikeAnotherLogin, TooLong};
        let long = "a".repeat(65);
        let grows = "ﷺ".repeat(4);
        let table = [
            ("", Empty),
            (long.as_str(), TooLong),
            (grows.as_str(), TooLong),
            (" alice", BadCharacter),
            ("alice\n", BadCharacter),
            ("al\0ice", BadCharacter),
            ("al\u{1b}[31mice", BadCharacter),
            ("al\u{202e}ice", BadCharacter),
            ("al\u{200b}ice", BadCharacter),
            ("al\u{2066}ice", BadCharacter),
            ("alice@example.org", LooksLikeAnotherLogin),
            ("＠alice", LooksLikeAnotherLogin),
            ("+380 12 345-67-89", LooksLikeAnotherLogin),
            ("380123456789", LooksLikeAnotherLogin),
            ("x:alice", LooksLikeAnotherLogin),
            ("X:alice", LooksLikeAnotherLogin),
            ("0E984725-C51C-4BF4-9960-E1C80E27ABA0", LooksLikeAnotherLogin),
        ];
        for (text, refusal) in table {
            assert_eq!(Username::parse(text), Err(refusal), "{text:?}");
        }
        for good in ["a", "Алиса", "李雷", "r2d2", "1234", "o'neil", "a b", &"é".repeat(64)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_stable(text in any::<String>()) {
            let once = login_key(&text);
            prop_assert_eq!(login_key(&once), once);
        }
    }
}
