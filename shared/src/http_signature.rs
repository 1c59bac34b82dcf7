//! HTTP message signatures (RFC 9421) as Margrave uses them: one label, a fixed list of components, strict reading.
//!
//! From the edge to an origin with HMAC-SHA-256, from the edge to the issuer with Ed25519. A verifier does not
//! interpret the list of components that a signer sends: it knows the list that must be there and compares.

use crate::base64;
use crate::time::UnixMs;
use core::fmt::Write as _;
use sha2::{Digest, Sha256};

/// The label of our signature in the two headers.
pub const LABEL: &str = "margrave";

/// How far `created` may lie from the verifier's clock, in seconds.
pub const MAX_SKEW_S: i64 = 30;

/// The signature algorithms (RFC 9421 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `ed25519`
    Ed25519,
}

impl Algorithm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// The parts of a request that are signed.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// `@method`
    pub method: &'a str,
    /// `@authority`: host and port in lower case.
    pub authority: &'a str,
    /// `@path`
    pub path: &'a str,
    /// `@query` without its question mark.
    pub query: &'a str,
    /// Header names in lower case with their values, empty ones included, in the order of signing.
    pub headers: &'a [(&'a str, &'a str)],
}

/// A signature's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Unix second of signing.
    pub created: i64,
    /// Which key signed.
    pub key_id: String,
    /// A random text, so that a replay can be told.
    pub nonce: String,
    /// The algorithm.
    pub algorithm: Algorithm,
}

impl Parameters {
    fn print(&self, message: &Message<'_>) -> String {
        let mut out = String::from(r#"("@method" "@authority" "@path" "@query""#);
        for (name, _) in message.headers {
            // Writing to a String cannot fail.
            let _ = write!(out, r#" "{name}""#);
        }
        let _ = write!(
            out,
            r#");created={};keyid="{}";nonce="{}";alg="{}""#,
            self.created,
            self.key_id,
            self.nonce,
            self.algorithm.as_str()
        );
        out
    }
}

/// The two headers of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `Signature-Input`
    pub input: String,
    /// `Signature`
    pub signature: String,
}

/// The signature base (RFC 9421 §2.5).
pub fn signature_base(message: &Message<'_>, parameters: &Parameters) -> String {
    let mut out = format!(
        "\"@method\": {}\n\"@authority\": {}\n\"@path\": {}\n\"@query\": ?{}\n",
        message.method, message.authority, message.path, message.query
    );
    for (name, value) in message.headers {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\"{name}\": {value}");
    }
    let _ = write!(out, "\"@signature-params\": {}", parameters.print(message));
    out
}

/// Signs: `sign` gets the signature base.
pub fn sign(
    message: &Message<'_>,
    parameters: &Parameters,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> SignatureHeaders {
    let signature = sign(signature_base(message, parameters).as_bytes());
    SignatureHeaders {
        input: format!("{LABEL}={}", parameters.print(message)),
        signature: format!("{LABEL}=:{}:", base64::encode_standard(&signature)),
    }
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The two headers are not ours.
    #[error("malformed signature headers")]
    Malformed,
    /// Well signed, and too long ago or in the future.
    #[error("signature too old or from the future")]
    Stale,
    /// Other components than these must be signed.
    #[error("other components are signed")]
    Components,
    /// The key is unknown or the signature does not verify.
    #[error("signature does not verify")]
    Wrong,
}

/// Verifies: `check` gets the key's id, the signature base and the signature's bytes.
///
/// # Errors
/// [`BadSignature`].
pub fn verify(
    message: &Message<'_>,
    headers: &SignatureHeaders,
    algorithm: Algorithm,
    now: UnixMs,
    check: impl FnOnce(&str, &[u8], &[u8]) -> bool,
) -> Result<Parameters, BadSignature> {
    let parameters = read_parameters(&headers.input, algorithm).ok_or(BadSignature::Malformed)?;
    // One printed form: whatever was listed or ordered otherwise differs here.
    if headers.input != format!("{LABEL}={}", parameters.print(message)) {
        return Err(BadSignature::Components);
    }
    let signature = headers
        .signature
        .strip_prefix(LABEL)
        .and_then(|rest| rest.strip_prefix("=:"))
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| base64::decode_standard(text).ok())
        .ok_or(BadSignature::Malformed)?;
    if !check(&parameters.key_id, signature_base(message, &parameters).as_bytes(), &signature) {
        return Err(BadSignature::Wrong);
    }
    // Last, so that only who holds the key hears of the clock.
    if (parameters.created - now.seconds()).abs() > MAX_SKEW_S {
        return Err(BadSignature::Stale);
    }
    Ok(parameters)
}

fn read_parameters(input: &str, algorithm: Algorithm) -> Option<Parameters> {
    let (_, rest) = input.split_once(");created=")?;
    let (created, rest) = rest.split_once(r#";keyid=""#)?;
    let (key_id, rest) = rest.split_once(r#"";nonce=""#)?;
    let (nonce, rest) = rest.split_once(r#"";alg=""#)?;
    let plain = |text: &str| crate::id::is_opaque_id(text);
    let whole = created.len() <= 15 && created.bytes().all(|b| b.is_ascii_digit());
    (whole && rest.strip_suffix('"')? == algorithm.as_str() && plain(key_id) && plain(nonce)).then(|| {
        Parameters {
            created: created.parse().unwrap_or(0),
            key_id: key_id.to_owned(),
            nonce: nonce.to_owned(),
            algorithm,
        }
    })
}

/// `Content-Digest` of a body (RFC 9530 §2).
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", base64::encode_standard(&Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretKey;

    const NOW: UnixMs = UnixMs::from_seconds(1_800_000_000);

    fn key() -> SecretKey {
        SecretKey::from_bytes([7; 32])
    }

    fn parameters() -> Parameters {
        Parameters {
            created: NOW.seconds(),
            key_id: "k1".into(),
            nonce: "n1".into(),
            algorithm: Algorithm::HmacSha256,
        }
    }

    const HEADERS: [(&str, &str); 2] = [("margrave-subject", "acc"), ("margrave-actor", "")];

    fn message() -> Message<'static> {
        Message { method: "GET", authority: "h:80", path: "/a", query: "b=c", headers: &HEADERS }
    }

    fn check(message: &Message<'_>, headers: &SignatureHeaders, now: UnixMs) -> Result<(), BadSignature> {
        verify(message, headers, Algorithm::HmacSha256, now, |id, base, signature| {
            id == "k1" && key().sign(base).as_slice() == signature
        })
        .map(|_| ())
    }

    #[test]
    fn the_base_is_as_rfc_9421_writes_it() {
        assert_eq!(
            signature_base(&message(), &parameters()),
            "\"@method\": GET\n\"@authority\": h:80\n\"@path\": /a\n\"@query\": ?b=c\n\
             \"margrave-subject\": acc\n\"margrave-actor\": \n\
             \"@signature-params\": (\"@method\" \"@authority\" \"@path\" \"@query\" \"margrave-subject\" \
             \"margrave-actor\");created=1800000000;keyid=\"k1\";nonce=\"n1\";alg=\"hmac-sha256\""
        );
    }

    #[test]
    fn every_covered_part_counts() {
        let good = sign(&message(), &parameters(), |base| key().sign(base).to_vec());
        assert_eq!(check(&message(), &good, NOW), Ok(()));
        let forged = [("margrave-subject", "other"), ("margrave-actor", "")];
        let fewer = [("margrave-subject", "acc")];
        for (changed, refusal) in [
            (Message { method: "POST", ..message() }, BadSignature::Wrong),
            (Message { authority: "h:81", ..message() }, BadSignature::Wrong),
            (Message { path: "/b", ..message() }, BadSignature::Wrong),
            (Message { query: "", ..message() }, BadSignature::Wrong),
            (Message { headers: &forged, ..message() }, BadSignature::Wrong),
            (Message { headers: &fewer, ..message() }, BadSignature::Components),
        ] {
            assert_eq!(check(&changed, &good, NOW), Err(refusal), "{changed:?}");
        }
    }

    #[test]
    fn time_is_bounded_on_both_sides() {
        let good = sign(&message(), &parameters(), |base| key().sign(base).to_vec());
        for (offset, verdict) in
            [(30, Ok(())), (-30, Ok(())), (31, Err(BadSignature::Stale)), (-31, Err(BadSignature::Stale))]
        {
            assert_eq!(check(&message(), &good, NOW.plus_seconds(offset)), verdict, "{offset}");
        }
        // Who holds no key is told nothing of the time.
        let forged = Message { path: "/b", ..message() };
        assert_eq!(check(&forged, &good, NOW.plus_seconds(3_600)), Err(BadSignature::Wrong));
    }

    #[test]
    fn other_headers_are_malformed() {
        let good = sign(&message(), &parameters(), |base| key().sign(base).to_vec());
        for input in [
            String::new(),
            "margrave=()".into(),
            good.input.replace("hmac-sha256", "ed25519"),
            good.input.replace("created=1", "created=-1"),
            good.input.replace("\"n1\"", "\"n 1\""),
            good.input.replace("\"k1\"", "\"\""),
        ] {
            let headers = SignatureHeaders { input, ..good.clone() };
            assert_eq!(check(&message(), &headers, NOW), Err(BadSignature::Malformed), "{headers:?}");
        }
        for signature in ["", "margrave=::", "other=:AAAA:", "margrave=AAAA", "margrave=:AAAA"] {
            let headers = SignatureHeaders { signature: signature.into(), ..good.clone() };
            assert!(check(&message(), &headers, NOW).is_err(), "{signature}");
        }
    }

    #[test]
    fn rfc_9530_digest() {
        assert_eq!(
            content_digest(br#"{"hello": "world"}"#),
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        );
    }
}
