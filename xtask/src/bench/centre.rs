//! B7, B8, B9: what the issuer does in a second, on both databases.

use super::load::{Expect, Post, post};
use super::report::{Report, Row, median};
use super::{Options, Plan};
use crate::demo::Demo;
use crate::issuer::Issuer;
use crate::postgres::Server;
use crate::processes::Process;
use crate::progress::step;
use crate::secrets::Secrets;
use crate::tools::{Tools, run as run_tool};
use crate::{Outcome, ports, up};
use argon2::{Algorithm, Argon2, Params, Version};
use margrave_shared::base64;
use margrave_shared::header::PROPAGATED;
use margrave_shared::wire::token::FACTORS_GRANT;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The pinned version of the peer.
pub(super) const OIDC_PROVIDER: &str = "9.13.3";

/// Families of refresh tokens that rotate at once.
const FAMILIES: usize = 96;

/// A database with the demo in it.
pub(super) struct Prepared {
    state: PathBuf,
    issuer: Issuer,
    demo: Demo,
    secrets: Secrets,
}

/// An issuer on it.
pub(super) struct Running {
    process: Process,
    issuer: Issuer,
    demo: Demo,
    secrets: Secrets,
}

impl Prepared {
    pub(super) async fn make(folder: &Path, name: &str, postgres: Option<&str>) -> Outcome<Self> {
        let state = folder.join(name);
        std::fs::create_dir_all(&state).map_err(|error| format!("{}: {error}", state.display()))?;
        let secrets = Secrets::new()?;
        let port = ports::choose("issuer", None, None)?;
        // Ninety-six logins in a row from one address are not what is measured.
        // All of the load comes from one address, and that of a kind from one key or login.
        let settings = [
            ("PASSWORD__QUEUE", "1000"),
            ("LIMITS__ACCOUNT_ATTEMPTS", "1000000"),
            ("LIMITS__ADDRESS_ATTEMPTS", "1000000"),
            ("LIMITS__EXCHANGE_ATTEMPTS", "1000000"),
        ];
        let settings = settings.map(|(name, value)| (format!("MARGRAVE_{name}"), value.to_owned()));
        let issuer = Issuer::new("server", &state, port, postgres, &secrets, &settings)?;
        let demo = Demo::ensure(&state, &issuer, &secrets, postgres.is_some()).await?;
        Ok(Self { state, issuer, demo, secrets })
    }

    /// Where the database is, if it is a file.
    pub(super) fn file(&self) -> PathBuf {
        self.state.join("issuer.db")
    }

    pub(super) async fn start(self) -> Outcome<Running> {
        let Self { issuer, demo, secrets, .. } = self;
        Ok(Running { process: issuer.start().await?, issuer, demo, secrets })
    }
}

impl Running {
    pub(super) async fn start(folder: &Path, name: &str, postgres: Option<&str>) -> Outcome<Self> {
        Prepared::make(folder, name, postgres).await?.start().await
    }

    pub(super) async fn stop(self) {
        self.process.stop().await;
    }

    pub(super) fn url(&self) -> &str {
        self.issuer.url()
    }

    pub(super) fn edge_id(&self) -> &str {
        &self.demo.edge_id
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Lets the edge's pushes go somewhere.
    pub(super) async fn push_to(&self, url: &str) -> Outcome<()> {
        self.issuer.ask(&["edges", "set-push", &self.demo.edge_id, url], None).await.map(|_| ())
    }

    /// A token of the demo's key.
    pub(super) async fn token_of_a_key(&self, client: &reqwest::Client) -> Outcome<String> {
        let Post { url, authorization, media_type, body } = self.tokens_of_a_key();
        let request = client.post(url).header("authorization", authorization);
        text(&answer(request.header("content-type", media_type).body(body)).await?, "access_token")
    }

    /// Revokes a token; gives whether the answer says that every edge knows.
    pub(super) async fn revoke(&self, client: &reqwest::Client, token: &str) -> Outcome<bool> {
        let Post { authorization, media_type, .. } = self.tokens_of_a_key();
        let request =
            client.post(format!("{}/oauth/revoke", self.url())).header("authorization", authorization);
        let request = request.header("content-type", media_type).body(format!("token={token}"));
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let propagated = answer.headers().get(PROPAGATED).map(|value| value == "true");
        match (answer.status().as_u16(), propagated) {
            (200, Some(propagated)) => Ok(propagated),
            (status, _) => Err(format!("a revocation is answered with {status}")),
        }
    }

    fn tokens_of_a_key(&self) -> Post {
        Post {
            url: format!("{}/oauth/token", self.issuer.url()),
            authorization: basic(&self.demo.key_id, &self.demo.key_secret),
            media_type: "application/x-www-form-urlencoded",
            body: "grant_type=client_credentials".to_owned(),
        }
    }

    fn login(&self, username: &str) -> Post {
        let Demo { password, merchant_id, .. } = &self.demo;
        Post {
            url: format!("{}/v1/factors/credentials", self.issuer.url()),
            authorization: String::new(),
            media_type: "application/json",
            body: json!({ "login": username, "password": password, "merchant_id": merchant_id }).to_string(),
        }
    }

    /// Refresh tokens of as many sessions.
    async fn sessions(&self, count: usize) -> Outcome<Vec<String>> {
        let client = reqwest::Client::new();
        let mut refresh = Vec::new();
        for _ in 0..count {
            refresh.push(text(&self.log_in(&client, &self.demo.username).await?, "refresh_token")?);
        }
        Ok(refresh)
    }

    /// A whole login with the demo's password.
    pub(super) async fn log_in(&self, client: &reqwest::Client, username: &str) -> Outcome<Value> {
        let login = self.login(username);
        let request = client.post(&login.url).header("content-type", login.media_type).body(login.body);
        let security_token = text(&answer(request).await?, "security_token")?;
        answer(self.form(
            client,
            "/oauth/token",
            format!(
                "grant_type={FACTORS_GRANT}&client_id={}&security_tokens={security_token}",
                self.demo.client_id
            ),
        ))
        .await
    }

    /// A rotation.
    pub(super) fn refresh(&self, client: &reqwest::Client, token: &str) -> reqwest::RequestBuilder {
        let form =
            format!("grant_type=refresh_token&client_id={}&refresh_token={token}", self.demo.client_id);
        self.form(client, "/oauth/token", form)
    }

    /// What a token is, for the demo's key.
    pub(super) fn introspect(&self, client: &reqwest::Client, token: &str) -> reqwest::RequestBuilder {
        let Post { authorization, .. } = self.tokens_of_a_key();
        self.form(client, "/oauth/introspect", format!("token={token}"))
            .header("authorization", authorization)
    }

    fn form(&self, client: &reqwest::Client, path: &str, form: String) -> reqwest::RequestBuilder {
        let request = client.post(format!("{}{path}", self.issuer.url()));
        request.header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

pub(super) async fn answer(request: reqwest::RequestBuilder) -> Outcome<Value> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let body = response.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&body).map_err(|error| format!("{body}: {error}"))
}

pub(super) fn text(value: &Value, name: &str) -> Outcome<String> {
    value
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("no `{name}` in {value}"))
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", base64::encode_standard(format!("{id}:{secret}").as_bytes()))
}

/// Measures what is wanted of B7, B8 and B9.
pub(super) async fn measure(
    options: &Options,
    tools: &Tools,
    folder: &Path,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    up::build_issuer(true).await?;
    step("starting a PostgreSQL");
    let server = Server::start().await?;
    let databases = [("SQLite", None), ("PostgreSQL", Some(server.url.as_str()))];
    let mut issuers = Vec::new();
    for (name, url) in databases {
        issuers.push((name, Running::start(&plan.folder, &format!("issuer-{name}"), url).await?));
    }
    if options.wants("B7") {
        let (peer, target) = start_oidc_provider(tools, folder).await?;
        let mut ours = vec![Vec::new(); issuers.len()];
        let mut theirs = Vec::new();
        for round in 0..=options.rounds {
            let seconds = if round == 0 { 8 } else { options.seconds };
            let figure = post(&target, seconds, &plan.folder).await?;
            step(&format!("oidc-provider: {:.0}/s", figure.per_second));
            if round > 0 {
                theirs.push(figure);
            }
            for ((name, running), figures) in issuers.iter().zip(&mut ours) {
                let figure = post(&running.tokens_of_a_key(), seconds, &plan.folder).await?;
                step(&format!("issuer on {name}: {:.0}/s", figure.per_second));
                if round > 0 {
                    figures.push(figure);
                }
            }
        }
        peer.stop().await;
        for ((name, _), figures) in issuers.iter().zip(&ours) {
            let what = format!("client_credentials on {name}, audited ÷ oidc-provider in memory");
            report.add(Row::ratio("B7", &what, 2.5, figures, &theirs));
        }
    }
    for (name, running) in &issuers {
        if options.wants("B8") {
            step(&format!("logging in {FAMILIES} sessions on {name}"));
            let tokens = plan.write("refresh", &running.sessions(FAMILIES).await?)?;
            let url = format!("{}/oauth/token", running.issuer.url());
            let seconds = options.seconds * 2;
            let figure =
                super::load::refresh(&url, &running.demo.client_id, &tokens, seconds, &plan.folder).await?;
            let must = if *name == "SQLite" { 1500.0 } else { 800.0 };
            report.add(Row::rate("B8", &format!("refresh rotations/s on {name}"), must, &figure));
        }
        if options.wants("B9") {
            let keys = format!("{}/.well-known/jwks.json", running.issuer.url());
            let login = running.login(&running.demo.username);
            let (mut ratios, mut possible, mut slowest) = (Vec::new(), Vec::new(), 0.0_f64);
            for round in 0..=options.rounds {
                let hashes = hashes_per_second(options.seconds).await;
                let (logins, keys) = tokio::join!(
                    super::load::post_over(8, &login, options.seconds, Expect::Passed, &plan.folder),
                    super::load::p99_of_a_few(&keys, options.seconds)
                );
                let (logins, keys) = (logins?.per_second, keys?);
                step(&format!("{hashes:.1} hashes/s on every core, {logins:.1} logins/s on {name}"));
                if round > 0 {
                    ratios.push(logins / hashes);
                    possible.push(hashes);
                    slowest = slowest.max(keys);
                }
            }
            let (ratio, possible, keys) = (median(&ratios), median(&possible), slowest);
            let what = format!("password logins/s on {name} ÷ hashes/s of the cores ({possible:.1})");
            report.add(Row::least("B9", &what, 0.9, ratio));
            let what = format!("JWKS p99 meanwhile on {name}, ms");
            report.add(Row::most("B9", &what, 25.0, keys));
        }
    }
    for (_, running) in issuers {
        running.stop().await;
    }
    drop(server);
    Ok(())
}

async fn start_oidc_provider(tools: &Tools, folder: &Path) -> Outcome<(Process, Post)> {
    let home = folder.join("oidc-provider");
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    if !home.join("node_modules/oidc-provider").exists() {
        step("installing oidc-provider");
        let manifest = format!(r#"{{"private":true,"dependencies":{{"oidc-provider":"{OIDC_PROVIDER}"}}}}"#);
        std::fs::write(home.join("package.json"), manifest).map_err(|error| error.to_string())?;
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&home);
        run_tool(&mut command, "npm install").await?;
    }
    let script = home.join("server.mjs");
    std::fs::write(&script, include_str!("peers/oidc_provider.mjs")).map_err(|error| error.to_string())?;
    let port = ports::choose("oidc-provider", None, None)?;
    let url = format!("http://127.0.0.1:{port}");
    let log = home.join("server.log");
    // The version that the lock file brings, where it brings one.
    let node = Some(tools.npm_bin("node")).filter(|path| path.exists()).unwrap_or_else(|| "node".into());
    let mut command = Command::new(node);
    command.arg(&script).arg(port.to_string()).env("NODE_ENV", "production").current_dir(&home);
    let mut process = Process::start("oidc-provider", &mut command, &log)?;
    process.wait_for(&format!("{url}/.well-known/openid-configuration"), &log).await?;
    let target = Post {
        url: format!("{url}/token"),
        authorization: basic("bench", "bench-secret-bench-secret-bench-secret"),
        media_type: "application/x-www-form-urlencoded",
        body: "grant_type=client_credentials".to_owned(),
    };
    Ok((process, target))
}

/// What the cores can hash with the issuer's parameters, all of them at once.
async fn hashes_per_second(seconds: u64) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
    let began = std::time::Instant::now();
    let until = began + Duration::from_secs(seconds);
    let hash = move || {
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(19456, 2, 1, None).unwrap_or_default(),
        );
        let mut count = 0_u32;
        #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
        while std::time::Instant::now() < until {
            let mut out = [0; 32];
            let done = argon2.hash_password_into(b"a password of some length", &[7; 16], &mut out);
            count += u32::from(done.is_ok());
        }
        count
    };
    let threads: Vec<_> = (0..cores).map(|_| tokio::task::spawn_blocking(hash)).collect();
    let mut hashes = 0.0;
    for thread in threads {
        hashes += f64::from(thread.await.unwrap_or(0));
    }
    hashes / began.elapsed().as_secs_f64()
}
