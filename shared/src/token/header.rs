//! The rules of a token's header.

use crate::id::Kid;
use crate::json::Json;
use crate::token::expect::TokenKind;
use crate::token::verify::Refusal;

/// The names of the one algorithm: RFC 8037 §3.1 and, fully specified, RFC 9864 §2.2.
pub const ALGORITHMS: [&str; 2] = ["EdDSA", "Ed25519"];

/// Header members that bring or fetch a key (RFC 7515 §4.1.2–4.1.8). Keys come from the JWKS alone, so a token that
/// carries one is not ours.
const KEY_BEARING: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"];

/// Checks a header and names the key.
///
/// # Errors
/// The [`Refusal`] for the first rule broken.
pub fn check_header(header: &Json, kind: TokenKind) -> Result<Kid, Refusal> {
    let text = |name| header.get(name).and_then(Json::as_str);
    if !text("alg").is_some_and(|alg| ALGORITHMS.contains(&alg)) {
        return Err(Refusal::Algorithm);
    }
    // RFC 7515 §4.1.11: we understand no extension, so any `crit` is one we do not understand; RFC 7797 §3: `b64`.
    if header.get("crit").is_some() || header.get("b64").is_some() {
        return Err(Refusal::Critical);
    }
    if KEY_BEARING.iter().any(|name| header.get(name).is_some()) {
        return Err(Refusal::KeyInHeader);
    }
    if !text("typ").is_some_and(|typ| kind.accepts_typ(typ)) {
        return Err(Refusal::Type);
    }
    text("kid").and_then(|kid| Kid::parse(kid).ok()).ok_or(Refusal::KeyId)
}

/// The header that the issuer writes.
pub fn print_header(kind: TokenKind, algorithm: &str, kid: &Kid) -> String {
    format!(r#"{{"alg":"{algorithm}","typ":"{}","kid":"{kid}"}}"#, kind.typ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_table() {
        use Refusal::{Algorithm, Critical, KeyId, KeyInHeader, Type};
        let table: &[(&str, Result<(), Refusal>)] = &[
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#, Ok(())),
            (r#"{"alg":"Ed25519","typ":"application/AT+JWT","kid":"k"}"#, Ok(())),
            (r#"{"alg":"none","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"nOnE","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"eddsa","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"Ed448","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"","typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":null,"typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":["EdDSA"],"typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":1,"typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"typ":"at+jwt","kid":"k"}"#, Err(Algorithm)),
            (r#"{"alg":"EdDSA","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"security+jwt","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"logout+jwt","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"dpop+jwt","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"at+jwt "," kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"text/at+jwt","kid":"k"}"#, Err(Type)),
            (r#"{"alg":"EdDSA","typ":"at+jwt"}"#, Err(KeyId)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":""}"#, Err(KeyId)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":["k"]}"#, Err(KeyId)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../k"}"#, Err(KeyId)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"' OR 1=1--"}"#, Err(KeyId)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":["exp"]}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":[]}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":null}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":["b64"],"b64":false}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","b64":false}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","b64":true}"#, Err(Critical)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","jku":"http://x"}"#, Err(KeyInHeader)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","jwk":{}}"#, Err(KeyInHeader)),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","x5c":[]}"#, Err(KeyInHeader)),
            (r#"["EdDSA"]"#, Err(Algorithm)),
            (r#""EdDSA""#, Err(Algorithm)),
        ];
        for (text, verdict) in table {
            let header = Json::parse(text.as_bytes()).unwrap();
            assert_eq!(check_header(&header, TokenKind::Permission).map(|_| ()), *verdict, "{text}");
        }
    }

    #[test]
    fn a_written_header_passes() {
        let kid = Kid::parse("k1").unwrap();
        for kind in [TokenKind::Permission, TokenKind::Security, TokenKind::Refresh, TokenKind::FeedBatch] {
            let header = Json::parse(print_header(kind, "EdDSA", &kid).as_bytes()).unwrap();
            assert_eq!(check_header(&header, kind), Ok(kid.clone()));
        }
    }
}
