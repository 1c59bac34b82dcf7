//! X-addresses: the public, permanent, unique addresses of cabinets (X4).

use core::fmt;
use serde::{Deserialize, Serialize};

/// `x:` and `[a-z][a-z0-9._-]{2,63}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct XAddress(String);

/// A text that is no X-address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an X-address is `x:` and a letter a-z, then 2 to 63 characters of a-z 0-9 . _ -")]
pub struct NotAnXAddress;

impl XAddress {
    /// Reads an X-address, always written with its `x:`.
    ///
    /// # Errors
    /// [`NotAnXAddress`] for any other text.
    pub fn parse(text: &str) -> Result<Self, NotAnXAddress> {
        let name = text.strip_prefix("x:").ok_or(NotAnXAddress)?;
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && (3..=64).contains(&name.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnXAddress)
        }
    }

    /// An assigned address: `x:u` and twenty characters without look-alikes over 16 random bytes.
    pub fn assigned(random: [u8; 16]) -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
        let mut bits = u128::from_be_bytes(random);
        let mut name = String::from("x:u");
        for _ in 0..20 {
            name.push(LETTERS.get((bits & 31) as usize).map_or('a', |b| char::from(*b)));
            bits >>= 5;
        }
        Self(name)
    }

    /// The address with its `x:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for XAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<XAddress> for String {
    fn from(address: XAddress) -> Self {
        address.0
    }
}

impl TryFrom<String> for XAddress {
    type Error = NotAnXAddress;
    fn try_from(text: String) -> Result<Self, NotAnXAddress> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_an_address() {
        for good in ["x:abc", "x:a.b-c_9", &format!("x:a{}", "b".repeat(63))] {
            assert!(XAddress::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["abc", "X:abc", "x:ab", "x:1bc", "x:Abc", "x:a b", "x:аbc", &format!("x:a{}", "b".repeat(64))]
        {
            assert!(XAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_assigned_address_is_one() {
        let address = XAddress::assigned([0xa5; 16]);
        assert_eq!(XAddress::parse(address.as_str()), Ok(address));
    }
}
