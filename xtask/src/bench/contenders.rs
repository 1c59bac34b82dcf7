//! Who is measured: Margrave's edge, the peers, and the origin behind all of them.

use super::centre::OIDC_PROVIDER;
use super::report::Row;
use super::stand_in::{self, Asked};
use super::tokens::jwks;
use crate::processes::Process;
use crate::progress::step;
use crate::secrets::Secrets;
use crate::tools::{EdgeBuild, Tools, capture, run as run_tool};
use crate::workerd::{self, EdgePlan};
use crate::{Outcome, ports, workspace};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The pinned version of the peer's library.
const JOSE: &str = "6.2.17";

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Margrave's edge.
    Margrave,
    /// jose in a Worker.
    Jose,
    /// A Worker that checks nothing.
    PassThrough,
}

/// All of them, running.
pub(super) struct Contenders {
    folder: PathBuf,
    issuer: String,
    origin: String,
    ports: [u16; 3],
    processes: Vec<Process>,
    secrets: Secrets,
    versions: String,
    asked: Asked,
}

impl Contenders {
    pub(super) async fn start(tools: &Tools, folder: &Path) -> Outcome<Self> {
        for program in ["wrk", "nginx"] {
            if capture(Command::new(program).arg("-v")).await.is_err_and(|error| error.contains("os error 2"))
            {
                return Err(format!("{program} is not installed (Debian: `apt-get install {program}`)"));
            }
        }
        let port = |what: &str| ports::choose(what, None, None);
        let origin_port = port("origin")?;
        let mut processes = vec![start_nginx(folder, origin_port).await?];
        let origin = format!("http://127.0.0.1:{origin_port}");
        let asked = Asked::default();
        let issuer = stand_in::start(port("issuer")?, asked.clone()).await?;
        let secrets = Secrets::new()?;
        let ports = [port("edge")?, port("jose")?, port("pass-through")?];
        build_peers(tools, folder).await?;
        let [margrave, jose, pass_through] = ports;
        for (name, port) in [("jose_worker", jose), ("pass_through", pass_through)] {
            processes.push(start_peer(tools, folder, name, port, origin_port, &issuer).await?);
        }
        let mut contenders = Self {
            folder: folder.to_owned(),
            issuer,
            origin,
            ports,
            processes,
            secrets,
            versions: String::new(),
            asked,
        };
        let edge = contenders.start_edge(tools, EdgeBuild::Release, margrave, "edge", String::new()).await?;
        contenders.processes.push(edge);
        let workerd = capture(Command::new(tools.workerd()?).arg("--version")).await.unwrap_or_default();
        contenders.versions = format!("{}, jose {JOSE}, oidc-provider {OIDC_PROVIDER}", workerd.trim());
        Ok(contenders)
    }

    /// One more edge, with settings of its own.
    pub(super) async fn another_edge(
        &self,
        tools: &Tools,
        build: EdgeBuild,
        folder: &str,
        overrides: String,
    ) -> Outcome<(Process, String)> {
        let port = ports::choose("edge", None, None)?;
        let process = self.start_edge(tools, build, port, folder, overrides).await?;
        Ok((process, format!("http://127.0.0.1:{port}")))
    }

    async fn start_edge(
        &self,
        tools: &Tools,
        build: EdgeBuild,
        port: u16,
        folder: &str,
        overrides: String,
    ) -> Outcome<Process> {
        let plan = EdgePlan {
            build,
            folder: self.folder.join("run").join(folder),
            port,
            issuer: &self.issuer,
            origin: &self.origin,
            edge_id: "edge",
            merchants: "[\"bench-merchant\"]".to_owned(),
            overrides,
            secrets: &self.secrets,
        };
        workerd::start(tools, &plan).await
    }

    pub(super) fn issuer_url(&self) -> &str {
        &self.issuer
    }

    /// What the stand-in for the issuer was asked.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(super) fn versions(&self) -> String {
        self.versions.clone()
    }

    pub(super) fn url(&self, name: Name) -> String {
        let [margrave, jose, pass_through] = self.ports;
        let port = match name {
            Name::Margrave => margrave,
            Name::Jose => jose,
            Name::PassThrough => pass_through,
        };
        format!("http://127.0.0.1:{port}/api/x")
    }

    /// B10: a start from nothing, memory at rest, the size of what is deployed.
    pub(super) async fn start_figures(&mut self, tools: &Tools) -> Outcome<Vec<Row>> {
        let mut starts = Vec::new();
        let mut resident = 0.0_f64;
        for round in 0..5 {
            let port = ports::choose("edge", None, None)?;
            #[expect(clippy::disallowed_methods, reason = "a start takes real time")]
            let began = std::time::Instant::now();
            let folder = format!("start-{round}");
            let process = self.start_edge(tools, EdgeBuild::Release, port, &folder, String::new()).await?;
            starts.push(began.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(Duration::from_secs(2)).await;
            resident = resident.max(resident_mb(process.id().unwrap_or(0)));
            process.stop().await;
        }
        starts.sort_by(f64::total_cmp);
        let median = starts.get(starts.len() / 2).copied().unwrap_or(0.0);
        let wasm = workspace::root()?.join("edge/build/index_bg.wasm");
        let packed =
            capture(Command::new("sh").args(["-c", &format!("gzip -9 -c '{}' | wc -c", wasm.display())]))
                .await?;
        let packed_kb = packed.trim().parse::<f64>().unwrap_or(f64::MAX) / 1000.0;
        Ok(vec![
            Row::most("B10", "edge: start of workerd to the first answer, ms (median of 5)", 300.0, median),
            Row::most("B10", "edge: resident memory of workerd at rest, MB", 50.0, resident),
            Row::most("B10", "edge: wasm after gzip, kB", 900.0, packed_kb),
        ])
    }

    pub(super) async fn stop(self) {
        for process in self.processes {
            process.stop().await;
        }
    }
}

fn resident_mb(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kb: f64 =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse().ok()).unwrap_or(0.0);
    kb / 1000.0
}

async fn start_nginx(folder: &Path, port: u16) -> Outcome<Process> {
    let run = folder.join("run");
    let config = format!(
        "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path tmp; proxy_temp_path tmp;\n\
         fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 'ok'; }} }} }}\n"
    );
    let path = run.join("nginx.conf");
    std::fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
    let log = run.join("nginx.log");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&run).arg("-c").arg(&path);
    let mut process = Process::start("origin", &mut command, &log)?;
    process.wait_for(&format!("http://127.0.0.1:{port}/"), &log).await?;
    Ok(process)
}

/// Bundles the peers with their libraries at pinned versions.
async fn build_peers(tools: &Tools, folder: &Path) -> Outcome<()> {
    if !folder.join("node_modules/jose").exists() {
        step("installing the peers' libraries");
        let manifest = format!(r#"{{"private":true,"dependencies":{{"jose":"{JOSE}"}}}}"#);
        std::fs::write(folder.join("package.json"), manifest).map_err(|error| error.to_string())?;
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
        run_tool(&mut command, "npm install").await?;
    }
    for (name, source) in [
        ("jose_worker", include_str!("peers/jose_worker.js")),
        ("pass_through", include_str!("peers/pass_through.js")),
    ] {
        let from = folder.join(format!("{name}.js"));
        std::fs::write(&from, source).map_err(|error| error.to_string())?;
        let mut command = Command::new(tools.npm_bin("esbuild"));
        command
            .args(["--bundle", "--format=esm", "--minify", "--log-level=warning"])
            .arg(format!("--outfile={}", folder.join("run").join(format!("{name}.js")).display()))
            .arg(&from);
        run_tool(&mut command, "esbuild").await?;
    }
    Ok(())
}

async fn start_peer(
    tools: &Tools,
    folder: &Path,
    name: &'static str,
    port: u16,
    origin: u16,
    issuer: &str,
) -> Outcome<Process> {
    let run = folder.join("run");
    let config = format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "peer", worker = .peer),
    (name = "origin", external = (address = "127.0.0.1:{origin}", http = ())),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "peer")],
);
const peer :Workerd.Worker = (
  modules = [(name = "{name}.js", esModule = embed "{name}.js")],
  compatibilityDate = "2026-11-01",
  bindings = [
    (name = "ORIGIN", service = "origin"),
    (name = "ISSUER", text = "{issuer}"),
    (name = "JWKS", fromEnvironment = "JWKS"),
  ],
);
"#
    );
    let path = run.join(format!("{name}.capnp"));
    std::fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
    let log = run.join(format!("{name}.log"));
    let mut command = Command::new(tools.workerd()?);
    command.args(["serve"]).arg(&path).current_dir(&run).env("JWKS", jwks());
    let process = Process::start("peer", &mut command, &log)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(process)
}
