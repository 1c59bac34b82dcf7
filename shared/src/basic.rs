//! HTTP Basic credentials of a client (RFC 7617, RFC 6749 §2.3.1).

use crate::base64;
use crate::secret::SecretText;

/// A client's id and secret.
#[derive(Debug, Clone)]
pub struct Basic {
    /// The client's or key's id, not yet parsed.
    pub id: String,
    /// The secret.
    pub secret: SecretText,
}

impl Basic {
    /// Reads the value of `Authorization`; `None` for anything that is not exactly one Basic credential.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, text) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = base64::decode_standard(text).ok()?;
        let (id, secret) = core::str::from_utf8(&bytes).ok()?.split_once(':')?;
        // RFC 6749 §2.3.1 encodes both as forms do; ids and secrets of ours hold nothing that this would change.
        let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic());
        if !plain(id) || !plain(secret) {
            return None;
        }
        Some(Self { id: id.to_owned(), secret: SecretText::new(secret.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_credential_or_none() {
        let value = |text: &str| format!("Basic {}", base64::encode_standard(text.as_bytes()));
        let basic = Basic::parse(&value("id:se:cret")).unwrap();
        assert_eq!((basic.id.as_str(), basic.secret.expose()), ("id", "se:cret"));
        for bad in [
            "",
            "Basic",
            "Basic !",
            "Bearer aWQ6cw==",
            "Basic aWQ6cw",
            &value("id"),
            &value(":s"),
            &value("id:"),
            &value("i d:s"),
            "Basic aWQ6cw==, Basic aWQ6cw==",
        ] {
            assert!(Basic::parse(bad).is_none(), "{bad}");
        }
    }
}
