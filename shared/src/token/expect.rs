//! What a verifier expects of a token, and the rules of time, issuer and audience.

use crate::claims::CommonClaims;
use crate::time::UnixMs;
use crate::token::verify::Refusal;

/// How far clocks may differ, in seconds; for `exp`, `nbf` and `iat`, never for a session's end.
pub const LEEWAY_S: i64 = 30;

/// The kinds of token that Margrave signs, told apart by `typ` (RFC 8725 §3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A permission token (access token, RFC 9068).
    Permission,
    /// A security token.
    Security,
    /// A refresh token.
    Refresh,
    /// A batch of events for an edge (RFC 8417).
    FeedBatch,
    /// A status list, for verifiers that do not follow the feed.
    StatusList,
}

impl TokenKind {
    /// The value of `typ`.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Permission => "at+jwt",
            Self::Security => "security+jwt",
            Self::Refresh => "rt+jwt",
            Self::FeedBatch => "secevent+jwt",
            Self::StatusList => "statuslist+jwt",
        }
    }

    /// The longest token of this kind that is read, in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Permission | Self::Security | Self::Refresh | Self::StatusList => 8 * 1024,
            Self::FeedBatch => 1024 * 1024,
        }
    }

    /// Whether a header's `typ` names this kind: media types compare in any case, and `application/` may be left out
    /// (RFC 7515 §4.1.9).
    pub fn accepts_typ(self, typ: &str) -> bool {
        let bare = match typ.get(..12) {
            Some(prefix) if prefix.eq_ignore_ascii_case("application/") => typ.get(12..).unwrap_or(""),
            _ => typ,
        };
        bare.eq_ignore_ascii_case(self.typ())
    }
}

/// What a verifier expects.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The only `iss`, compared byte by byte.
    pub issuer: &'a str,
    /// At least one of these is a member of `aud`.
    pub audiences: &'a [String],
    /// The time of the judgement.
    pub now: UnixMs,
    /// Longest accepted `exp − iat` in seconds.
    pub max_life_s: i64,
}

impl Expect<'_> {
    /// Applies the rules of issuer, audience and time (RFC 9068 §4, RFC 7519 §4.1).
    ///
    /// # Errors
    /// The [`Refusal`] for the first rule broken.
    pub fn check(&self, claims: &CommonClaims) -> Result<(), Refusal> {
        let now = self.now.seconds();
        if claims.iss != self.issuer {
            return Err(Refusal::Issuer);
        }
        if !claims.aud.iter().any(|aud| self.audiences.contains(aud)) {
            return Err(Refusal::Audience);
        }
        if claims.exp <= claims.iat || claims.exp - claims.iat > self.max_life_s {
            return Err(Refusal::Lifetime);
        }
        if claims.iat > now + LEEWAY_S || claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY_S) {
            return Err(Refusal::NotYetValid);
        }
        if !alive_at(claims.exp, self.now) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

/// Whether a token that expires at the Unix second `exp` still counts at `now`, leeway included. At exactly
/// `exp + 30 s` it does not.
pub const fn alive_at(exp: i64, now: UnixMs) -> bool {
    now.seconds() < exp.saturating_add(LEEWAY_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TokenId;

    #[test]
    fn the_table_of_times_and_names() {
        use Refusal::{Audience, Expired, Issuer, Lifetime, NotYetValid};
        let now = 1_000_000;
        let good = |iat, exp| CommonClaims {
            iss: "https://i".into(),
            aud: vec!["other".into(), "svc".into()],
            iat,
            exp,
            nbf: None,
            jti: TokenId::parse("j").unwrap(),
        };
        let iss = |iss: &str| CommonClaims { iss: iss.into(), ..good(now, now + 300) };
        let aud = |aud: &str| CommonClaims { aud: vec![aud.into()], ..good(now, now + 300) };
        let nbf = |nbf| CommonClaims { nbf: Some(nbf), ..good(now, now + 300) };
        let table = [
            (good(now, now + 300), Ok(())),
            (good(now - 300, now - 29), Ok(())),
            (good(now - 300, now - 30), Err(Expired)),
            (good(now - 300, now - 61), Err(Expired)),
            (good(now + 30, now + 300), Ok(())),
            (good(now + 31, now + 300), Err(NotYetValid)),
            (good(now + 600, now + 700), Err(NotYetValid)),
            (nbf(now + 30), Ok(())),
            (nbf(now + 61), Err(NotYetValid)),
            (good(now, now + 3600), Ok(())),
            (good(now, now + 3601), Err(Lifetime)),
            (good(now, now), Err(Lifetime)),
            (good(now + 10, now), Err(Lifetime)),
            (good(0, i64::MAX), Err(Lifetime)),
            (iss("https://i/"), Err(Issuer)),
            (iss("https://I"), Err(Issuer)),
            (iss("http://i"), Err(Issuer)),
            (iss("https://i:443"), Err(Issuer)),
            (iss(""), Err(Issuer)),
            (aud("SVC"), Err(Audience)),
            (aud("svc2"), Err(Audience)),
            (aud("sv"), Err(Audience)),
        ];
        let audiences = ["svc".to_owned()];
        let expect = Expect {
            issuer: "https://i",
            audiences: &audiences,
            now: UnixMs::from_seconds(now),
            max_life_s: 3600,
        };
        for (claims, verdict) in table {
            assert_eq!(expect.check(&claims), verdict, "{claims:?}");
        }
    }
}
