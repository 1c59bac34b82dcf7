//! `margrave doctor`: what the configuration comes to, and whether what it needs is there. It changes nothing.

use super::{CommandError, Output, explain, open, without_password};
use crate::audit::{has_entries, head_is_signed};
use crate::clock::Clock;
use crate::config::Config;
use crate::edges::find_edges;
use crate::keys::{MasterKeys, ROOT_IS_GONE, check_keys, find_root, opening_key};
use crate::notify::Mailer;
use crate::outbound::{Fetcher, may_be_called};
use crate::storage::{Db, is_current};
use crate::telemetry;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and should not stay so.
    Warning,
    /// It does not work.
    Problem,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.0.push(Check { name, verdict: Verdict::Ok, found: found.into(), mend: None });
    }

    fn warn(&mut self, name: &'static str, found: impl Into<String>, mend: &'static str) {
        self.0.push(Check { name, verdict: Verdict::Warning, found: found.into(), mend: Some(mend) });
    }

    fn problem(&mut self, name: &'static str, found: impl Into<String>, mend: &'static str) {
        self.0.push(Check { name, verdict: Verdict::Problem, found: found.into(), mend: Some(mend) });
    }
}

/// How far the clocks of issuer and database may be apart, in milliseconds: what edges call an alarm.
const MAX_SKEW_MS: i64 = 5_000;

pub(super) async fn run(config: &Config, clock: &Clock, output: Output) -> Result<(), CommandError> {
    telemetry::start_for_a_command();
    let settings = effective(config);
    let mut checks = Checks::default();
    url(config, &mut checks);
    let key = master_key(config, &mut checks);
    // Opening would make it.
    let file = config.database_url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    let file = file.and_then(|path| path.split('?').next());
    let is_missing = file.is_some_and(|path| !std::path::Path::new(path).exists());
    match open_or_not(config, is_missing).await {
        Ok(db) => database(&db, key.as_ref(), clock, &mut checks).await,
        Err(error) => checks.problem(
            "database",
            error.to_string(),
            "start it, or set `database_url`; the user that margrave runs as must be able to reach it",
        ),
    }
    mail(config, &mut checks).await;
    let Checks(checks) = checks;
    let problems = checks.iter().filter(|check| check.verdict == Verdict::Problem).count();
    let mut lines: Vec<String> = settings
        .iter()
        .map(|(name, value)| match value {
            Value::Null => format!("  {name} is not set"),
            value => format!("  {name} = {value}"),
        })
        .collect();
    lines.insert(0, "settings".to_owned());
    lines.push("checks".to_owned());
    for Check { name, verdict, found, mend } in &checks {
        let mark = match verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
        };
        lines.push(format!("  {mark} {name}: {found}"));
        lines.extend(mend.iter().map(|mend| format!("          → {mend}")));
    }
    let settings: serde_json::Map<String, Value> = settings.into_iter().collect();
    output.print(&lines.join("\n"), &json!({ "ok": problems == 0, "settings": settings, "checks": checks }));
    match problems {
        0 => Ok(()),
        1 => Err(CommandError::Text("there is a problem; what mends it stands beside it".to_owned())),
        more => {
            Err(CommandError::Text(format!("there are {more} problems; what mends them stands beside them")))
        }
    }
}

async fn open_or_not(config: &Config, is_missing: bool) -> Result<Db, CommandError> {
    if is_missing {
        let text = "there is no such file: `margrave migrate` makes it";
        return Err(CommandError::Text(format!("{}: {text}", config.database_url)));
    }
    open(config).await
}

/// Every setting with its value, secrets masked.
fn effective(config: &Config) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    let Ok(Value::Object(whole)) = serde_json::to_value(config) else { return settings };
    for (name, value) in whole {
        match value {
            Value::Object(section) => {
                settings.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => settings.push((name, value)),
        }
    }
    for (name, value) in &mut settings {
        if matches!(name.as_str(), "database_url" | "mail.smtp_url")
            && let Some(url) = value.as_str()
        {
            *value = without_password(url).into();
        }
    }
    let key = if config.master_key_file.is_some() { "from its file" } else { "from MARGRAVE_MASTER_KEY" };
    settings.push(("master key".to_owned(), key.into()));
    settings
}

fn url(config: &Config, checks: &mut Checks) {
    let url = config.public_url.as_str();
    let is_local = url.starts_with("http://") && may_be_called(url);
    if url.starts_with("https://") {
        checks.ok("public_url", url);
    } else if is_local {
        checks.ok("public_url", format!("{url}, for this machine alone"));
    } else {
        checks.problem(
            "public_url",
            format!("{url} is not encrypted: passwords and tokens can be read on the way"),
            "put TLS before it and write https://",
        );
    }
    if config.direct && !is_local {
        checks.warn(
            "direct",
            "clients may come without an edge: no known devices, and behind a proxy one address for all",
            "set `direct = false` once an edge stands before it",
        );
    }
}

fn master_key(config: &Config, checks: &mut Checks) -> Option<MasterKeys> {
    let key = match config.master_keys() {
        Ok(key) => key,
        Err(error) => {
            checks.problem("master key", error.to_string(), "without it no signing key opens");
            return None;
        }
    };
    #[cfg(unix)]
    for path in [&config.master_key_file, &config.next_master_key_file].into_iter().flatten() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
        // Its group may be the user that margrave runs as.
        if mode & 0o027 != 0 {
            checks.problem(
                "master key",
                format!("{} is open to others (mode {:o})", path.display(), mode & 0o777),
                "chmod 640 it; who has read it can forge tokens with a copy of the database",
            );
            return Some(key);
        }
    }
    checks.ok("master key", "it can be read");
    Some(key)
}

const WRONG_KEY: &str = "use the master key that the database was made with; what is sealed opens with no other. Is there a backup with its key?";

/// While the master key is being changed: which of the two opens the database, and so what is to be done next.
async fn change_of_key(db: &Db, masters: &MasterKeys, checks: &mut Checks) {
    let Some(next) = &masters.next else { return };
    let opening = async { opening_key(&mut db.glance().await?, masters).await };
    match opening.await {
        Ok(key) if key.bytes() == next.bytes() => checks.warn(
            "master key change",
            "the next master key opens the database already",
            "name the next one as the present one at every issuer and for `margrave backup`, and take `next_master_key_file` away; the one of \
             before is kept with the backups that were made with it",
        ),
        Ok(_) => checks.warn(
            "master key change",
            "a next master key is named, and the present one still opens the database",
            "once every issuer names both: margrave keys rotate-master",
        ),
        // What does not open is told where the keys are looked at.
        Err(_) => {}
    }
}

async fn database(db: &Db, masters: Option<&MasterKeys>, clock: &Clock, checks: &mut Checks) {
    const STORAGE: &str = "the database's own log says more";
    match db.time().await {
        Ok(theirs) => {
            let apart_ms = theirs.since(clock.now()).abs();
            let kind = if matches!(db, Db::Sqlite { .. }) { "SQLite" } else { "PostgreSQL" };
            checks.ok("database", format!("{kind} answers"));
            if apart_ms > MAX_SKEW_MS {
                checks.problem(
                    "clock",
                    format!("this machine's and the database's are {} s apart", apart_ms / 1000),
                    "let both follow one time server (chrony, systemd-timesyncd)",
                );
            } else {
                checks.ok("clock", format!("{apart_ms} ms from the database's"));
            }
        }
        Err(error) => {
            checks.problem("database", error.to_string(), STORAGE);
            return;
        }
    }
    match is_current(db).await {
        Ok(true) => checks.ok("schema", "up to date"),
        Ok(false) => {
            checks.problem("schema", "migrations are missing", "margrave migrate");
            return;
        }
        Err(error) => {
            checks.problem("schema", error.to_string(), STORAGE);
            return;
        }
    }
    if let Some(masters) = masters {
        change_of_key(db, masters, checks).await;
        keys(db, masters, checks).await;
    }
    edges(db, checks).await;
}

/// Whether the mail server answers, and lets us in. Nothing is sent.
async fn mail(config: &Config, checks: &mut Checks) {
    let mailer = match Mailer::new(&config.mail) {
        Ok(Some(mailer)) => mailer,
        Ok(None) => {
            let text = "none is sent: nobody is told so of the break-glass";
            return checks.warn("mail", text, "set `mail.smtp_url`, `mail.from` and `mail.operators`");
        }
        Err(error) => return checks.problem("mail", explain(&error), "correct the section `[mail]`"),
    };
    match mailer.check().await {
        Ok(()) if mailer.operators().is_empty() => checks.warn(
            "mail",
            "the server answers, and nobody is told of the break-glass",
            "set `mail.operators`",
        ),
        Ok(()) => checks.ok("mail", "the server answers"),
        Err(error) => checks.problem(
            "mail",
            error.to_string(),
            "see to its name, port, user and password in `mail.smtp_url`; `margrave mail test ADDRESS` tries it",
        ),
    }
}

/// Whether the keys open, and the audit's head is signed with one of them.
async fn keys(db: &Db, masters: &MasterKeys, checks: &mut Checks) {
    const STORAGE: &str = "the database's own log says more";
    let root = match find_root(db, masters).await {
        Ok(Some(root)) => Some(root),
        Ok(None) => {
            let is_used = async { has_entries(&mut db.glance().await?).await };
            match is_used.await {
                Ok(false) => {
                    checks.ok("keys", "there are none yet: the first start makes them, and begins the audit");
                }
                Ok(true) => checks.problem("keys", ROOT_IS_GONE, "margrave restore, into a new database"),
                Err(error) => checks.problem("keys", error.to_string(), STORAGE),
            }
            return;
        }
        // The checks below say what does not open.
        Err(_) => None,
    };
    let key = root.unwrap_or_else(|| masters.current.clone());
    match check_keys(db, &key).await {
        Ok(Some(kid)) => checks.ok("signing keys", format!("{kid} signs, and opens")),
        Ok(None) => {
            checks.warn("signing keys", "there are none yet", "the first `margrave serve` makes them");
        }
        Err(error) => checks.problem("signing keys", explain(&error), WRONG_KEY),
    }
    match head_is_signed(db, &key).await {
        Ok(true) => checks.ok("audit", "its head is signed with this master key"),
        Ok(false) => checks.problem(
            "audit",
            "it has no head that is signed with this master key",
            "margrave audit verify",
        ),
        Err(error) => checks.problem("audit", error.to_string(), STORAGE),
    }
}

/// Whether each edge that takes pushes can be reached: it refuses what is no batch, and that is an answer.
async fn edges(db: &Db, checks: &mut Checks) {
    let found = match db.glance().await {
        Ok(mut tx) => find_edges(&mut tx).await,
        Err(error) => Err(error),
    };
    let (edges, fetcher) = match (found, Fetcher::new()) {
        (Ok(edges), Ok(fetcher)) => (edges, fetcher),
        (Err(error), _) => {
            return checks.problem("edges", error.to_string(), "the database's own log says more");
        }
        (_, Err(error)) => return checks.problem("edges", error.to_string(), "install `ca-certificates`"),
    };
    if edges.is_empty() {
        checks.warn("edges", "none is registered", "margrave edges add NAME --public-key …");
    }
    for edge in edges {
        let Some(url) = &edge.push_url else {
            checks.warn(
                "edge",
                format!("{} takes no pushes: it hears of endings when it asks", edge.name),
                "margrave edges set-push ID URL",
            );
            continue;
        };
        let asked = fetcher.post(url, "application/secevent+jwt", String::new());
        match tokio::time::timeout(Duration::from_secs(4), asked).await {
            Ok(Ok(answer)) if answer.status == 400 => checks.ok("edge", format!("{} answers", edge.name)),
            Ok(Ok(answer)) => checks.problem(
                "edge",
                format!("{} answers {}, which is no edge's word", edge.name, answer.status),
                "its push URL ends in /.margrave/events: `margrave edges set-push ID URL`",
            ),
            Ok(Err(error)) => checks.problem(
                "edge",
                format!("{}: {error}", edge.name),
                "start it, or correct its push URL; endings reach it late meanwhile",
            ),
            Err(_) => checks.problem(
                "edge",
                format!("{} does not answer", edge.name),
                "start it, or let traffic through",
            ),
        }
    }
}
