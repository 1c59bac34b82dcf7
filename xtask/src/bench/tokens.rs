//! Tokens of the stand-in issuer.

use ed25519_dalek::{Signer as _, SigningKey};
use margrave_shared::base64;
use margrave_shared::token::compact::{assemble, signing_input};
use serde_json::{Value, json};

/// The stand-in's signing key, known to everybody: it signs for nothing but this bench.
pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// The stand-in's published keys.
pub(super) fn jwks() -> String {
    let x = base64::encode_url(key().verifying_key().as_bytes());
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "bench", "use": "sig", "alg": "EdDSA" }] })
        .to_string()
}

/// Signs claims.
pub(super) fn sign(typ: &str, claims: &Value) -> String {
    let input =
        signing_input(&format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"bench"}}"#), &claims.to_string());
    assemble(&input, &key().sign(input.as_bytes()).to_bytes())
}

/// The id of the token that the stand-in's feed has ended.
pub(super) const REVOKED: &str = "revoked-token";

/// The present Unix second.
#[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as i64
}

/// Makes tokens.
pub(super) struct Tokens {
    issuer: String,
}

impl Tokens {
    pub(super) fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned() }
    }

    fn token(&self, person: &str, jti: &str, iat: i64, life_s: i64) -> String {
        sign(
            "at+jwt",
            &json!({
                "iss": self.issuer, "aud": ["margrave-demo"], "sub": person, "account_id": person,
                "merchant_id": "bench-merchant", "client_id": "bench-client", "scope": "read write", "jti": jti,
                "iat": iat, "exp": iat + life_s, "gen": 0, "user_type": "full", "auth_time": iat, "amr": ["pwd"],
                "acr": "1", "sid": format!("sid-{person}"), "session": { "idle": 1800, "until": iat + 43_200 },
            }),
        )
    }

    /// One token for each of so many people.
    pub(super) fn sessions(&self, count: usize) -> Vec<String> {
        self.sessions_from(0, count)
    }

    /// The same from a certain person on.
    pub(super) fn sessions_from(&self, first: usize, count: usize) -> Vec<String> {
        (first..first + count)
            .map(|i| self.token(&format!("person-{i}"), &format!("token-{i}"), now(), 3500))
            .collect()
    }

    /// Tokens that nobody has seen, of a hundred people.
    pub(super) fn fresh(&self, count: usize, round: usize) -> Vec<String> {
        let jti = |i: usize| format!("fresh-{round}-{i}");
        (0..count).map(|i| self.token(&format!("person-{}", i % 100), &jti(i), now(), 3500)).collect()
    }

    /// Tokens whose last signature byte is another.
    pub(super) fn badly_signed(&self, count: usize) -> Vec<String> {
        let spoil = |token: String| match token.rsplit_once('.') {
            Some((signed, _)) => format!("{signed}.{}", base64::encode_url(&[1; 64])),
            None => token,
        };
        self.sessions(count).into_iter().map(spoil).collect()
    }

    /// Tokens that expired a while ago.
    pub(super) fn expired(&self, count: usize) -> Vec<String> {
        let jti = |i: usize| format!("old-{i}");
        (0..count).map(|i| self.token(&format!("person-{i}"), &jti(i), now() - 3000, 300)).collect()
    }

    /// The token that the feed has ended.
    pub(super) fn revoked(&self) -> Vec<String> {
        vec![self.token("person-0", REVOKED, now(), 3500)]
    }
}
