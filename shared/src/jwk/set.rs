//! Reading a JWK set (RFC 7517 §5) with Ed25519 keys (RFC 8037 §2), strictly.
//!
//! Keys of other kinds are skipped, since an issuer may publish them for others. A set that cannot be right as a
//! whole is refused, and whoever reads it keeps the last good one.

use crate::base64;
use crate::id::Kid;
use crate::json::Json;
use crate::token::header::ALGORITHMS;
use crate::token::verify::KeyLookup;
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The largest set that is read, in bytes.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Why a whole set is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedSet {
    /// Larger than [`MAX_SET_BYTES`].
    #[error("the key set is larger than 64 KiB")]
    TooLarge,
    /// Not strict JSON with an array `keys`.
    #[error("the key set is not JSON with an array `keys`")]
    NotASet,
    /// A private or symmetric key is in it: whoever published it has lost control.
    #[error("the key set holds private members")]
    PrivateMembers,
    /// Two keys of one name.
    #[error("the key set holds one `kid` twice")]
    DuplicateKid,
    /// Nothing in it can verify anything.
    #[error("the key set holds no usable Ed25519 key")]
    NoUsableKey,
}

/// The usable keys of a set by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<Kid, VerifyingKey>,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// [`RefusedSet`]; the reader keeps what it had.
    pub fn parse(bytes: &[u8]) -> Result<Self, RefusedSet> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(RefusedSet::TooLarge);
        }
        let json = Json::parse(bytes).map_err(|_| RefusedSet::NotASet)?;
        let Some(Json::Array(items)) = json.get("keys") else { return Err(RefusedSet::NotASet) };
        if items.iter().any(|key| ["d", "k", "p", "q"].iter().any(|name| key.get(name).is_some())) {
            return Err(RefusedSet::PrivateMembers);
        }
        let mut names = BTreeSet::new();
        for key in items {
            if key.get("kid").and_then(Json::as_str).is_some_and(|kid| !names.insert(kid)) {
                return Err(RefusedSet::DuplicateKid);
            }
        }
        let keys: BTreeMap<_, _> = items.iter().filter_map(usable_key).collect();
        if keys.is_empty() { Err(RefusedSet::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// Takes a key out, for ever as far as this copy is concerned.
    pub fn remove(&mut self, kid: &Kid) {
        self.keys.remove(kid);
    }

    /// The names of the keys.
    pub fn kids(&self) -> impl Iterator<Item = &Kid> {
        self.keys.keys()
    }
}

impl KeyLookup for KeySet {
    fn find_key(&self, kid: &Kid) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }
}

fn usable_key(key: &Json) -> Option<(Kid, VerifyingKey)> {
    let text = |name| key.get(name).and_then(Json::as_str);
    let right_kind = text("kty") == Some("OKP") && text("crv") == Some("Ed25519");
    let right_algorithm =
        key.get("alg").is_none_or(|alg| alg.as_str().is_some_and(|name| ALGORITHMS.contains(&name)));
    let right_use = key.get("use").is_none_or(|u| u.as_str() == Some("sig"));
    let right_operations = match key.get("key_ops") {
        None => true,
        Some(Json::Array(ops)) => ops.iter().any(|op| op.as_str() == Some("verify")),
        Some(_) => false,
    };
    if !(right_kind && right_algorithm && right_use && right_operations) {
        return None;
    }
    let kid = Kid::parse(text("kid")?).ok()?;
    let bytes: [u8; 32] = base64::decode_url(text("x")?).ok()?.try_into().ok()?;
    if !is_usable_key(&bytes) {
        return None;
    }
    Some((kid, VerifyingKey::from_bytes(&bytes).ok()?))
}

/// Whether 32 bytes are an Ed25519 public key in its canonical encoding and not of small order, for which anybody
/// could sign (RFC 8032 §5.1.3).
pub fn is_usable_key(bytes: &[u8; 32]) -> bool {
    is_canonical(bytes) && VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak())
}

/// Whether y < p = 2^255 − 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    !(last & 0x7f == 0x7f && middle.iter().all(|b| *b == 0xff) && *first >= 0xed)
}

/// One key as the issuer publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: Kid,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
}

impl PublicJwk {
    /// The published form of a public key. `EdDSA` is the name that every peer knows (RFC 9864 deprecates it; some
    /// verifiers refuse to start when they read its successor).
    pub fn new(kid: Kid, public: &[u8; 32]) -> Self {
        Self { kty: "OKP", crv: "Ed25519", x: base64::encode_url(public), kid, usage: "sig", alg: "EdDSA" }
    }
}

/// A set as the issuer publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicSet {
    /// The keys, in the order of their names.
    pub keys: Vec<PublicJwk>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn x(seed: u8) -> String {
        base64::encode_url(SigningKey::from_bytes(&[seed; 32]).verifying_key().as_bytes())
    }

    fn key(members: &str) -> String {
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","kid":"a"{members}}}"#, x(1))
    }

    fn set(keys: &str) -> Result<KeySet, RefusedSet> {
        KeySet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes())
    }

    #[test]
    fn single_keys_are_usable_or_not() {
        let weak = base64::encode_url(&{
            let mut identity = [0; 32];
            identity[0] = 1;
            identity
        });
        let mut non_canonical = [0xff; 32];
        non_canonical[0] = 0xee;
        non_canonical[31] = 0x7f;
        let table = [
            (key(""), true),
            (key(r#","alg":"EdDSA","use":"sig","key_ops":["verify"]"#), true),
            (key(r#","alg":"Ed25519""#), true),
            (key(r#","alg":"HS256""#), false),
            (key(r#","alg":null"#), false),
            (key(r#","use":"enc""#), false),
            (key(r#","key_ops":["sign"]"#), false),
            (key(r#","key_ops":"verify""#), false),
            (key("").replace("OKP", "EC"), false),
            (key("").replace("Ed25519", "X25519"), false),
            (key("").replace(r#""kid":"a""#, r#""kid":"a/b""#), false),
            (key("").replace(r#","kid":"a""#, ""), false),
            (key("").replace(&x(1), &x(1)[..42]), false),
            (key("").replace(&x(1), &format!("{}=", x(1))), false),
            (key("").replace(&x(1), &weak), false),
            (key("").replace(&x(1), &base64::encode_url(&non_canonical)), false),
        ];
        for (text, usable) in table {
            let expected = if usable { Ok(1) } else { Err(RefusedSet::NoUsableKey) };
            assert_eq!(set(&text).map(|s| s.kids().count()), expected, "{text}");
        }
    }

    #[test]
    fn a_set_that_cannot_be_right_is_refused_whole() {
        let other = key("").replace(r#""kid":"a""#, r#""kid":"b""#);
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"}"#;
        assert_eq!(set(&format!("{},{other},{rsa}", key(""))).unwrap().kids().count(), 2);
        assert_eq!(set(&format!("{},{}", key(""), key(""))), Err(RefusedSet::DuplicateKid));
        assert_eq!(set(&format!("{},{}", other, key(r#","d":"AAAA""#))), Err(RefusedSet::PrivateMembers));
        assert_eq!(set(rsa), Err(RefusedSet::NoUsableKey));
        assert_eq!(set(""), Err(RefusedSet::NoUsableKey));
        for not_a_set in ["", "<html>", "[]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::parse(not_a_set.as_bytes()), Err(RefusedSet::NotASet), "{not_a_set}");
        }
        assert_eq!(KeySet::parse(&vec![b' '; MAX_SET_BYTES + 1]), Err(RefusedSet::TooLarge));
    }

    #[test]
    fn what_the_issuer_publishes_can_be_read() {
        let kid = Kid::parse("k").unwrap();
        let public = SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes();
        let set = PublicSet { keys: vec![PublicJwk::new(kid.clone(), &public)] };
        let read = KeySet::parse(&serde_json::to_vec(&set).unwrap()).unwrap();
        assert_eq!(read.find_key(&kid).unwrap().as_bytes(), &public);
    }
}
