//! What the halves tell each other about known devices, in the header `Margrave-Device`.

use crate::base64;
use crate::id::AccountId;
use serde::{Deserialize, Serialize};

/// From the edge, signed: the attempt comes from a device that is known to it. `<account>;<device generation>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceClaim {
    /// Whose device it is.
    pub account: AccountId,
    /// The account's device generation when it became known.
    pub generation: i64,
}

impl DeviceClaim {
    /// Reads the header; `None` for anything else, the empty text included.
    pub fn parse(text: &str) -> Option<Self> {
        let (account, generation) = text.split_once(';')?;
        let plain = (1..=15).contains(&generation.len()) && generation.bytes().all(|b| b.is_ascii_digit());
        let generation = plain.then(|| generation.parse().ok())??;
        Some(Self { account: AccountId::parse(account).ok()?, generation })
    }

    /// Writes the header.
    pub fn print(&self) -> String {
        format!("{};{}", self.account, self.generation)
    }
}

/// From the issuer to an edge: the device generation that an account has now, as base64url of JSON. With a completed
/// login it names the account's logins too, and the edge makes a device known; otherwise the edge forgets what is older.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceStanding {
    /// The account.
    pub account: AccountId,
    /// Its device generation.
    pub generation: i64,
    /// What its owner may type as a login.
    pub logins: Vec<String>,
}

impl DeviceStanding {
    /// Reads the header.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_slice(&base64::decode_url(text).ok()?).ok()
    }

    /// Writes the header.
    pub fn print(&self) -> String {
        base64::encode_url(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_undoes_writing_and_nothing_else_is_read() {
        let account = AccountId::parse("a").unwrap();
        let claim = DeviceClaim { account: account.clone(), generation: 3 };
        assert_eq!(DeviceClaim::parse(&claim.print()), Some(claim));
        for bad in ["", "a", "a;", ";1", "a;-1", "a;+1", "a;1;2", "a/;1", "a; 1", "a;9999999999999999"] {
            assert_eq!(DeviceClaim::parse(bad), None, "{bad}");
        }
        let standing = DeviceStanding { account, generation: 3, logins: vec!["Ünï".into()] };
        assert_eq!(DeviceStanding::parse(&standing.print()), Some(standing));
        for bad in ["", "e30", "a;1"] {
            assert_eq!(DeviceStanding::parse(bad), None, "{bad}");
        }
    }
}
