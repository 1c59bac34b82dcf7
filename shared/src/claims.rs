//! What the tokens say: one struct per kind of token, written by the issuer and read back strictly.
//!
//! Reading starts from [`Json`], so duplicate members and odd encodings are gone already; here every claim must have
//! the one type and shape it may have (RFC 9068 §2.2, RFC 7519 §4.1).
//!
//! One file, though a long one: the three kinds of token are read by the same few readers at its end, and what a claim
//! may be stands beside the struct that carries it. A good part is the table of shapes that are refused.

use crate::factor_policy::Factor;
use crate::id::{AccountId, AppointmentId, ClientId, GrantId, KeyId, MerchantId, SessionId, TokenId};
use crate::json::Json;
use crate::permission::{Permission, parse_scope, print_scope};
use crate::token::status_list::StatusPlace;
use crate::user_type::UserType;
use crate::x_address::XAddress;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;

/// A claim that is missing or has the wrong type or shape; its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("claim `{0}`")]
pub struct BadClaim(pub &'static str);

/// Who a permission token is about (`sub`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A person: the account's id.
    Account(AccountId),
    /// A cabinet: its X-address.
    Cabinet(XAddress),
    /// A merchant by one of its keys: `merchant:<merchant_id>`.
    Merchant(MerchantId),
    /// An application without a person: `app:<client_id>`.
    Application(ClientId),
}

impl Subject {
    /// Reads `sub`. The prefixes hold a character that no id has, so no client can be named like a person.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix("merchant:") {
            return MerchantId::parse(id).ok().map(Self::Merchant);
        }
        if let Some(id) = text.strip_prefix("app:") {
            return ClientId::parse(id).ok().map(Self::Application);
        }
        if text.starts_with("x:") {
            return XAddress::parse(text).ok().map(Self::Cabinet);
        }
        AccountId::parse(text).ok().map(Self::Account)
    }

    /// The text of `sub`.
    pub fn print(&self) -> String {
        match self {
            Self::Account(id) => id.to_string(),
            Self::Cabinet(address) => address.to_string(),
            Self::Merchant(id) => format!("merchant:{id}"),
            Self::Application(id) => format!("app:{id}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.print())
    }
}

/// The limits of a session as tokens carry them (`session`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionLimits {
    /// Longest pause between two acts, in seconds; 0 = none.
    #[serde(rename = "idle")]
    pub idle_s: i64,
    /// Unix second of the absolute end; 0 = none.
    #[serde(rename = "until")]
    pub until_s: i64,
}

/// The cabinet a person acts from (`cabinet`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CabinetClaim {
    /// `personal`, `position` or `office`.
    pub kind: String,
    /// The organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<MerchantId>,
    /// The appointment whose dismissal ends this token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appointment_id: Option<AppointmentId>,
}

/// The person behind a cabinet (`act`, RFC 8693 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The person's account.
    pub sub: AccountId,
}

/// A permission token's claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PermissionClaims {
    /// The issuer's public URL.
    pub iss: String,
    /// The services it is for.
    pub aud: Vec<String>,
    /// Who it is about.
    pub sub: Subject,
    /// Unix second of issue.
    pub iat: i64,
    /// Unix second of expiry.
    pub exp: i64,
    /// The token's own id.
    pub jti: TokenId,
    /// The client it was given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// What it permits.
    #[serde(serialize_with = "scope_text")]
    pub scope: BTreeSet<Permission>,
    /// The merchant within which it is valid.
    pub merchant_id: MerchantId,
    /// The merchant key it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
    /// The person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// The account's generation when it was minted.
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// How the person is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_type: Option<UserType>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// The session's limits; absent = none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionLimits>,
    /// Unix second of the oldest factor's verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How the person was authenticated (RFC 8176).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The authentication context class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The grant of a third-party application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<GrantId>,
    /// The cabinet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cabinet: Option<CabinetClaim>,
    /// The person behind the cabinet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// Proof-of-possession binding (`cnf`, RFC 9449 §6): the key's thumbprint.
    #[serde(rename = "cnf", serialize_with = "cnf_object", skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Its place in a status list. Written for verifiers that are not ours; our own follow the feed and do not read it.
    #[serde(serialize_with = "status_object", skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusPlace>,
}

fn scope_text<S: Serializer>(scope: &BTreeSet<Permission>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print_scope(scope))
}

// serde hands `serialize_with` a reference to the field, whatever its type.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn cnf_object<S: Serializer>(jkt: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(jkt.iter().map(|jkt| ("jkt", jkt)))
}

// As above.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn status_object<S: Serializer>(status: &Option<StatusPlace>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(status.iter().map(|place| ("status_list", place)))
}

/// A security token's claims: this factor of this account was verified at this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecurityClaims {
    /// The issuer's public URL.
    pub iss: String,
    /// The issuer itself: no other service takes it.
    pub aud: String,
    /// The account.
    pub sub: AccountId,
    /// Unix second of issue.
    pub iat: i64,
    /// Unix second of expiry.
    pub exp: i64,
    /// The token's own id, consumed once.
    pub jti: TokenId,
    /// The account's merchant.
    pub merchant_id: MerchantId,
    /// What was verified.
    pub factor: Factor,
    /// Unix second of the verification.
    pub auth_time: i64,
}

/// A refresh token's claims. The edge reads them to ask for the session; the issuer goes by its stored row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefreshClaims {
    /// The issuer's public URL.
    pub iss: String,
    /// The issuer itself.
    pub aud: String,
    /// The account.
    pub sub: AccountId,
    /// Unix second of issue.
    pub iat: i64,
    /// Unix second of expiry: the session's absolute end.
    pub exp: i64,
    /// The token's own id.
    pub jti: TokenId,
    /// The client it was given to.
    pub client_id: ClientId,
    /// The account's merchant.
    pub merchant_id: MerchantId,
    /// The session.
    pub sid: SessionId,
    /// The family: the chain of rotations from one login.
    pub family: TokenId,
}

/// The claims every kind of token has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonClaims {
    /// `iss`
    pub iss: String,
    /// `aud`, a string or an array in the token.
    pub aud: Vec<String>,
    /// `iat`
    pub iat: i64,
    /// `exp`
    pub exp: i64,
    /// `nbf`
    pub nbf: Option<i64>,
    /// `jti`
    pub jti: TokenId,
}

/// More audiences than any real token has; a longer list is an attack on the reader.
const MAX_AUDIENCES: usize = 16;

fn text<'a>(json: &'a Json, name: &'static str) -> Result<Option<&'a str>, BadClaim> {
    match json.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(BadClaim(name)),
    }
}

fn required<T>(value: Option<T>, name: &'static str) -> Result<T, BadClaim> {
    value.ok_or(BadClaim(name))
}

fn parsed<T, E>(
    json: &Json,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, BadClaim> {
    text(json, name)?.map(parse).transpose().map_err(|_| BadClaim(name))
}

/// A whole, non-negative number of seconds. 2^53 is where other readers lose exactness.
fn seconds(json: &Json, name: &'static str) -> Result<Option<i64>, BadClaim> {
    match json.get(name) {
        None => Ok(None),
        Some(value) => match value.as_integer() {
            Some(n) if (0..1 << 53).contains(&n) => Ok(Some(n)),
            _ => Err(BadClaim(name)),
        },
    }
}

fn texts(json: &Json, name: &'static str, most: usize) -> Result<Vec<String>, BadClaim> {
    match json.get(name) {
        None => Ok(Vec::new()),
        Some(Json::Array(items)) if items.len() <= most => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or(BadClaim(name))).collect()
        }
        Some(_) => Err(BadClaim(name)),
    }
}

impl CommonClaims {
    /// Reads the claims that every token has.
    ///
    /// # Errors
    /// [`BadClaim`] for the first claim that is missing or has the wrong type.
    pub fn from_json(json: &Json) -> Result<Self, BadClaim> {
        if json.as_object().is_none() {
            return Err(BadClaim("claims"));
        }
        let aud = match json.get("aud") {
            Some(Json::String(one)) => vec![one.clone()],
            _ => texts(json, "aud", MAX_AUDIENCES)?,
        };
        if aud.is_empty() || aud.iter().any(String::is_empty) {
            return Err(BadClaim("aud"));
        }
        Ok(Self {
            iss: required(text(json, "iss")?, "iss")?.to_owned(),
            aud,
            iat: required(seconds(json, "iat")?, "iat")?,
            exp: required(seconds(json, "exp")?, "exp")?,
            nbf: seconds(json, "nbf")?,
            jti: required(parsed(json, "jti", TokenId::parse)?, "jti")?,
        })
    }
}

impl PermissionClaims {
    /// Reads a permission token's claims.
    ///
    /// # Errors
    /// [`BadClaim`] for a claim that is missing, has the wrong shape, or contradicts another: the subject must be
    /// what the other claims say it is.
    pub fn from_json(common: CommonClaims, json: &Json) -> Result<Self, BadClaim> {
        let sub = required(text(json, "sub")?.and_then(Subject::parse), "sub")?;
        let claims = Self {
            sub,
            client_id: parsed(json, "client_id", ClientId::parse)?,
            scope: parsed(json, "scope", parse_scope)?.unwrap_or_default(),
            merchant_id: required(parsed(json, "merchant_id", MerchantId::parse)?, "merchant_id")?,
            key_id: parsed(json, "key_id", KeyId::parse)?,
            account_id: parsed(json, "account_id", AccountId::parse)?,
            generation: seconds(json, "gen")?,
            user_type: parsed(json, "user_type", |t| UserType::parse(t).ok_or(()))?,
            sid: parsed(json, "sid", SessionId::parse)?,
            session: session_limits(json)?,
            auth_time: seconds(json, "auth_time")?,
            amr: texts(json, "amr", 16)?,
            acr: text(json, "acr")?.map(str::to_owned),
            grant_id: parsed(json, "grant_id", GrantId::parse)?,
            cabinet: cabinet(json)?,
            act: actor(json)?,
            jkt: confirmation(json)?,
            status: None,
            iss: common.iss,
            aud: common.aud,
            iat: common.iat,
            exp: common.exp,
            jti: common.jti,
        };
        claims.check_coherence()?;
        Ok(claims)
    }

    /// The person who acts: the account, or the one behind the cabinet.
    pub fn person(&self) -> Option<&AccountId> {
        self.account_id.as_ref().or_else(|| self.act.as_ref().map(|act| &act.sub))
    }

    fn check_coherence(&self) -> Result<(), BadClaim> {
        let none_of_a_person = self.account_id.is_none() && self.sid.is_none() && self.session.is_none();
        match &self.sub {
            Subject::Account(id) if self.account_id.as_ref() != Some(id) => Err(BadClaim("account_id")),
            Subject::Account(_) if self.cabinet.is_some() || self.key_id.is_some() => Err(BadClaim("sub")),
            Subject::Cabinet(_)
                if self.account_id.is_some() || self.cabinet.is_none() || self.act.is_none() =>
            {
                Err(BadClaim("cabinet"))
            }
            Subject::Merchant(id) if *id != self.merchant_id || !none_of_a_person || self.act.is_some() => {
                Err(BadClaim("sub"))
            }
            Subject::Application(id)
                if self.client_id.as_ref() != Some(id) || !none_of_a_person || self.act.is_some() =>
            {
                Err(BadClaim("sub"))
            }
            // Limits without a session to apply them to would silently not be enforced.
            _ if self.session.is_some() && self.sid.is_none() => Err(BadClaim("sid")),
            _ => Ok(()),
        }
    }
}

fn session_limits(json: &Json) -> Result<Option<SessionLimits>, BadClaim> {
    let Some(session) = json.get("session") else { return Ok(None) };
    match (seconds(session, "idle"), seconds(session, "until")) {
        (Ok(Some(idle_s)), Ok(Some(until_s))) => Ok(Some(SessionLimits { idle_s, until_s })),
        _ => Err(BadClaim("session")),
    }
}

fn cabinet(json: &Json) -> Result<Option<CabinetClaim>, BadClaim> {
    let Some(cabinet) = json.get("cabinet") else { return Ok(None) };
    let kind = required(text(cabinet, "kind")?, "cabinet")?;
    if !matches!(kind, "personal" | "position" | "office") {
        return Err(BadClaim("cabinet"));
    }
    Ok(Some(CabinetClaim {
        kind: kind.to_owned(),
        org: parsed(cabinet, "org", MerchantId::parse)?,
        appointment_id: parsed(cabinet, "appointment_id", AppointmentId::parse)?,
    }))
}

fn actor(json: &Json) -> Result<Option<Actor>, BadClaim> {
    let Some(act) = json.get("act") else { return Ok(None) };
    Ok(Some(Actor { sub: required(parsed(act, "sub", AccountId::parse)?, "act")? }))
}

fn confirmation(json: &Json) -> Result<Option<String>, BadClaim> {
    let Some(cnf) = json.get("cnf") else { return Ok(None) };
    // A confirmation method we do not know must not be dropped: the token would become a bearer token.
    match cnf.as_object() {
        Some([(name, Json::String(jkt))]) if name == "jkt" => Ok(Some(jkt.clone())),
        _ => Err(BadClaim("cnf")),
    }
}

impl SecurityClaims {
    /// Reads a security token's claims.
    ///
    /// # Errors
    /// [`BadClaim`] for the first claim that is missing or has the wrong shape.
    pub fn from_json(common: CommonClaims, json: &Json) -> Result<Self, BadClaim> {
        Ok(Self {
            iss: common.iss,
            aud: single_audience(common.aud)?,
            iat: common.iat,
            exp: common.exp,
            jti: common.jti,
            sub: required(parsed(json, "sub", AccountId::parse)?, "sub")?,
            merchant_id: required(parsed(json, "merchant_id", MerchantId::parse)?, "merchant_id")?,
            factor: required(text(json, "factor")?.and_then(Factor::parse), "factor")?,
            auth_time: required(seconds(json, "auth_time")?, "auth_time")?,
        })
    }
}

impl RefreshClaims {
    /// Reads a refresh token's claims.
    ///
    /// # Errors
    /// [`BadClaim`] for the first claim that is missing or has the wrong shape.
    pub fn from_json(common: CommonClaims, json: &Json) -> Result<Self, BadClaim> {
        Ok(Self {
            iss: common.iss,
            aud: single_audience(common.aud)?,
            iat: common.iat,
            exp: common.exp,
            jti: common.jti,
            sub: required(parsed(json, "sub", AccountId::parse)?, "sub")?,
            client_id: required(parsed(json, "client_id", ClientId::parse)?, "client_id")?,
            merchant_id: required(parsed(json, "merchant_id", MerchantId::parse)?, "merchant_id")?,
            sid: required(parsed(json, "sid", SessionId::parse)?, "sid")?,
            family: required(parsed(json, "family", TokenId::parse)?, "family")?,
        })
    }
}

fn single_audience(aud: Vec<String>) -> Result<String, BadClaim> {
    match <[String; 1]>::try_from(aud) {
        Ok([one]) => Ok(one),
        Err(_) => Err(BadClaim("aud")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PermissionClaims, BadClaim> {
        let json = Json::parse(text.as_bytes()).unwrap();
        PermissionClaims::from_json(CommonClaims::from_json(&json)?, &json)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"iss":"i","aud":["a"],"iat":1,"exp":2,"jti":"j",{members}}}"#)
    }

    #[test]
    fn the_subject_must_agree_with_the_other_claims() {
        let table: &[(&str, Result<(), &str>)] = &[
            (r#""sub":"acc","account_id":"acc","merchant_id":"m""#, Ok(())),
            (r#""sub":"acc","merchant_id":"m""#, Err("account_id")),
            (r#""sub":"acc","account_id":"other","merchant_id":"m""#, Err("account_id")),
            (r#""sub":"acc","account_id":"acc","key_id":"k","merchant_id":"m""#, Err("sub")),
            (r#""sub":"acc","account_id":"acc""#, Err("merchant_id")),
            (r#""sub":"merchant:m","merchant_id":"m","key_id":"k""#, Ok(())),
            (r#""sub":"merchant:m","merchant_id":"n""#, Err("sub")),
            (r#""sub":"merchant:m","merchant_id":"m","account_id":"a""#, Err("sub")),
            (r#""sub":"merchant:m","merchant_id":"m","sid":"s""#, Err("sub")),
            (r#""sub":"app:c","client_id":"c","merchant_id":"m""#, Ok(())),
            (r#""sub":"app:c","client_id":"d","merchant_id":"m""#, Err("sub")),
            (r#""sub":"app:c","merchant_id":"m""#, Err("sub")),
            (
                r#""sub":"x:desk","merchant_id":"m","cabinet":{"kind":"office","org":"o"},"act":{"sub":"acc"}"#,
                Ok(()),
            ),
            (r#""sub":"x:desk","merchant_id":"m","cabinet":{"kind":"office"}"#, Err("cabinet")),
            (r#""sub":"x:desk","merchant_id":"m","act":{"sub":"acc"}"#, Err("cabinet")),
            (
                r#""sub":"x:desk","merchant_id":"m","cabinet":{"kind":"throne"},"act":{"sub":"a"}"#,
                Err("cabinet"),
            ),
            (r#""sub":"a b","merchant_id":"m""#, Err("sub")),
            (r#""sub":["acc"],"merchant_id":"m""#, Err("sub")),
            (r#""sub":"acc\u0000","account_id":"acc","merchant_id":"m""#, Err("sub")),
            (
                r#""sub":"acc","account_id":"acc","merchant_id":"m","session":{"idle":1,"until":2}"#,
                Err("sid"),
            ),
            (
                r#""sub":"acc","account_id":"acc","merchant_id":"m","sid":"s","session":{"idle":1}"#,
                Err("session"),
            ),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","cnf":{"jwk":{}}"#, Err("cnf")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","cnf":{}"#, Err("cnf")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","scope":"a  b""#, Err("scope")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","scope":["a"]"#, Err("scope")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","user_type":"root""#, Err("user_type")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","gen":"1""#, Err("gen")),
            (r#""sub":"acc","account_id":"acc","merchant_id":"m","gen":-1"#, Err("gen")),
        ];
        for (members, verdict) in table {
            assert_eq!(read(&with(members)).map(|_| ()).map_err(|e| e.0), *verdict, "{members}");
        }
    }

    #[test]
    fn common_claims_have_one_type_each() {
        let base = r#""merchant_id":"m","sub":"merchant:m""#;
        let table = [
            (r#"{"aud":"a","iat":1,"exp":2,"jti":"j",BASE}"#, "iss"),
            (r#"{"iss":["i"],"aud":"a","iat":1,"exp":2,"jti":"j",BASE}"#, "iss"),
            (r#"{"iss":"i","iat":1,"exp":2,"jti":"j",BASE}"#, "aud"),
            (r#"{"iss":"i","aud":"","iat":1,"exp":2,"jti":"j",BASE}"#, "aud"),
            (r#"{"iss":"i","aud":[],"iat":1,"exp":2,"jti":"j",BASE}"#, "aud"),
            (r#"{"iss":"i","aud":[1],"iat":1,"exp":2,"jti":"j",BASE}"#, "aud"),
            (r#"{"iss":"i","aud":7,"iat":1,"exp":2,"jti":"j",BASE}"#, "aud"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":"2","jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":1e400,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":1.5,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":-1,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":9223372036854775808,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":null,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","iat":1,"jti":"j",BASE}"#, "exp"),
            (r#"{"iss":"i","aud":"a","exp":2,"jti":"j",BASE}"#, "iat"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":2,BASE}"#, "jti"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":2,"jti":"a/b",BASE}"#, "jti"),
            (r#"{"iss":"i","aud":"a","iat":1,"exp":2,"nbf":"0","jti":"j",BASE}"#, "nbf"),
        ];
        for (text, claim) in table {
            assert_eq!(read(&text.replace("BASE", base)), Err(BadClaim(claim)), "{text}");
        }
        let many = format!("[{}\"a\"]", "\"a\",".repeat(999));
        let text = format!(r#"{{"iss":"i","aud":{many},"iat":1,"exp":2,"jti":"j",{base}}}"#);
        assert_eq!(read(&text), Err(BadClaim("aud")));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = with(
            r#""client_id":"c","scope":"read write","merchant_id":"m","sub":"acc","account_id":"acc","gen":3,
            "user_type":"full","sid":"s","session":{"idle":1800,"until":99},"auth_time":1,"amr":["pwd"],"acr":"1",
            "grant_id":"g","cnf":{"jkt":"t"}"#,
        );
        let claims = read(&text).unwrap();
        assert_eq!(read(&serde_json::to_string(&claims).unwrap()), Ok(claims));
    }
}
