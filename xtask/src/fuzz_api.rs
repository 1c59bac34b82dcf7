//! `cargo xtask fuzz-api`: schemathesis, a property-based fuzzer, against a real issuer on both databases, by its own OpenAPI document: no
//! answer is 5xx, none is outside of its schema, nothing that the document forbids is accepted, and nothing passes without its token.

use crate::demo::Demo;
use crate::issuer::Issuer;
use crate::postgres::Server;
use crate::progress::step;
use crate::secrets::Secrets;
use crate::tools::{capture, run as run_tool};
use crate::{Outcome, ports, up, workspace};
use clap::Args;
use margrave_shared::base64;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The pinned version.
const SCHEMATHESIS: &str = "4.32.5";

/// What is no finding: a precondition is judged before the body, and a body may be too large before anything else is.
const CONFIG: &str = r"
[checks]
not_a_server_error.enabled = true
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429]
[checks.missing_required_header]
expected-statuses = [400, 401, 403, 406, 412, 415, 422, 428]
";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    missing_required_header,unsupported_method,ignored_auth,negative_data_rejection";

/// Operations that would take the fuzzer's own token away, and the edges', which sign what they send.
const LEFT_OUT: [&str; 4] = ["retireSigningKey", "revokeKey", "events", "report"];

/// Options of `fuzz-api`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How long each database is tried, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Where the choices begin: the same number makes the same requests.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let program = ensure().await?;
    up::build_issuer(false).await?;
    let folder = std::env::temp_dir().join(format!("margrave-fuzz-api-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let config = folder.join("schemathesis.toml");
    std::fs::write(&config, CONFIG).map_err(|error| format!("{}: {error}", config.display()))?;
    step("starting a PostgreSQL for it");
    let server = Server::start().await?;
    let mut outcome = Ok(());
    for (name, database) in [("SQLite", None), ("PostgreSQL", Some(server.url.as_str()))] {
        step(&format!("trying the API on {name} for {} s", options.seconds));
        outcome = on(&program, &config, &folder.join(name), database, options).await;
        if outcome.is_err() {
            break;
        }
    }
    server.stop().await;
    if outcome.is_ok() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    outcome
}

/// Installs the fuzzer where it is not.
async fn ensure() -> Outcome<PathBuf> {
    let folder = workspace::target()?.join("tools").join(format!("schemathesis-{SCHEMATHESIS}"));
    let program = folder.join(if cfg!(windows) { "Scripts/st.exe" } else { "bin/st" });
    if program.exists() {
        return Ok(program);
    }
    if capture(Command::new("python3").arg("--version")).await.is_err() {
        return Err("Python 3 is not installed: schemathesis is written in it".to_owned());
    }
    step(&format!("installing schemathesis {SCHEMATHESIS} (once)"));
    run_tool(Command::new("python3").args(["-m", "venv"]).arg(&folder), "python3 -m venv").await?;
    let pip = folder.join(if cfg!(windows) { "Scripts/pip.exe" } else { "bin/pip" });
    let wanted = format!("schemathesis=={SCHEMATHESIS}");
    run_tool(Command::new(pip).args(["install", "--quiet", &wanted]), "pip install schemathesis").await?;
    Ok(program)
}

async fn on(
    program: &Path,
    config: &Path,
    state: &Path,
    database: Option<&str>,
    options: &Options,
) -> Outcome<()> {
    std::fs::create_dir_all(state).map_err(|error| format!("{}: {error}", state.display()))?;
    let secrets = Secrets::new()?;
    let port = ports::choose("issuer", None, None)?;
    // It tries for longer than a token lives, and all from one address.
    let settings = [
        ("TOKEN__PERMISSION_TTL_S", "3600"),
        ("LIMITS__ADDRESS_ATTEMPTS", "1000000"),
        ("LIMITS__ACCOUNT_ATTEMPTS", "1000000"),
    ];
    let settings = settings.map(|(name, value)| (format!("MARGRAVE_{name}"), value.to_owned()));
    let issuer = Issuer::new("debug", state, port, database, &secrets, &settings)?;
    let demo = Demo::ensure(state, &issuer, &secrets, database.is_some()).await?;
    let process = issuer.start().await?;
    let tried = fuzz(program, config, &issuer, &demo, options).await;
    process.stop().await;
    tried
}

async fn fuzz(program: &Path, config: &Path, issuer: &Issuer, demo: &Demo, options: &Options) -> Outcome<()> {
    let token = token(issuer, demo).await?;
    let mut command = Command::new(program);
    command
        // It writes beside where it is.
        .current_dir(config.parent().unwrap_or(config))
        .arg("--no-color")
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{}/openapi.json", issuer.url()), "--url", issuer.url()])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing,stateful", "--warnings", "off"])
        .args(["--seed", &options.seed.to_string(), "--max-time", &options.seconds.to_string()])
        .args(["--max-failures", "5"]);
    for operation in LEFT_OUT {
        command.args(["--exclude-operation-id", operation]);
    }
    run_tool(&mut command, "the API, tried by schemathesis,").await
}

async fn token(issuer: &Issuer, demo: &Demo) -> Outcome<String> {
    let basic = format!("{}:{}", demo.admin_key_id, demo.admin_key_secret);
    let asked = reqwest::Client::new()
        .post(format!("{}/oauth/token", issuer.url()))
        .header("authorization", format!("Basic {}", base64::encode_standard(basic.as_bytes())))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials");
    let failed = |error: reqwest::Error| format!("no token for the fuzzer: {error}");
    let answer = asked.send().await.map_err(failed)?.text().await.map_err(failed)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let token = answer.get("access_token").and_then(serde_json::Value::as_str);
    token.map(str::to_owned).ok_or_else(|| format!("no token for the fuzzer: {answer}"))
}
