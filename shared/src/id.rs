//! Identifiers as newtypes. The issuer makes UUIDs; for whoever reads a token they are opaque: 1–64 characters of
//! `[A-Za-z0-9._-]`, so that an id can stand in a header, a path and an object name without escaping.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A text that is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct NotAnId;

/// Whether `text` is an opaque identifier.
pub fn is_opaque_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The text of a version 4 UUID (RFC 9562 §5.4) over 16 random bytes.
pub fn uuid_v4(random: [u8; 16]) -> String {
    let mut value = u128::from_be_bytes(random);
    value = (value & !(0xf << 76)) | (0x4 << 76);
    value = (value & !(0x3 << 62)) | (0x2 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        value >> 96,
        (value >> 80) & 0xffff,
        (value >> 64) & 0xffff,
        (value >> 48) & 0xffff,
        value & 0xffff_ffff_ffff
    )
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`NotAnId`] when the text is empty, longer than 64 characters or holds another character.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                if is_opaque_id(text) { Ok(Self(text.to_owned())) } else { Err(NotAnId) }
            }

            /// A new identifier over 16 random bytes.
            pub fn from_random(random: [u8; 16]) -> Self {
                Self(uuid_v4(random))
            }

            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                if is_opaque_id(&text) { Ok(Self(text)) } else { Err(NotAnId) }
            }
        }
    )+};
}

ids! {
    /// A tenant: an organisation or private person that uses the system.
    MerchantId,
    /// An end user of a merchant.
    AccountId,
    /// A merchant's API key (its public half).
    KeyId,
    /// An OAuth client.
    ClientId,
    /// A session, from login to logout or timeout (`sid`).
    SessionId,
    /// One token (`jti`).
    TokenId,
    /// A registered edge.
    EdgeId,
    /// A signing key (`kid`).
    Kid,
    /// An application's grant by a person.
    GrantId,
    /// A device that a person is told something on.
    DeviceId,
    /// An organisation.
    OrganizationId,
    /// A person's appointment to a position.
    AppointmentId,
    /// One request, for logs and problem documents.
    RequestId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_texts_are_ids() {
        for good in ["a", "A.b_c-9", &"x".repeat(64)] {
            assert!(is_opaque_id(good), "{good}");
        }
        for bad in ["", "a b", "a:b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_opaque_id(bad), "{bad}");
        }
    }

    #[test]
    fn a_uuid_carries_version_and_variant() {
        assert_eq!(uuid_v4([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_v4([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
