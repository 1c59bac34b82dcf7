//! B11: what an operator's years cost. The same calls on a small database and on one a thousand times its size.

use super::centre::{Prepared, Running, answer, text};
use super::report::{Report, Row};
use super::{Options, Plan};
use crate::postgres::Server;
use crate::progress::step;
use crate::tools::run;
use crate::{Outcome, up};
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;

/// Accounts and refresh tokens of the two.
const SMALL: Size = Size { accounts: 1_000, tokens: 5_000 };
const LARGE: Size = Size { accounts: 1_000_000, tokens: 5_000_000 };

/// How many logins each has for every second of a round, and how often what each of them opened is refreshed and introspected.
const LOGINS: usize = 8;
const CALLS: usize = 10;

/// How much there is.
#[derive(Debug, Clone, Copy)]
struct Size {
    accounts: usize,
    tokens: usize,
}

/// Where rows are put.
#[derive(Debug)]
pub(super) enum Place {
    /// Into a SQLite file.
    Sqlite(PathBuf),
    /// Into a PostgreSQL database, by its URL.
    Postgres(String),
}

impl Place {
    /// Gives a database as many accounts and refresh tokens more, five of a session; the accounts are like that of the demo.
    async fn fill(&self, size: Size) -> Outcome<()> {
        let (series, bytes) = match self {
            Self::Sqlite(_) => ("value AS i FROM generate_series", "randomblob(32)"),
            Self::Postgres(_) => ("i FROM generate_series", "sha256(('token ' || i)::bytea)"),
        };
        let Size { accounts, tokens } = size;
        let of = |count: usize| match self {
            Self::Sqlite(_) => format!("(SELECT {series}(1, {count}))"),
            Self::Postgres(_) => format!("(SELECT {series}(1, {count}) AS i)"),
        };
        let (accounts_of, sessions_of, tokens_of) = (of(accounts), of(tokens / 5), of(tokens));
        let demo = "(SELECT * FROM accounts ORDER BY created_at LIMIT 1)";
        // In five years, so that nothing of it is swept while it is measured.
        let then = "9000000000000";
        let script = format!(
            "BEGIN;
            INSERT INTO x_addresses (address, kind, account_id, created_at)
                SELECT 'x:grown' || i, 'personal', 'grown' || i, 1 FROM {accounts_of} n;
            INSERT INTO accounts (id, merchant_id, username, username_key, x_address, generation, failures, created_at)
                SELECT 'grown' || i, merchant_id, 'grown' || i, 'grown' || i, 'x:grown' || i, 0, 0, created_at
                FROM {demo} d, {accounts_of} n;
            INSERT INTO passwords (account_id, hash, changed_at)
                SELECT 'grown' || i, p.hash, p.changed_at
                FROM passwords p JOIN {demo} d ON d.id = p.account_id, {accounts_of} n;
            INSERT INTO sessions (sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
                auth_time_s, amr, forget_at)
                SELECT 'grown' || i, merchant_id, 'grown' || (i % {accounts} + 1), 0, 'grown', created_at, created_at, 900,
                {then} / 1000, created_at / 1000, 'pwd', {then} FROM {demo} d, {sessions_of} n;
            INSERT INTO refresh_tokens (hash, family, sid, client_id, audience, scope, created_at, expires_at)
                SELECT {bytes}, 'grown' || (i % {sessions} + 1), 'grown' || (i % {sessions} + 1), 'grown', 'grown', 'read', 1,
                {then} FROM {tokens_of} n;
            COMMIT;",
            sessions = tokens / 5,
        );
        match self {
            Self::Sqlite(file) => {
                run(Command::new("sqlite3").arg("-bail").arg(file).arg(script), "sqlite3").await
            }
            Self::Postgres(url) => {
                // As autovacuum does by and by.
                let script = format!("{script} ANALYZE;");
                run(
                    Command::new("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", &script]),
                    "psql",
                )
                .await
            }
        }
    }
}

/// How long calls of three kinds took, in milliseconds.
#[derive(Debug, Default)]
struct Took {
    logins: Vec<f64>,
    refreshes: Vec<f64>,
    introspections: Vec<f64>,
}

/// Measures B11 on both databases.
pub(super) async fn measure(options: &Options, plan: &Plan<'_>, report: &mut Report) -> Outcome<()> {
    up::build_issuer(true).await?;
    for name in ["SQLite", "PostgreSQL"] {
        step(&format!("starting two issuers on {name}"));
        let server = if name == "SQLite" { None } else { Some(Server::start().await?) };
        let mut issuers = Vec::new();
        for (which, size) in [("small", SMALL), ("large", LARGE)] {
            let database = format!("{name}-{which}").to_lowercase();
            let url = match &server {
                Some(server) => Some(server.create(&database.replace('-', "_")).await?),
                None => None,
            };
            let prepared = Prepared::make(&plan.folder, &database, url.as_deref()).await?;
            step(&format!("{} accounts and {} refresh tokens on {name}", size.accounts, size.tokens));
            let place = url.map_or_else(|| Place::Sqlite(prepared.file()), Place::Postgres);
            place.fill(size).await?;
            issuers.push((prepared.start().await?, size.accounts, Took::default()));
        }
        step(&format!("logging in, refreshing and introspecting on {name}, in turn"));
        let count = options.rounds * usize::try_from(options.seconds).unwrap_or(1) * LOGINS;
        let client = reqwest::Client::new();
        for turn in 0..=count {
            for (running, accounts, took) in &mut issuers {
                // All over the table, and everywhere else than the time before.
                let account = turn * 7_919 % *accounts + 1;
                let mut unmeasured = Took::default();
                // The first ones open connections.
                let took = if turn == 0 { &mut unmeasured } else { took };
                one_person(running, &client, &format!("grown{account}"), took).await?;
            }
        }
        if let [(_, _, of_small), (_, _, of_large)] = issuers.as_mut_slice() {
            for (what, small, large) in [
                ("login", &mut of_small.logins, &mut of_large.logins),
                ("refresh", &mut of_small.refreshes, &mut of_large.refreshes),
                ("introspection", &mut of_small.introspections, &mut of_large.introspections),
            ] {
                let what = format!(
                    "{what} on {name}, p99 with {} accounts and {} refresh tokens ÷ with {} and {}",
                    LARGE.accounts, LARGE.tokens, SMALL.accounts, SMALL.tokens
                );
                report.add(Row::growth("B11", &what, 1.3, p99(small), p99(large)));
            }
        }
        for (running, ..) in issuers {
            running.stop().await;
        }
        drop(server);
    }
    Ok(())
}

/// Logs somebody in, refreshes and introspects.
async fn one_person(
    running: &Running,
    client: &reqwest::Client,
    username: &str,
    took: &mut Took,
) -> Outcome<()> {
    let (login, opened) = timed(running.log_in(client, username)).await;
    took.logins.push(login);
    let mut refresh = text(&opened?, "refresh_token")?;
    for _ in 0..CALLS {
        let (milliseconds, refreshed) = timed(answer(running.refresh(client, &refresh))).await;
        took.refreshes.push(milliseconds);
        let refreshed = refreshed?;
        refresh = text(&refreshed, "refresh_token")?;
        let access = text(&refreshed, "access_token")?;
        let (milliseconds, told) = timed(answer(running.introspect(client, &access))).await;
        took.introspections.push(milliseconds);
        if told?.get("active") != Some(&true.into()) {
            return Err("a token just had is not active".to_owned());
        }
    }
    Ok(())
}

async fn timed<T>(call: impl Future<Output = T>) -> (f64, T) {
    #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
    let began = std::time::Instant::now();
    let done = call.await;
    (milliseconds(began.elapsed()), done)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn p99(took: &mut [f64]) -> f64 {
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}
