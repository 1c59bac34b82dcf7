//! The route table: which policy a path has (D5).

use crate::cors::Cors;
use crate::limiter::Limit;
use crate::path::Target;
use crate::route_policy::{
    Auth, LONGEST_TIMEOUT_MS, Mode, OnStateFailure, RouteConfig, RoutePolicy, TIMEOUT_MS,
};

/// Why a route cannot be used, with the path it stands under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route `{path}`: {problem}")]
pub struct BadRoute {
    /// The path as written.
    pub path: String,
    /// What is wrong.
    pub problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    segments: Vec<String>,
    below: bool,
    policy: RoutePolicy,
}

/// All routes, longest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTable(Vec<Route>);

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// Every [`BadRoute`], not only the first.
    pub fn new(configs: &[RouteConfig]) -> Result<Self, Vec<BadRoute>> {
        let mut routes: Vec<Route> = Vec::new();
        let mut problems = Vec::new();
        for config in configs {
            match read_route(config) {
                Ok(route)
                    if routes.iter().any(|r| r.segments == route.segments && r.below == route.below) =>
                {
                    problems.push(BadRoute { path: config.path.clone(), problem: "stands twice" });
                }
                Ok(route) => routes.push(route),
                Err(problem) => problems.push(BadRoute { path: config.path.clone(), problem }),
            }
        }
        // The longer path wins, and of two of one length the exact one.
        routes.sort_by_key(|route| core::cmp::Reverse((route.segments.len(), !route.below)));
        if problems.is_empty() { Ok(Self(routes)) } else { Err(problems) }
    }

    /// The paths whose verdicts are only written down.
    pub fn reporting(&self) -> impl Iterator<Item = String> {
        let reporting = self.0.iter().filter(|route| route.policy.mode == Mode::Report);
        reporting.map(|route| format!("/{}{}", route.segments.join("/"), if route.below { "/*" } else { "" }))
    }

    /// The origins that routes lead to by name.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|route| route.policy.origin.as_deref())
    }

    /// The policy of a path; `None` when no route names it, and then it is refused.
    pub fn find(&self, target: &Target) -> Option<&RoutePolicy> {
        // A trailing slash is the same place for the table: no origin may treat it as another, less guarded one.
        let segments = match target.segments() {
            [rest @ .., last] if last.is_empty() => rest,
            all => all,
        };
        self.0.iter().find(|route| route.matches(segments)).map(|route| &route.policy)
    }
}

impl Route {
    fn matches(&self, segments: &[Vec<u8>]) -> bool {
        let long_enough = if self.below {
            segments.len() >= self.segments.len()
        } else {
            segments.len() == self.segments.len()
        };
        long_enough
            && self.segments.iter().zip(segments).all(|(want, got)| want.as_bytes().eq_ignore_ascii_case(got))
    }
}

fn read_route(config: &RouteConfig) -> Result<Route, &'static str> {
    let (path, below) = match config.path.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (config.path.as_str(), false),
    };
    let mut segments = Vec::new();
    if !path.is_empty() && path != "/" {
        let target =
            Target::parse(&format!("http://h{path}")).map_err(|_| "is not a path that requests can have")?;
        for segment in target.segments() {
            let text = core::str::from_utf8(segment).map_err(|_| "is not UTF-8")?;
            if text.is_empty() || text.contains('*') {
                return Err("ends in a slash, or has `*` elsewhere than at its end after a slash");
            }
            segments.push(text.to_owned());
        }
    }
    if matches!(segments.first().map(String::as_str), Some("auth" | ".margrave")) {
        return Err("`/auth` and `/.margrave` belong to the edge itself");
    }
    let guarded =
        !config.permissions.is_empty() || !config.user_types.is_empty() || config.max_auth_age.is_some();
    let asks = guarded || config.pass_token || config.auth == Auth::Optional || config.mode == Mode::Report;
    if config.public && asks {
        return Err("is public and asks for something as well");
    }
    let timeout_ms = config.timeout_ms.unwrap_or(TIMEOUT_MS);
    if !(1..=LONGEST_TIMEOUT_MS).contains(&timeout_ms) {
        return Err("`timeout_ms` is 1 to 600000");
    }
    let max_auth_age_s = match &config.max_auth_age {
        None => None,
        Some(text) => Some(duration_s(text).ok_or("`max_auth_age` is not a duration like \"10m\"")?),
    };
    let on_state_failure = match config.on_state_failure.as_deref() {
        None | Some("closed") => OnStateFailure::Closed,
        Some(text) => {
            let seconds = text.strip_prefix("stale:").and_then(duration_s);
            OnStateFailure::Stale {
                ms: seconds.ok_or("`on_state_failure` is neither \"closed\" nor like \"stale:30s\"")? * 1000,
            }
        }
    };
    let limit = match &config.limit {
        None => None,
        Some(text) => Some(limit(text).ok_or("`limit` is not like \"10/5m\"")?),
    };
    if config.origin.as_deref().is_some_and(|name| !is_origin_name(name)) {
        return Err(BAD_ORIGIN_NAME);
    }
    Ok(Route {
        segments,
        below,
        policy: RoutePolicy {
            public: config.public,
            permissions: config.permissions.clone(),
            user_types: config.user_types.clone(),
            max_auth_age_s,
            pass_token: config.pass_token,
            activity: config.activity,
            on_state_failure,
            auth: config.auth,
            mode: config.mode,
            timeout_ms,
            max_body: config.max_body,
            cors: config.cors.as_ref().map(Cors::new).transpose()?,
            name: config.path.clone(),
            origin: config.origin.clone(),
            errors: config.errors,
            limit,
            streams: config.streams,
        },
    })
}

/// What an origin's name may not be.
pub const BAD_ORIGIN_NAME: &str =
    "an origin's name is a letter and up to 31 letters, digits or underscores, in lower case";

/// Whether a text may name an origin: its secret and its binding are named after it.
pub fn is_origin_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Reads `"10/5m"`.
fn limit(text: &str) -> Option<Limit> {
    let (attempts, window) = text.split_once('/')?;
    let plain = !attempts.is_empty() && attempts.bytes().all(|b| b.is_ascii_digit());
    Limit::new(plain.then(|| attempts.parse().ok())??, duration_s(window)?).ok()
}

/// Reads `"60s"`, `"10m"`, `"2h"`: seconds, at most a year.
pub fn duration_s(text: &str) -> Option<i64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b's' => (text.strip_suffix('s')?, 1),
        b'm' => (text.strip_suffix('m')?, 60),
        b'h' => (text.strip_suffix('h')?, 3600),
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(factor).filter(|s| *s <= 366 * 86400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Permission;
    use crate::route_policy::Errors;

    fn config(path: &str) -> RouteConfig {
        RouteConfig {
            path: path.into(),
            public: false,
            permissions: Vec::new(),
            user_types: Vec::new(),
            max_auth_age: None,
            pass_token: false,
            activity: true,
            on_state_failure: None,
            auth: Auth::Required,
            mode: Mode::Enforce,
            timeout_ms: None,
            max_body: None,
            cors: None,
            origin: None,
            errors: Errors::Explicit,
            limit: None,
            streams: false,
        }
    }

    fn named(path: &str, permission: &str) -> RouteConfig {
        RouteConfig { permissions: vec![Permission::parse(permission).unwrap()], ..config(path) }
    }

    #[test]
    fn the_longest_match_wins_in_any_case() {
        let table = RouteTable::new(&[
            named("/api/*", "api"),
            named("/api/admin/*", "admin"),
            named("/api/admin", "exact"),
            named("/", "root"),
        ])
        .unwrap();
        for (path, permission) in [
            ("/api", Some("api")),
            ("/api/", Some("api")),
            ("/API/x", Some("api")),
            ("/api/admin", Some("exact")),
            ("/api/admin/", Some("exact")),
            ("/api/ADMIN/x/y", Some("admin")),
            ("/api/%61dmin/x", Some("admin")),
            ("/api/administrator", Some("api")),
            ("/apix", None),
            ("/", Some("root")),
            ("/x", None),
        ] {
            let target = Target::parse(&format!("http://h{path}")).unwrap();
            let found = table.find(&target).map(|p| p.permissions[0].as_str().to_owned());
            assert_eq!(found.as_deref(), permission, "{path}");
        }
    }

    #[test]
    fn every_bad_route_is_named() {
        let bad = [
            config("api"),
            config("/a//b"),
            config("/a/"),
            config("/a*"),
            config("/*/a"),
            config("/auth/x"),
            config("/.margrave/*"),
            RouteConfig { public: true, ..named("/p", "read") },
            RouteConfig { max_auth_age: Some("ten".into()), ..config("/q") },
            RouteConfig { on_state_failure: Some("open".into()), ..config("/r") },
            RouteConfig { limit: Some("5".into()), ..config("/s") },
            RouteConfig { origin: Some("CRM".into()), ..config("/t") },
        ];
        let problems = RouteTable::new(&bad).unwrap_err();
        assert_eq!(problems.len(), bad.len(), "{problems:?}");
        assert!(RouteTable::new(&[config("/a"), config("/A"), config("/a/*")]).is_ok());
        assert_eq!(RouteTable::new(&[config("/a"), config("/a")]).unwrap_err().len(), 1);
    }

    #[test]
    fn limits() {
        for (text, read) in [
            ("10/5m", Some((10, 300))),
            ("1/1s", Some((1, 1))),
            ("0/1s", None),
            ("+1/1s", None),
            ("1/0s", None),
            ("/1s", None),
            ("1", None),
            ("1/1", None),
            ("9999999/1s", None),
        ] {
            assert_eq!(limit(text).map(|limit| (limit.attempts, limit.window_s)), read, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("60s", Some(60)),
            ("10m", Some(600)),
            ("2h", Some(7200)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999h", None),
        ] {
            assert_eq!(duration_s(text), seconds, "{text}");
        }
    }
}
