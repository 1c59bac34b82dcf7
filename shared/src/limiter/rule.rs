//! Which buckets an attempt draws from, in which order, and what its outcome gives back.

use crate::error::ErrorCode;
use crate::secret::SecretKey;
use core::net::{IpAddr, Ipv6Addr};
use serde::{Deserialize, Serialize};

/// What the issuer says of an attempt, in the internal header `Margrave-Attempt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The secret was right.
    Right,
    /// The secret was wrong, or there is nobody of that name.
    Wrong,
    /// Nothing was evaluated: overload, a malformed request.
    Unevaluated,
}

impl Outcome {
    /// That of an attempt that was refused with this code.
    pub const fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::AuthenticationFailed | ErrorCode::InvalidClient | ErrorCode::InvalidGrant => {
                Self::Wrong
            }
            _ => Self::Unevaluated,
        }
    }

    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Unevaluated => "unevaluated",
        }
    }

    /// Reads the header. Anything unknown, and a missing header, is a wrong attempt: what cannot be read gives
    /// nothing back.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("right") => Self::Right,
            Some("unevaluated") => Self::Unevaluated,
            _ => Self::Wrong,
        }
    }

    /// Whether the attempt returns to its buckets.
    pub const fn gives_back(self) -> bool {
        match self {
            Self::Right | Self::Unevaluated => true,
            Self::Wrong => false,
        }
    }
}

/// What a bucket counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketKind {
    /// Attempts on one login.
    Account,
    /// Attempts from one address.
    Address,
    /// Attempts on one merchant key.
    Key,
    /// Wrong attempts on all logins of a merchant: the alarm against spraying. It never refuses by itself.
    Merchant,
    /// Requests of one account to a route that is limited.
    RouteAccount,
    /// Requests from one address to a route that is limited.
    RouteAddress,
    /// Attempts of a known device, counted under what `device` says.
    Device,
    /// Refreshes and factors grants of somebody who has logged in before, where the address has none left.
    ExchangeAccount,
    /// Refreshes and factors grants from one address: frequent and honest, so with a bucket of its own.
    Exchange,
}

impl BucketKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Account,
        Self::Address,
        Self::Key,
        Self::Merchant,
        Self::RouteAccount,
        Self::RouteAddress,
        Self::Device,
        Self::ExchangeAccount,
        Self::Exchange,
    ];

    /// The name in keyed hashes and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
            Self::Key => "key",
            Self::Merchant => "merchant",
            Self::Device => "device",
            Self::ExchangeAccount => "exchange-account",
            Self::RouteAccount => "route-account",
            Self::RouteAddress => "route-address",
            Self::Exchange => "exchange",
        }
    }
}

/// How many times the attempts of a bucket its second bucket holds, which counts every outcome and gives nothing
/// back: it stops who knows one right password from using it to hammer for ever.
pub const ALL_OUTCOMES_FACTOR: i64 = 10;

/// The keyed hash under which a bucket is stored: what was typed cannot be read from the object's storage.
pub fn bucket_key(key: &SecretKey, kind: BucketKind, value: &str) -> [u8; 16] {
    let tag = key.tag(&[b"limiter", kind.as_str().as_bytes(), value.as_bytes()]);
    let mut short = [0; 16];
    short.copy_from_slice(tag.first_chunk::<16>().unwrap_or(&[0; 16]));
    short
}

/// The address that a bucket counts by: an IPv6 network of 64 bits is one household, an IPv4-mapped address is IPv4.
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_by_network() {
        for (address, key) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(address_key(address.parse().unwrap()), key);
        }
    }

    #[test]
    fn only_a_clear_word_gives_an_attempt_back() {
        for (text, back) in [
            (Some("right"), true),
            (Some("unevaluated"), true),
            (Some("wrong"), false),
            (Some("Right"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(Outcome::parse(text).gives_back(), back, "{text:?}");
        }
    }

    #[test]
    fn kinds_do_not_share_buckets() {
        let key = SecretKey::from_bytes([1; 32]);
        assert_ne!(bucket_key(&key, BucketKind::Account, "a"), bucket_key(&key, BucketKind::Address, "a"));
        assert_ne!(bucket_key(&key, BucketKind::Account, "a"), bucket_key(&key, BucketKind::Account, "b"));
    }
}
