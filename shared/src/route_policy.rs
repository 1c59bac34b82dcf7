//! What a route needs, as written and as judged.

use crate::claims::PermissionClaims;
use crate::cors::{Cors, CorsConfig};
use crate::error::ErrorCode;
use crate::limiter::Limit;
use crate::permission::{Permission, holds};
use crate::time::UnixMs;
use crate::user_type::UserType;
use serde::Deserialize;

/// One `[[route]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct RouteConfig {
    /// An exact path, or one that ends in `/*` and covers the path before it too.
    pub path: String,
    /// No credential is needed, and none is passed on.
    #[serde(default)]
    pub public: bool,
    /// All of these are needed.
    #[serde(default)]
    pub permissions: Vec<Permission>,
    /// One of these is needed; empty = any, tokens without a person included.
    #[serde(default)]
    pub user_types: Vec<UserType>,
    /// How old the authentication may be, `"60s"`, `"10m"` or `"2h"`.
    #[serde(default)]
    pub max_auth_age: Option<String>,
    /// Pass the bearer token on, if the issuer is not among its audiences.
    #[serde(default)]
    pub pass_token: bool,
    /// Whether a request here keeps the session alive.
    #[serde(default = "yes")]
    pub activity: bool,
    /// `"closed"` or `"stale:<duration>"`.
    #[serde(default)]
    pub on_state_failure: Option<String>,
    /// Who comes without a credential passes as nobody. A credential that is there must be good.
    #[serde(default)]
    pub auth: Auth,
    /// Whether verdicts count, or are only written down.
    #[serde(default)]
    pub mode: Mode,
    /// How long the origin may take to answer, in milliseconds. Default 30,000, at most 600,000.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// The longest body that may go to the origin, in bytes; of undeclared length, at most a mebibyte. Default: as long as
    /// the runtime allows.
    #[serde(default)]
    pub max_body: Option<u64>,
    /// Which pages of other origins may use the route. Default none; the origin's own headers say.
    #[serde(default)]
    pub cors: Option<CorsConfig>,
    /// Which of `[origins]` the route leads to. Default: `origin_url`.
    #[serde(default)]
    pub origin: Option<String>,
    /// What a caller learns of the origin's refusals.
    #[serde(default)]
    pub errors: Errors,
    /// How often it may be asked by one account and from one address, `"10/5m"`. Default: as often as one likes.
    #[serde(default)]
    pub limit: Option<String>,
    /// WebSocket and server-sent events may pass, and are cut when the session ends.
    #[serde(default)]
    pub streams: bool,
}

/// What a caller learns of the origin's refusals (L5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errors {
    /// What the origin says.
    #[default]
    Explicit,
    /// One answer for every 4xx, unless the caller holds `errors:explicit`.
    General,
}

/// The permission to learn why something was refused where others do not.
pub const ERRORS_EXPLICIT: &str = "errors:explicit";

/// Whether a route needs a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Yes.
    #[default]
    Required,
    /// No, but one that is there is judged.
    Optional,
}

/// What a verdict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is written down, and the request goes on without identity. For trying a route before it is closed.
    Report,
}

/// How long an origin may take, unless its route says otherwise, in milliseconds.
pub(crate) const TIMEOUT_MS: u32 = 30_000;
/// The longest that a route may say.
pub(crate) const LONGEST_TIMEOUT_MS: u32 = 600_000;

const fn yes() -> bool {
    true
}

/// What happens when the object store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStateFailure {
    /// Refuse.
    Closed,
    /// Serve while the isolate's own views are younger than this.
    Stale {
        /// Milliseconds.
        ms: i64,
    },
}

/// What a path needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct RoutePolicy {
    /// No credential is needed.
    pub public: bool,
    /// All of these.
    pub permissions: Vec<Permission>,
    /// One of these, or any when empty.
    pub user_types: Vec<UserType>,
    /// How old the authentication may be.
    pub max_auth_age_s: Option<i64>,
    /// Pass the token on.
    pub pass_token: bool,
    /// A request here keeps the session alive.
    pub activity: bool,
    /// What happens when the object store fails.
    pub on_state_failure: OnStateFailure,
    /// Whether who comes without a credential passes as nobody.
    pub auth: Auth,
    /// What a verdict does.
    pub mode: Mode,
    /// How long the origin may take, in milliseconds.
    pub timeout_ms: u32,
    /// The longest body, in bytes.
    pub max_body: Option<u64>,
    /// Which pages of other origins may use it.
    pub cors: Option<Cors>,
    /// The route as it is written: what is counted for it is counted under this.
    pub name: String,
    /// Which of the origins it leads to; the first where none is named.
    pub origin: Option<String>,
    /// What a caller learns of the origin's refusals.
    pub errors: Errors,
    /// How often it may be asked by one account and from one address.
    pub limit: Option<Limit>,
    /// WebSocket and server-sent events may pass.
    pub streams: bool,
}

impl RoutePolicy {
    /// What a route of the edge's own needs: any token, an act of its person.
    pub const fn any_token() -> Self {
        Self {
            public: false,
            permissions: Vec::new(),
            user_types: Vec::new(),
            max_auth_age_s: None,
            pass_token: false,
            activity: true,
            on_state_failure: OnStateFailure::Closed,
            auth: Auth::Required,
            mode: Mode::Enforce,
            timeout_ms: TIMEOUT_MS,
            max_body: None,
            cors: None,
            name: String::new(),
            origin: None,
            errors: Errors::Explicit,
            limit: None,
            streams: false,
        }
    }

    /// Judges a verified token's claims.
    ///
    /// # Errors
    /// `insufficient_permission` or `step_up_required`.
    pub fn authorize(&self, claims: &PermissionClaims, now: UnixMs) -> Result<(), ErrorCode> {
        let typed =
            self.user_types.is_empty() || claims.user_type.is_some_and(|t| self.user_types.contains(&t));
        if !typed || !self.permissions.iter().all(|p| holds(&claims.scope, p)) {
            return Err(ErrorCode::InsufficientPermission);
        }
        match self.max_auth_age_s {
            // A token without a person was never authenticated by one, so no age is young enough.
            Some(age) if claims.auth_time.is_none_or(|at| now.seconds() - at > age) => {
                Err(ErrorCode::StepUpRequired)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::CommonClaims;
    use crate::json::Json;

    #[test]
    fn the_table_of_authorisation() {
        let claims = |members: &str| {
            let text = format!(
                r#"{{"iss":"i","aud":"a","iat":1,"exp":2,"jti":"t","merchant_id":"m","sub":"a","account_id":"a",{members}}}"#
            );
            let json = Json::parse(text.as_bytes()).unwrap();
            PermissionClaims::from_json(CommonClaims::from_json(&json).unwrap(), &json).unwrap()
        };
        let any = RoutePolicy::any_token;
        let needs = |text| RoutePolicy { permissions: vec![Permission::parse(text).unwrap()], ..any() };
        let (read, admin) = (needs("read"), needs("admin:read"));
        let full = RoutePolicy { user_types: vec![UserType::Full], ..any() };
        let fresh = RoutePolicy { max_auth_age_s: Some(60), ..any() };
        let (permission, step_up) = (Err(ErrorCode::InsufficientPermission), Err(ErrorCode::StepUpRequired));
        let table = [
            (&read, r#""scope":"read""#, Ok(())),
            (&read, r#""scope":"write""#, permission),
            (&read, r#""scope":"read:all""#, permission),
            (&read, r#""scope":"""#, permission),
            (&admin, r#""scope":"admin:*""#, Ok(())),
            (&admin, r#""scope":"admin:write""#, permission),
            (&full, r#""user_type":"full""#, Ok(())),
            (&full, r#""user_type":"sso""#, permission),
            (&full, r#""scope":"read""#, permission),
            (&fresh, r#""auth_time":940"#, Ok(())),
            (&fresh, r#""auth_time":939"#, step_up),
            (&fresh, r#""scope":"read""#, step_up),
        ];
        for (policy, members, verdict) in table {
            assert_eq!(policy.authorize(&claims(members), UnixMs::from_seconds(1000)), verdict, "{members}");
        }
    }
}
