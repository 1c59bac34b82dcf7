//! A running system, started by `cargo xtask up --json` or `cargo xtask edge --json`.

use crate::http::{Answer, basic, get, post_form, post_json};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The grant type of security tokens.
pub(crate) const FACTORS: &str = "urn:margrave:params:oauth:grant-type:factors";

/// A running system; dropped, it stops.
pub(crate) struct System {
    child: Child,
    state: PathBuf,
    facts: Value,
    /// How it was started, for a start with the same state.
    arguments: Vec<String>,
}

impl Drop for System {
    fn drop(&mut self) {
        // The commands stop their children when asked to; killing them would leave those behind.
        if let Some(id) = self.child.id() {
            let _ = std::process::Command::new("kill").arg("-TERM").arg(id.to_string()).status();
            for _ in 0..100 {
                if let Ok(Some(_)) = self.child.try_wait() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// An address where nobody listens. Below the ports of outgoing connections, which may take any of those at any time.
pub(crate) fn free_address() -> String {
    /// Two that are asked for before the first is listened on must not be the same.
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = 10_000 + std::process::id() % 10_000 + GIVEN.fetch_add(1, Ordering::Relaxed);
    let mut addresses = (first..20_000).map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| std::net::TcpListener::bind(address).is_ok()).expect("a free port")
}

/// The URL of a new PostgreSQL database: every system has its own.
pub(crate) fn new_database() -> String {
    let url = std::env::var("TEST_POSTGRES_URL").expect("run `cargo xtask test`");
    let (server, _) = url.rsplit_once('/').unwrap();
    let name = format!("blackbox{}", std::process::id());
    // Of template1 nobody can make one while somebody else looks into it.
    let make = format!("CREATE DATABASE {name} TEMPLATE template0");
    let made = std::process::Command::new("psql").args([&url, "-c", &make]).output().expect("psql");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    format!("{server}/{name}")
}

pub(crate) fn new_state() -> PathBuf {
    let mut path = std::env::temp_dir();
    let unique = format!("margrave-{}-{:?}", std::process::id(), std::thread::current().id());
    path.push(unique.replace(['(', ')'], ""));
    // One that was interrupted leaves its folder, and its id comes again.
    while path.exists() {
        path.as_mut_os_string().push("-");
    }
    path
}

async fn start(arguments: &[&str], state: PathBuf) -> System {
    let (child, facts) = spawn(arguments).await;
    System { child, state, facts, arguments: arguments.iter().map(|text| (*text).to_owned()).collect() }
}

async fn spawn(arguments: &[&str]) -> (Child, Value) {
    let xtask = std::env::var("MARGRAVE_XTASK").expect("MARGRAVE_XTASK is not set: run `cargo xtask test`");
    let mut child = Command::new(xtask)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("it ended before everything answered");
    (child, serde_json::from_str(&line).unwrap())
}

/// Starts a command that has to fail; gives what is said about it.
pub(crate) async fn refused_start(arguments: &[&str]) -> String {
    let xtask = std::env::var("MARGRAVE_XTASK").unwrap();
    let output = Command::new(xtask).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), output).await;
    let output = output.expect("it is still running").unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Issuer, edge and demo origin with settings.
pub(crate) async fn up(settings: &[&str]) -> System {
    up_with(settings, &[]).await
}

/// The same with further options.
pub(crate) async fn up_with(settings: &[&str], options: &[&str]) -> System {
    let state = new_state();
    let folder = state.to_string_lossy().into_owned();
    let mut arguments = vec!["up", "--json", "--fresh", "--state", &folder];
    arguments.extend(options);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    start(&arguments, state.clone()).await
}

/// An edge alone.
pub(crate) async fn edge(issuer: &str, origin: &str, settings: &[&str]) -> System {
    let state = new_state();
    let folder = state.to_string_lossy().into_owned();
    let mut arguments = vec!["edge", "--json", "--state", &folder, "--issuer", issuer, "--origin", origin];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    start(&arguments, state.clone()).await
}

/// The tokens of a person who has logged in.
#[derive(Debug, Clone)]
pub(crate) struct LoggedIn {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl System {
    /// A member of the line that `up --json` prints.
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap_or_else(|| panic!("{name} is missing"))
    }

    /// A number of that line.
    pub(crate) fn fact_number(&self, name: &str) -> u64 {
        self.facts[name].as_u64().unwrap_or_else(|| panic!("{name} is missing"))
    }

    /// Sends a signal to a part.
    pub(crate) fn signal(&self, part: &str, signal: &str) {
        let id = self.facts[part].as_u64().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Kills a part without warning, which ends the whole; starts it again on the same state.
    pub(crate) async fn crash_and_restart(&mut self, part: &str) {
        self.crash_and_restart_after(part, |_| {}).await;
    }

    /// The same, with something that is done while nothing runs.
    pub(crate) async fn crash_and_restart_after(&mut self, part: &str, meanwhile: impl FnOnce(&Self)) {
        self.signal(part, "-KILL");
        assert!(!self.child.wait().await.unwrap().success(), "a lost part ends the command with an error");
        meanwhile(self);
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).filter(|text| *text != "--fresh").collect();
        (self.child, self.facts) = spawn(&arguments).await;
    }

    /// Tries to start another system in the same folder; gives what is said about it.
    pub(crate) async fn another_up(&self, fresh: bool) -> String {
        let arguments = self.arguments.iter().map(String::as_str);
        refused_start(&arguments.filter(|text| fresh || *text != "--fresh").collect::<Vec<_>>()).await
    }

    /// The issuer's program.
    pub(crate) fn program(&self) -> PathBuf {
        PathBuf::from(std::env::var("MARGRAVE_XTASK").unwrap()).with_file_name("margrave")
    }

    /// What makes it work on this system's database.
    pub(crate) fn issuer_environment(&self) -> Vec<(&'static str, String)> {
        let secrets = std::fs::read_to_string(self.state.join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_str(&secrets).unwrap();
        let option = self.arguments.iter().position(|text| text == "--postgres");
        let database = option.map_or_else(
            || format!("sqlite:{}", self.database().display()),
            |at| self.arguments[at + 1].clone(),
        );
        vec![
            ("MARGRAVE_PUBLIC_URL", self.fact("issuer").to_owned()),
            ("MARGRAVE_DATABASE_URL", database),
            ("MARGRAVE_DIRECT", "true".to_owned()),
            ("MARGRAVE_LOG", "warn".to_owned()),
            ("MARGRAVE_MASTER_KEY", secrets["master_key"].as_str().unwrap().to_owned()),
        ]
    }

    fn margrave(&self) -> Command {
        let mut command = Command::new(self.program());
        // It would be taken for a setting.
        command.env_remove("MARGRAVE_XTASK").envs(self.issuer_environment()).stdin(Stdio::null());
        command
    }

    /// What a command of the issuer's says.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Value {
        self.command_with(arguments, &[]).await
    }

    /// The same with settings.
    pub(crate) async fn command_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Value {
        let mut command = self.margrave();
        command.envs(settings.iter().copied()).arg("--json").args(arguments);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What is said of a command that is refused.
    pub(crate) async fn refused_command(&self, arguments: &[&str]) -> String {
        let output = self.margrave().args(arguments).output().await.unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// One more issuer process on the same database; gives its URL. Dropped, it is killed.
    pub(crate) async fn another_issuer(&self, settings: &[(&str, &str)]) -> (Child, String) {
        let listen = free_address();
        let child = self.another_issuer_at(&listen, settings).await;
        (child, format!("http://{listen}"))
    }

    /// The same at an address.
    pub(crate) async fn another_issuer_at(&self, listen: &str, settings: &[(&str, &str)]) -> Child {
        let mut command = self.margrave();
        command.arg("serve").env("MARGRAVE_LISTEN", listen).envs(settings.iter().copied());
        command.stdout(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let url = format!("http://{listen}");
        for _ in 0..100 {
            if reqwest::get(format!("{url}/readyz")).await.is_ok_and(|answer| answer.status() == 200) {
                return child;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the other issuer does not get ready");
    }

    /// What the issuer writes.
    pub(crate) fn issuer_log(&self) -> PathBuf {
        self.state.join("issuer.log")
    }

    /// The issuer's database, where it is SQLite.
    pub(crate) fn database(&self) -> PathBuf {
        self.state.join("issuer.db")
    }

    /// The edge's part of the state folder.
    pub(crate) fn edge_folder(&self) -> PathBuf {
        self.state.join("edge")
    }

    /// What the system has written into its state folder: databases, objects, logs, but for the demo's own credentials.
    pub(crate) fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut folders, mut files) = (vec![self.state.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                let name = entry.file_name();
                if path.is_dir() {
                    folders.push(path);
                } else if name != "demo.json" && name != "secrets.json" {
                    // A file may go while it is looked at: a write-ahead log does.
                    files.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
                }
            }
        }
        files
    }

    /// A URL at the edge.
    pub(crate) fn edge(&self, path: &str) -> String {
        format!("{}{path}", self.fact("edge"))
    }

    /// A URL at the issuer.
    pub(crate) fn issuer(&self, path: &str) -> String {
        format!("{}{path}", self.fact("issuer"))
    }

    /// A request to the edge with a token.
    pub(crate) async fn call(&self, path: &str, token: &str) -> Answer {
        get(&self.edge(path), &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// A token of the demo's key.
    pub(crate) async fn key_token(&self) -> String {
        self.token_of("key_id", "key_secret").await
    }

    /// A token of the administrator's key.
    pub(crate) async fn admin_token(&self) -> String {
        self.token_of("admin_key_id", "admin_key_secret").await
    }

    async fn token_of(&self, id: &str, secret: &str) -> String {
        let authorization = basic(self.fact(id), self.fact(secret));
        let answer = post_form(
            &self.issuer("/oauth/token"),
            &[("authorization", &authorization)],
            &[("grant_type", "client_credentials")],
        )
        .await;
        answer.expect(200).text("access_token")
    }

    /// One login attempt through the edge.
    pub(crate) async fn attempt(&self, login: &str, password: &str) -> Answer {
        self.attempt_from(login, password, &[]).await
    }

    /// One login attempt through the edge with headers.
    pub(crate) async fn attempt_from(&self, login: &str, password: &str, headers: &[(&str, &str)]) -> Answer {
        let body = json!({ "login": login, "password": password, "merchant_id": self.fact("merchant_id") });
        post_json(&self.edge("/auth/v1/factors/credentials"), headers, &body).await
    }

    /// A security token of the demo's account.
    pub(crate) async fn security_token(&self) -> String {
        self.attempt(self.fact("username"), self.fact("password")).await.expect(200).text("security_token")
    }

    /// Registers an account, with its username as the merchant's key may.
    pub(crate) async fn register(&self, username: &str, password: &str) {
        let authorization = format!("Bearer {}", self.key_token().await);
        let body = json!({ "username": username, "password": password });
        post_json(&self.edge("/auth/v1/accounts"), &[("authorization", &authorization)], &body)
            .await
            .expect(201);
    }

    /// The factors grant.
    pub(crate) async fn factors_grant(&self, security_tokens: &str, more: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![
            ("grant_type", FACTORS),
            ("client_id", self.fact("client_id")),
            ("security_tokens", security_tokens),
        ];
        pairs.extend(more);
        post_form(&self.edge("/auth/oauth/token"), &[], &pairs).await
    }

    /// A refresh, at the issuer itself.
    pub(crate) async fn refresh_at(&self, base: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
        let pairs = [
            ("grant_type", "refresh_token"),
            ("client_id", self.fact("client_id")),
            ("refresh_token", token),
        ];
        post_form(&format!("{base}/oauth/token"), headers, &pairs).await
    }

    /// Logs the demo's person in.
    pub(crate) async fn log_in(&self) -> LoggedIn {
        self.log_in_as(self.fact("username"), self.fact("password")).await
    }

    /// Logs somebody in.
    pub(crate) async fn log_in_as(&self, login: &str, password: &str) -> LoggedIn {
        let security_token = self.attempt(login, password).await.expect(200).text("security_token");
        let answer = self.factors_grant(&security_token, &[]).await.expect(200);
        let access = answer.text("access_token");
        LoggedIn { refresh: answer.text("refresh_token"), access }
    }

    /// A request to the administration as the demo's administrator.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let authorization = format!("Bearer {}", self.admin_token().await);
        crate::http::send(
            method,
            &self.issuer(&format!("/admin/v1{path}")),
            &[("authorization", &authorization)],
            body,
        )
        .await
    }
}

/// The claims of a token, not verified.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&margrave_shared::base64::decode_url(payload).unwrap()).unwrap()
}
