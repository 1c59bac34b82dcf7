//! The edge's configuration: the text module `edge.toml`, `EDGE_OVERRIDES` over it, and the secrets.
//!
//! One file, though a long one: each section is a struct with its defaults, and one function checks all of them, so that
//! every problem is reported at once.

use crate::origins::{OriginConfig, Origins, authority};
use crate::{log, state};
use ed25519_dalek::SigningKey;
use margrave_shared::device::DeviceKeys;
use margrave_shared::id::{EdgeId, MerchantId};
use margrave_shared::limiter::LimiterKeys;
use margrave_shared::limiter::limits::{LimitSettings, Limits};
use margrave_shared::route_policy::RouteConfig;
use margrave_shared::route_table::RouteTable;
use margrave_shared::secret::{SecretKey, SecretText};
use margrave_shared::wire::state_call::StateKeys;
use serde::Deserialize;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use worker::Env;

/// The binding of the account objects.
pub(crate) const ACCOUNTS: &str = "ACCOUNTS";
/// The binding of the limiter objects.
pub(crate) const LIMITERS: &str = "LIMITERS";
/// The binding of the feed object.
pub(crate) const FEED: &str = "FEED";
/// The binding of the issuer, where there is one; otherwise `issuer_url` is fetched.
pub(crate) const ISSUER: &str = "ISSUER";

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: String,
    issuer_url: String,
    origin_url: String,
    audience: String,
    merchants: Vec<String>,
    edge_id: String,
    client_address: String,
    #[serde(default)]
    limits: LimitSettings,
    #[serde(default)]
    revocations: Revocations,
    #[serde(default)]
    jwks: Jwks,
    #[serde(default)]
    session: Session,
    #[serde(default)]
    token: Token,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    state: State,
    #[serde(default)]
    origins: BTreeMap<String, OriginConfig>,
    #[serde(default)]
    route: Vec<RouteConfig>,
}

/// `[revocations]`: the feed.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Revocations {
    /// How old an isolate's view may be, in milliseconds. Default 500.
    pub(crate) poll_ms: i64,
    /// How long tokens pass without word from the issuer, in seconds. Default 330.
    pub(crate) max_stale_s: i64,
    /// `"on"`, or `"off"` for an issuer that has no feed. Default `"on"`.
    feed: Switch,
    /// `"one"` when a single process serves this edge, `"many"` otherwise. Default `"many"`. With one, a pushed ending
    /// counts everywhere once it counts here, and the issuer is told so at once.
    pub(crate) isolates: Isolates,
}

/// How many isolates serve an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Isolates {
    /// One.
    One,
    /// An unknown number, as on Cloudflare.
    Many,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switch {
    On,
    Off,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { poll_ms: 500, max_stale_s: 330, feed: Switch::On, isolates: Isolates::Many }
    }
}

impl Revocations {
    /// Whether there is a feed at all.
    pub(crate) fn has_feed(self) -> bool {
        self.feed == Switch::On
    }
}

/// `[jwks]`: the issuer's keys.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Jwks {
    /// After how many seconds the set is fetched anew, in the background. Default 240.
    pub(crate) fresh_s: i64,
    /// For how many seconds the last good set serves while the issuer does not answer. Default 86400.
    pub(crate) max_stale_s: i64,
    /// At most one fetch for unknown keys in so many seconds. Default 10.
    pub(crate) cooldown_s: i64,
}

impl Default for Jwks {
    fn default() -> Self {
        Self { fresh_s: 240, max_stale_s: 86400, cooldown_s: 10 }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Session {
    /// The longest touch window, in seconds; a tenth of idle where that is shorter. Default 180.
    touch_s: i64,
    /// Which object holds an account's sessions. Default `"each"`.
    objects: AccountObjects,
}

impl Default for Session {
    fn default() -> Self {
        Self { touch_s: 180, objects: AccountObjects::Each }
    }
}

/// How accounts are spread over the account objects. Chosen once: a change wants the objects emptied, and sessions then
/// count from their tokens' `iat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccountObjects {
    /// Each account has its own: near its person, and without a limit to all of them together. For Cloudflare.
    Each,
    /// All accounts share sixteen. For plain workerd, where an object is a file that is opened for nearly every touch.
    Shared,
}

/// `[log]`: what is written of requests.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Log {
    /// Default `"off"`: what is refused is counted, and a flood fills no disk.
    requests: LoggedRequests,
}

/// Which requests have a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoggedRequests {
    /// None.
    #[default]
    Off,
    /// Those that are refused.
    Refused,
    /// All.
    All,
}

/// `[state]`: the process that has the objects, where a gate has none of its own.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct State {
    /// How long a gate goes on trying to reach the state process when nobody is there, in milliseconds: it may be
    /// restarting. One that is there and silent has 200 in any case. Default 200.
    wait_ms: i64,
}

impl Default for State {
    fn default() -> Self {
        Self { wait_ms: 200 }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Token {
    /// The longest `exp − iat`, in seconds. Default 3600.
    max_life_s: i64,
}

impl Default for Token {
    fn default() -> Self {
        Self { max_life_s: 3600 }
    }
}

/// Where the client's address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// `CF-Connecting-IP`, which Cloudflare sets.
    CloudflareHeader,
    /// The peer of the connection.
    Peer,
    /// The n-th entry of `X-Forwarded-For` from the right.
    Forwarded(usize),
}

/// The configuration, read and checked.
#[derive(Debug)]
pub(crate) struct EdgeConfig {
    /// `iss`, and where the issuer publishes itself.
    pub(crate) issuer: String,
    /// Where the issuer is reached.
    pub(crate) issuer_url: String,
    /// The origins.
    pub(crate) origins: Origins,
    /// Their audiences, as the verifier takes them.
    pub(crate) audiences: Vec<String>,
    merchants: Vec<String>,
    /// This edge's id.
    pub(crate) edge_id: EdgeId,
    /// Where the client's address stands.
    pub(crate) client_address: AddressSource,
    /// How many attempts there may be.
    pub(crate) limits: Limits,
    /// The feed.
    pub(crate) revocations: Revocations,
    /// The keys.
    pub(crate) jwks: Jwks,
    /// The longest pause between two touches, in seconds.
    pub(crate) touch_s: i64,
    /// Which object holds an account's sessions.
    pub(crate) account_objects: AccountObjects,
    /// The longest life of a token, in seconds.
    pub(crate) max_life_s: i64,
    /// The routes.
    pub(crate) routes: RouteTable,
    /// Signs requests to the issuer.
    pub(crate) signing_key: SigningKey,
    /// Hash what the limiter counts by.
    pub(crate) limiter_keys: LimiterKeys,
    /// Which requests have a line in the log.
    pub(crate) logged: LoggedRequests,
    /// Who may read the metrics; nobody where it is not set.
    pub(crate) metrics_key: Option<SecretText>,
    /// Sign device tokens.
    pub(crate) device_keys: DeviceKeys,
    /// What gates and the state process know each other by; nothing where one process is all.
    pub(crate) state_keys: Option<StateKeys>,
    /// How long a gate goes on trying to reach the state process, in milliseconds.
    pub(crate) state_wait_ms: i64,
}

thread_local! {
    static READ: OnceCell<Option<Rc<EdgeConfig>>> = const { OnceCell::new() };
}

impl EdgeConfig {
    /// The configuration of this isolate, read once. `None` when it cannot be used: then nothing is served, and the
    /// log says why.
    pub(crate) fn of(env: &Env) -> Option<Rc<Self>> {
        READ.with(|read| {
            read.get_or_init(|| match Self::read(env) {
                Ok(config) => {
                    for path in config.routes.reporting() {
                        log::warn(&format!(
                            "NOT GUARDED: {path} has mode = 'report', nobody is refused there"
                        ));
                    }
                    Some(Rc::new(config))
                }
                Err(problems) => {
                    log::error(&format!("the configuration cannot be used: {}", problems.join("; ")));
                    None
                }
            })
            .clone()
        })
    }

    /// Whether tokens of a merchant count here.
    pub(crate) fn serves(&self, merchant: &MerchantId) -> bool {
        self.merchants.iter().any(|m| m == "*" || m == merchant.as_str())
    }

    fn read(env: &Env) -> Result<Self, Vec<String>> {
        // Plain workerd binds `null` to a variable that is not set, and `Env::var` throws at it.
        let text_of = |name: &str| js_sys::Reflect::get(env.as_ref(), &name.into()).ok()?.as_string();
        let text = text_of("EDGE_CONFIG").ok_or_else(|| vec!["EDGE_CONFIG is not there".to_owned()])?;
        let overrides = text_of("EDGE_OVERRIDES").unwrap_or_default();
        let config = Self::build(&text, &overrides, &text_of)?;
        let mut problems = Vec::new();
        if state::is_elsewhere(env) && config.state_keys.is_none() {
            problems.push("this is a gate, and its secret STATE_KEY (as <key id>:<key>) is not set");
        }
        // The gate that is told of an ending would vouch for the others.
        if state::is_elsewhere(env) && config.revocations.isolates == Isolates::One {
            problems.push("this is a gate, one of several: `revocations.isolates` is \"many\"");
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().map(str::to_owned).collect());
        }
        Ok(config)
    }

    fn build(
        text: &str,
        overrides: &str,
        secret: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let one = |error: String| vec![error];
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| one(error.to_string()))?;
        let over: toml::Table = overrides.parse().map_err(|error: toml::de::Error| one(error.to_string()))?;
        merge(&mut table, over);
        let file: File = table.try_into().map_err(|error: toml::de::Error| one(error.to_string()))?;
        let mut problems = Vec::new();

        let client_address = match file.client_address.as_str() {
            "cf-header" => Some(AddressSource::CloudflareHeader),
            "peer" => Some(AddressSource::Peer),
            other => other
                .strip_prefix("forwarded:")
                .and_then(|n| n.parse().ok())
                .filter(|n| (1..=16).contains(n))
                .map(AddressSource::Forwarded),
        };
        if client_address.is_none() {
            problems.push("`client_address` is \"cf-header\", \"peer\" or \"forwarded:<n>\"".to_owned());
        }
        for (name, value) in
            file.merchants.iter().map(|m| ("merchants", m)).chain([("edge_id", &file.edge_id)])
        {
            if value.starts_with(PLACEHOLDER) {
                problems.push(format!("`{name}` is still `{value}`, as the file is shipped"));
            }
        }
        if file.merchants.is_empty() {
            problems.push("`merchants` names at least one, or [\"*\"]".to_owned());
        }
        if authority(&file.issuer_url).is_none() || file.issuer_url.ends_with('/') {
            problems.push("`issuer_url` is an http(s) URL without a slash at its end".to_owned());
        }
        let origins = Origins::read(&file.origin_url, &file.audience, &file.origins, secret)
            .map_err(|bad| problems.extend(bad))
            .ok();
        let limits = file.limits.limits(&mut problems);
        let numbers = [
            ("revocations.poll_ms", file.revocations.poll_ms, 1, 60_000),
            ("revocations.max_stale_s", file.revocations.max_stale_s, 0, 86_400),
            ("jwks.fresh_s", file.jwks.fresh_s, 1, 86_400),
            ("jwks.max_stale_s", file.jwks.max_stale_s, 1, 30 * 86_400),
            ("jwks.cooldown_s", file.jwks.cooldown_s, 1, 3600),
            ("session.touch_s", file.session.touch_s, 0, 3600),
            ("token.max_life_s", file.token.max_life_s, 1, 86_400),
            ("state.wait_ms", file.state.wait_ms, 0, 2_000),
        ];
        for (name, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                problems.push(format!("`{name}` is {least} to {most}, not {value}"));
            }
        }
        let edge_id =
            EdgeId::parse(&file.edge_id).map_err(|error| problems.push(format!("`edge_id`: {error}"))).ok();
        let routes = RouteTable::new(&file.route)
            .map_err(|bad| problems.extend(bad.iter().map(ToString::to_string)))
            .ok();
        for name in routes.iter().flat_map(RouteTable::origins) {
            if !file.origins.contains_key(name) {
                problems
                    .push(format!("a route leads to the origin `{name}`, and there is no [origins.{name}]"));
            }
        }
        let signing_key = required("EDGE_SIGNING_KEY", secret, SecretKey::parse, &mut problems);
        let limiter_keys = required("LIMITER_KEY", secret, LimiterKeys::parse, &mut problems);

        let metrics_key = secret("METRICS_KEY").map(|key| key.trim().to_owned());
        if metrics_key.as_ref().is_some_and(|key| key.len() < LEAST_METRICS_KEY) {
            problems.push(format!("the secret METRICS_KEY has at least {LEAST_METRICS_KEY} characters"));
        }

        let state_keys = secret("STATE_KEY").and_then(|text| {
            StateKeys::parse(&text).map_err(|bad| problems.push(format!("the secret STATE_KEY: {bad}"))).ok()
        });
        let state_keys = state_keys.zip(limiter_keys.as_ref()).map(|(keys, limiter_keys)| {
            let objects: &[u8] = match file.session.objects {
                AccountObjects::Each => b"each",
                AccountObjects::Shared => b"shared",
            };
            keys.agreeing_on(limiter_keys, &[objects, file.edge_id.as_bytes(), file.issuer.as_bytes()])
        });

        match (client_address, origins, (limits, edge_id, routes), (signing_key, limiter_keys)) {
            (
                Some(client_address),
                Some(origins),
                (Some(limits), Some(edge_id), Some(routes)),
                (Some(signing_key), Some(limiter_keys)),
            ) if problems.is_empty() => Ok(Self {
                issuer: file.issuer,
                issuer_url: file.issuer_url,
                audiences: origins.audiences(),
                origins,
                merchants: file.merchants,
                edge_id,
                client_address,
                limits,
                revocations: file.revocations,
                jwks: file.jwks,
                touch_s: file.session.touch_s,
                account_objects: file.session.objects,
                max_life_s: file.token.max_life_s,
                routes,
                signing_key: SigningKey::from_bytes(signing_key.bytes()),
                logged: file.log.requests,
                metrics_key: metrics_key.map(SecretText::new),
                device_keys: DeviceKeys::of(&limiter_keys),
                state_keys,
                state_wait_ms: file.state.wait_ms,
                limiter_keys,
            }),
            _ => Err(problems),
        }
    }
}

/// Reads a secret that has to be there; nothing, and what is wrong in `problems`, where it cannot be used.
fn required<K, E: std::fmt::Display>(
    name: &str,
    secret: &dyn Fn(&str) -> Option<String>,
    parse: impl FnOnce(&str) -> Result<K, E>,
    problems: &mut Vec<String>,
) -> Option<K> {
    let Some(text) = secret(name) else {
        problems.push(format!("the secret {name} is not set"));
        return None;
    };
    parse(&text).map_err(|error| problems.push(format!("the secret {name}: {error}"))).ok()
}

/// What the shipped file says in place of what only the operator knows.
const PLACEHOLDER: &str = "replace-with-";

/// The shortest key for the metrics: it is guessed at without a limit.
const LEAST_METRICS_KEY: usize = 32;

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => merge(inner, over),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margrave_shared::secret::SecretKey;

    fn secret(name: &str) -> String {
        let key = SecretKey::from_bytes([7; 32]).to_text().expose().to_owned();
        if matches!(name, "HOP_KEY" | "STATE_KEY") { format!("k1:{key}") } else { key }
    }

    #[test]
    fn the_shipped_file_can_be_used_once_it_is_filled_in() {
        let shipped = include_str!("../edge.toml");
        let problems = EdgeConfig::build(shipped, "", &|name| Some(secret(name))).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        let config = EdgeConfig::build(&filled_in(), "", &|name| Some(secret(name))).unwrap();
        assert_eq!(config.audiences, ["example"]);
    }

    fn filled_in() -> String {
        include_str!("../edge.toml").replace(PLACEHOLDER, "")
    }

    #[test]
    fn overrides_win_and_all_problems_are_named() {
        let text = &filled_in();
        let over = "merchants = [\"m\"]\n[limits]\naccount_attempts = 9\n";
        let config = EdgeConfig::build(text, over, &|name| Some(secret(name))).unwrap();
        assert_eq!(config.limits.account.attempts, 9);
        assert_eq!(config.limits.account.window_s, 300);
        assert!(config.serves(&MerchantId::parse("m").unwrap()));
        assert!(!config.serves(&MerchantId::parse("n").unwrap()));

        let over = "merchants = []\nclient_address = \"x\"\nedge_id = \"a b\"\n[limits]\naccount_attempts = 0\n[jwks]\ncooldown_s = 0\n";
        let problems = EdgeConfig::build(text, over, &|_| None).unwrap_err();
        assert_eq!(problems.len(), 8, "{problems:?}");
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let text = &filled_in();
        assert!(
            EdgeConfig::build(text, "[limits]\nacount_attempts = 9\n", &|name| Some(secret(name))).is_err()
        );
    }
}
