//! The issuer's configuration: one TOML file, then the environment over it. Unknown names are refused and all
//! problems are reported at once.
//!
//! `MARGRAVE_<KEY>` and `MARGRAVE_<SECTION>__<KEY>` override the file, for example `MARGRAVE_DATABASE_URL` and
//! `MARGRAVE_SESSION__IDLE_S`. The master key comes from a file or from `MARGRAVE_MASTER_KEY`, never from the
//! configuration itself.

mod keys;
mod mail;
mod password;
mod reset;
mod session;
mod token;

pub(crate) use keys::KeysConfig;
pub(crate) use mail::MailConfig;
pub(crate) use password::PasswordConfig;
pub(crate) use reset::ResetConfig;
pub(crate) use session::SessionConfig;
pub(crate) use token::TokenConfig;

use crate::keys::MasterKeys;
use crate::outbound::may_be_called;
use margrave_shared::limiter::limits::LimitSettings;
use margrave_shared::secret::SecretKey;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything an operator may set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Where to listen. Default `127.0.0.1:8080`.
    pub(crate) listen: SocketAddr,
    /// Where to listen for the administration (`/admin/v1`), which is then served nowhere else. Default none: where everything is
    /// served.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Where `/metrics` is served, in Prometheus' text format and to whoever asks there. Default none: nothing is counted.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Where traces are sent by OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`: `https://`, or this machine. Default none.
    pub(crate) otlp_endpoint: Option<String>,
    /// Of how many of all traces, 0 to 1. Default 1.
    pub(crate) otlp_ratio: f64,
    /// The issuer's name: `iss` of every token and the base of all metadata. Required.
    pub(crate) public_url: String,
    /// `sqlite:<path>` or `postgres://…`. Default `sqlite:margrave.db`.
    pub(crate) database_url: String,
    /// How many connections to the database. Default 10.
    pub(crate) database_connections: u32,
    /// Serve login, code and token routes to clients that do not come through an edge. Default `false`.
    pub(crate) direct: bool,
    /// The file that holds the master key. Default none: then `MARGRAVE_MASTER_KEY` must be set.
    pub(crate) master_key_file: Option<PathBuf>,
    /// The file that holds the master key that is to follow, while it is being changed; or `MARGRAVE_NEXT_MASTER_KEY`. Default none.
    pub(crate) next_master_key_file: Option<PathBuf>,
    /// Signing keys.
    pub(crate) keys: KeysConfig,
    /// Tokens.
    pub(crate) token: TokenConfig,
    /// Sessions.
    pub(crate) session: SessionConfig,
    /// Passwords.
    pub(crate) password: PasswordConfig,
    /// Mail.
    pub(crate) mail: MailConfig,
    /// Resets of accounts.
    pub(crate) reset: ResetConfig,
    /// How many attempts clients have that come without an edge.
    pub(crate) limits: LimitSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            metrics_listen: None,
            otlp_endpoint: None,
            otlp_ratio: 1.0,
            public_url: String::new(),
            database_url: "sqlite:margrave.db".to_owned(),
            database_connections: 10,
            direct: false,
            master_key_file: None,
            next_master_key_file: None,
            keys: KeysConfig::default(),
            token: TokenConfig::default(),
            session: SessionConfig::default(),
            password: PasswordConfig::default(),
            mail: MailConfig::default(),
            reset: ResetConfig::default(),
            limits: LimitSettings::default(),
        }
    }
}

/// What is wrong with the configuration, all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  - {}", .0.join("\n  - "))]
pub(crate) struct BadConfig(pub(crate) Vec<String>);

impl Config {
    /// Reads the file (if one is named) and the environment.
    ///
    /// # Errors
    /// [`BadConfig`] with every problem found.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, BadConfig> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| BadConfig(vec![format!("{} cannot be read: {error}", path.display())]))?,
        };
        Self::read(&text, environment).map_err(|mut bad| {
            if file.is_none() {
                bad.0.push("no file was read: `--config FILE` or MARGRAVE_CONFIG names one".to_owned());
            }
            bad
        })
    }

    fn read(text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Self, BadConfig> {
        let mut table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| BadConfig(vec![error.to_string()]))?;
        let mut problems = Vec::new();
        for (name, value) in environment {
            if let Some(path) = setting_of(&name) {
                set(&mut table, &path, &value, &mut problems);
            }
        }
        let read = serde_ignored::deserialize(toml::Value::Table(table), |path| {
            problems.push(format!("`{path}` is not a setting"));
        });
        let config: Self = match read {
            Ok(config) => config,
            Err(error) => {
                problems.push(in_words(&error));
                return Err(BadConfig(problems));
            }
        };
        config.validate(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(BadConfig(problems)) }
    }

    fn validate(&self, problems: &mut Vec<String>) {
        let url = self.public_url.as_str();
        if url.is_empty() {
            problems
                .push("`public_url` is required, for example \"https://login.example.org/auth\"".to_owned());
        } else if !(url.starts_with("https://") || url.starts_with("http://")) || url.ends_with('/') {
            problems
                .push(format!("`public_url` is an http(s) URL without a slash at its end, not \"{url}\""));
        }
        if !self.database_url.starts_with("sqlite:") && !self.database_url.starts_with("postgres") {
            problems.push("`database_url` begins with `sqlite:` or `postgres://`".to_owned());
        }
        let listens = [
            ("listen", Some(self.listen)),
            ("admin_listen", self.admin_listen),
            ("metrics_listen", self.metrics_listen),
        ];
        for (at, (name, address)) in listens.iter().enumerate() {
            let before = listens.iter().take(at).find(|(_, other)| address.is_some() && other == address);
            if let Some((other, _)) = before {
                problems.push(format!("`{name}` is another address than `{other}`"));
            }
        }
        if self.otlp_endpoint.as_deref().is_some_and(|url| !may_be_called(url)) {
            problems.push(
                "`otlp_endpoint` begins with https://, or with http:// and this machine's own address"
                    .to_owned(),
            );
        }
        if !(0.0..=1.0).contains(&self.otlp_ratio) {
            problems.push("`otlp_ratio` is 0 to 1".to_owned());
        }
        if self.database_connections == 0 {
            problems.push("`database_connections` is at least 1".to_owned());
        }
        self.keys.validate(problems);
        self.token.validate(problems);
        self.session.validate(problems);
        self.password.validate(problems);
        self.mail.validate(problems);
        self.reset.validate(problems);
        let _ = self.limits.limits(problems);
    }

    /// The master keys, from their files or from the environment.
    ///
    /// # Errors
    /// [`BadConfig`] that says how to make one.
    pub(crate) fn master_keys(&self) -> Result<MasterKeys, BadConfig> {
        let current = key_of(self.master_key_file.as_deref(), "MARGRAVE_MASTER_KEY")?.ok_or_else(|| {
            BadConfig(vec![
                "there is no master key: set `master_key_file` or MARGRAVE_MASTER_KEY. Make one with \
                 `margrave keys master > FILE` and keep it apart from the database"
                    .to_owned(),
            ])
        })?;
        let next = key_of(self.next_master_key_file.as_deref(), "MARGRAVE_NEXT_MASTER_KEY")?;
        if next.as_ref().is_some_and(|next| next.bytes() == current.bytes()) {
            return Err(BadConfig(vec!["the next master key is the present one: where the change is done take `next_master_key_file` (MARGRAVE_NEXT_MASTER_KEY) \
                 away; where it is to begin, make another with `margrave keys master`"
                    .to_owned()]));
        }
        Ok(MasterKeys { current, next })
    }
}

fn key_of(file: Option<&Path>, variable: &str) -> Result<Option<SecretKey>, BadConfig> {
    let refuse = |problem: String| BadConfig(vec![problem]);
    let text = match (file, std::env::var(variable)) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(|error| {
            refuse(format!(
                "the master key file {} cannot be read: {error}. Make one with `margrave keys master > FILE`",
                path.display()
            ))
        })?,
        (None, Ok(text)) => text,
        (None, Err(_)) => return Ok(None),
    };
    let key = SecretKey::parse(&text);
    key.map(Some).map_err(|error| refuse(format!("the master key cannot be read: {error}")))
}

/// A value of the wrong kind, said without the names of Rust's types.
fn in_words(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let (what, place) = text.trim().split_once("\nin ").unwrap_or((text.trim(), "the configuration"));
    let (given, expected) = what.split_once(", expected ").unwrap_or((what, ""));
    let given = given.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    let expected = match expected {
        "" => return format!("{place}: {given}"),
        "i64" => "a whole number",
        kind if kind.starts_with(['u', 'i']) && kind[1..].parse::<u8>().is_ok() => {
            "a whole number of zero or more"
        }
        kind if kind.starts_with("struct ") => "a section of settings",
        other => other,
    };
    format!("{place}: {given} was given, {expected} is expected")
}

/// Variables that are no settings of the file.
const NOT_SETTINGS: [&str; 4] =
    ["MARGRAVE_MASTER_KEY", "MARGRAVE_NEXT_MASTER_KEY", "MARGRAVE_LOG", "MARGRAVE_CONFIG"];

fn setting_of(name: &str) -> Option<Vec<String>> {
    if NOT_SETTINGS.contains(&name) {
        return None;
    }
    let path = name.strip_prefix("MARGRAVE_")?;
    Some(path.split("__").map(str::to_ascii_lowercase).collect())
}

fn set(table: &mut toml::Table, path: &[String], text: &str, problems: &mut Vec<String>) {
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    match path {
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, key] => {
            let entry =
                table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match entry.as_table_mut() {
                Some(inner) => {
                    inner.insert(key.clone(), value);
                }
                None => problems.push(format!("`{section}` is not a section")),
            }
        }
        _ => problems.push(format!("MARGRAVE_{} is not a setting", path.join("__").to_uppercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Config::read(text, environment).map_err(|error| error.0)
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = read(
            "public_url = \"https://a\"\n[session]\nidle_s = 5\n",
            &[("MARGRAVE_SESSION__IDLE_S", "7"), ("MARGRAVE_DATABASE_URL", "sqlite:x.db"), ("PATH", "/bin")],
        )
        .unwrap();
        assert_eq!((config.session.idle_s, config.database_url.as_str()), (7, "sqlite:x.db"));
        assert_eq!(config.session.absolute_s, 12 * 3600);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let problems = read(
            "colour = 1\ndatabase_url = \"mysql:x\"\n[session]\nidle_seconds = 5\nidle_s = -1\n[keys]\npublish_ahead_s = 10\n",
            &[("MARGRAVE_NOPE", "1")],
        )
        .unwrap_err();
        let expected = [
            "`colour` is not",
            "`session.idle_seconds` is not",
            "`nope` is not",
            "`public_url` is required",
            "`database_url`",
            "`session.idle_s`",
            "`keys.publish_ahead_s`",
        ];
        for text in expected {
            assert!(problems.iter().any(|p| p.contains(text)), "{text} in {problems:?}");
        }
        assert_eq!(problems.len(), expected.len());
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_said_in_plain_words() {
        for (name, value, problem) in [
            (
                "SESSION__IDLE_S",
                "abc",
                "`session.idle_s`: string \"abc\" was given, a whole number is expected",
            ),
            ("SESSION", "5", "`session`: integer `5` was given, a section of settings is expected"),
            (
                "DATABASE_CONNECTIONS",
                "-3",
                "`database_connections`: integer `-3` was given, a whole number of zero or more is expected",
            ),
            ("LISTEN", "foo", "`listen`: invalid socket address syntax"),
            ("DIRECT", "maybe", "`direct`: string \"maybe\" was given, a boolean is expected"),
        ] {
            let read = read("public_url = \"https://a\"", &[(&format!("MARGRAVE_{name}"), value)]);
            assert_eq!(read.unwrap_err(), [problem]);
        }
    }

    #[test]
    fn the_weakest_permitted_hash_is_owasps_floor() {
        for (setting, accepted) in [
            ("memory_kib = 19456", true),
            ("memory_kib = 12288\niterations = 3", true),
            ("memory_kib = 47104\niterations = 1", true),
            ("memory_kib = 19455", false),
            ("memory_kib = 12288\niterations = 2", false),
            ("memory_kib = 46000\niterations = 1", false),
        ] {
            let result = read(&format!("public_url = \"https://a\"\n[password]\n{setting}\n"), &[]);
            assert_eq!(result.is_ok(), accepted, "{setting}");
        }
    }
}
