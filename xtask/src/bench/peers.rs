//! The peers that run in `workerd`, and the origin behind everybody.

use super::tokens::jwks;
use crate::Outcome;
use crate::processes::Process;
use crate::progress::step;
use crate::tools::{Tools, run as run_tool};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// The pinned version of the peer's library.
pub(super) const JOSE: &str = "6.2.17";

pub(super) async fn start_nginx(folder: &Path, port: u16) -> Outcome<Process> {
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
pub(super) async fn build(tools: &Tools, folder: &Path) -> Outcome<()> {
    let manifest = format!(r#"{{"private":true,"dependencies":{{"jose":"{JOSE}"}}}}"#);
    let installed = folder.join("package.json");
    if !std::fs::read_to_string(&installed).is_ok_and(|text| text == manifest) {
        step("installing the peers' libraries");
        std::fs::write(&installed, manifest).map_err(|error| error.to_string())?;
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

pub(super) async fn start_worker(
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
