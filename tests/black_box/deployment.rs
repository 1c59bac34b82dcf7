//! An edge as `deploy/` describes it: a state process and gates, from the files that ship, before the issuer and the origin of a
//! running system.

use crate::http::{Answer, get, post_json};
use crate::system::{System, free_address};
use margrave_shared::limiter::LimiterKeys;
use margrave_shared::wire::state_call::StateKeys;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// The key of the connection between gates and state.
pub(crate) const STATE_KEY: &str = "s1:c3RhdGUta2V5LXN0YXRlLWtleS1zdGF0ZS1rZXktISE";

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Gates and their state; dropped, they are ended.
pub(crate) struct Deployment {
    pub(crate) folder: PathBuf,
    issuer: String,
    /// Host and port of the origin of the gates that are started from now on.
    pub(crate) origin: String,
    /// The secrets of the processes that are started from now on, as an operator's environment file has them.
    pub(crate) secrets: BTreeMap<&'static str, String>,
    processes: Vec<(String, Child)>,
    /// The gates' URLs.
    pub(crate) gates: Vec<String>,
    merchant: String,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Host and port of a URL.
pub(crate) fn authority(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

impl Deployment {
    /// Lays everything out; `more` is added to the edge's settings.
    pub(crate) fn new(system: &System, more: &str) -> Self {
        let from = system.edge_folder();
        let folder = from.parent().unwrap().join("deployment");
        std::fs::create_dir_all(folder.join("objects")).unwrap();
        for file in ["entry.js", "carry.js", "stream.js", "index.js", "index_bg.wasm"] {
            std::fs::copy(from.join(file), folder.join(file)).unwrap();
        }
        for file in ["worker.capnp", "state.capnp", "gate.capnp"] {
            std::fs::copy(root().join("deploy/edge").join(file), folder.join(file)).unwrap();
        }
        let toml = std::fs::read_to_string(from.join("edge.toml")).unwrap();
        let mut toml = toml.replace("isolates = \"one\"", "isolates = \"many\"");
        writeln!(toml, "{more}").unwrap();
        std::fs::write(folder.join("edge.toml"), toml).unwrap();
        let secrets = std::fs::read_to_string(from.parent().unwrap().join("secrets.json")).unwrap();
        let secrets: Value = serde_json::from_str(&secrets).unwrap();
        let secret = |name: &str| secrets[name].as_str().unwrap().to_owned();
        Self {
            folder,
            issuer: authority(system.fact("issuer")),
            origin: authority(system.fact("origin")),
            secrets: BTreeMap::from([
                ("EDGE_SIGNING_KEY", secret("edge_signing_key")),
                ("HOP_KEY", format!("demo-1:{}", secret("hop_key"))),
                ("LIMITER_KEY", secret("limiter_key")),
                ("STATE_KEY", STATE_KEY.to_owned()),
            ]),
            processes: Vec::new(),
            gates: Vec::new(),
            merchant: system.fact("merchant_id").to_owned(),
        }
    }

    /// The same with a state process and two gates that answer.
    pub(crate) async fn with_two_gates(system: &System, more: &str) -> Self {
        let mut deployment = Self::new(system, more);
        deployment.start_state();
        deployment.start_gate("gate-1");
        deployment.start_gate("gate-2");
        for gate in &deployment.gates {
            until_healthy(gate).await;
        }
        deployment
    }

    /// Starts the state process.
    pub(crate) fn start_state(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("state.sock"));
        let issuer = format!("issuer={}", self.issuer);
        self.start("state", &["state.capnp", "--external-addr", &issuer]);
    }

    /// Starts a gate.
    pub(crate) fn start_gate(&mut self, name: &str) {
        let address = free_address();
        let (socket, issuer) = (format!("http={address}"), format!("issuer={}", self.issuer));
        let origin = format!("origin={}", self.origin);
        let named = ["--external-addr", issuer.as_str(), "--external-addr", origin.as_str()];
        self.start(name, &[&["gate.capnp", "--socket-addr", &socket], named.as_slice()].concat());
        self.gates.push(format!("http://{address}"));
    }

    /// What gates and state with this key know each other by.
    pub(crate) fn keys(&self, state_key: &str) -> StateKeys {
        let toml: toml::Table =
            std::fs::read_to_string(self.folder.join("edge.toml")).unwrap().parse().unwrap();
        let text = |name: &str| toml[name].as_str().unwrap().as_bytes().to_vec();
        let counted_by = LimiterKeys::parse(&self.secrets["LIMITER_KEY"]).unwrap();
        let parts: [&[u8]; 3] = [b"shared", &text("edge_id"), &text("issuer")];
        StateKeys::parse(state_key).unwrap().agreeing_on(&counted_by, &parts)
    }

    fn start(&mut self, name: &str, arguments: &[&str]) {
        let log = std::fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        let child = Command::new(workerd())
            .args(["serve", "--experimental"])
            .args(arguments)
            .current_dir(&self.folder)
            .envs(&self.secrets)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push((name.to_owned(), child));
    }

    /// Ends a process without warning.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.processes.iter().position(|(held, _)| held == name).unwrap();
        let (_, mut child) = self.processes.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks a process to end, and waits until it has.
    pub(crate) fn stop(&mut self, name: &str) {
        self.signal(name, "-TERM");
        let at = self.processes.iter().position(|(held, _)| held == name).unwrap();
        self.processes.remove(at).1.wait().unwrap();
    }

    /// Sends a process a signal.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let (_, child) = self.processes.iter().find(|(held, _)| held == name).unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// What a process has said.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap()
    }

    /// A login attempt at a gate.
    pub(crate) async fn attempt(&self, gate: usize, login: &str, password: &str) -> Answer {
        self.attempt_with(gate, login, password, &[]).await
    }

    /// A login attempt at a gate with these headers.
    pub(crate) async fn attempt_with(
        &self,
        gate: usize,
        login: &str,
        password: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = json!({ "login": login, "password": password, "merchant_id": self.merchant });
        post_json(&format!("{}/auth/v1/factors/credentials", self.gates[gate]), headers, &body).await
    }

    /// A request to a gate with a token.
    pub(crate) async fn call(&self, gate: usize, path: &str, token: &str) -> Answer {
        call_at(&self.gates[gate], path, token).await
    }

    /// A request to the state process; gives status, proof and body.
    pub(crate) async fn ask_state(&self, proof: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.folder.join("state.sock")).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: state\r\nConnection: close\r\nMargrave-State: {proof}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

/// The runtime that the commands have installed.
pub(crate) fn workerd() -> PathBuf {
    let found = std::fs::read_dir(root().join("node_modules/@cloudflare")).unwrap().flatten();
    let mut found = found.map(|entry| entry.path().join("bin/workerd"));
    found.find(|path| path.exists() && path.to_string_lossy().contains("workerd-")).unwrap()
}

/// A request with a token.
pub(crate) async fn call_at(base: &str, path: &str, token: &str) -> Answer {
    get(&format!("{base}{path}"), &[("authorization", &format!("Bearer {token}"))]).await
}

/// Waits until a gate judges.
pub(crate) async fn until_healthy(base: &str) {
    for _ in 0..200 {
        let answer = reqwest::get(format!("{base}/.margrave/health")).await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{base} does not get healthy");
}
