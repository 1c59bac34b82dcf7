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
use margrave_shared::wire::token::FACTORS_GRANT;
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
    drop(server);
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

/// Who asks, what they are let near of the API, and for which part of the time.
struct Role {
    name: &'static str,
    authorization: String,
    paths: &'static str,
    left_out: &'static [&'static str],
    share: u32,
}

async fn fuzz(program: &Path, config: &Path, issuer: &Issuer, demo: &Demo, options: &Options) -> Outcome<()> {
    let key = |id: &str, secret: &str| {
        format!("Basic {}", base64::encode_standard(format!("{id}:{secret}").as_bytes()))
    };
    let administrator = key(&demo.admin_key_id, &demo.admin_key_secret);
    let person = [
        ("grant_type", FACTORS_GRANT.to_owned()),
        ("client_id", demo.client_id.clone()),
        ("security_tokens", security_token(issuer, demo).await?),
    ];
    let grant = [("grant_type", "client_credentials".to_owned())];
    let roles = [
        Role {
            name: "a person",
            authorization: bearer(issuer, &person, None).await?,
            paths: "^/v1/",
            // What would end the session that it asks in.
            left_out: &["events", "report", "logout", "endSession"],
            share: 1,
        },
        Role {
            name: "a client",
            authorization: key(&demo.key_id, &demo.key_secret),
            paths: "^/oauth/",
            left_out: &[],
            share: 1,
        },
        // Last: an administrator ends what the others have.
        Role {
            name: "an administrator",
            authorization: bearer(issuer, &grant, Some(&administrator)).await?,
            paths: "^/(admin|v1|api|healthz|readyz|openapi|\\.well-known)",
            left_out: &LEFT_OUT,
            share: 4,
        },
    ];
    let shares: u32 = roles.iter().map(|role| role.share).sum();
    for role in roles {
        step(&format!("  as {}", role.name));
        let seconds = (options.seconds * role.share / shares).max(1);
        try_as(program, config, issuer, &role, seconds, options.seed).await?;
    }
    Ok(())
}

async fn try_as(
    program: &Path,
    config: &Path,
    issuer: &Issuer,
    role: &Role,
    seconds: u32,
    seed: u32,
) -> Outcome<()> {
    // The issuer shows its document to who has a token; it is the one that is checked in.
    let document = if role.authorization.starts_with("Bearer ") {
        format!("{}/openapi.json", issuer.url())
    } else {
        workspace::root()?.join("docs/openapi.json").display().to_string()
    };
    let mut command = Command::new(program);
    command
        // It writes beside where it is.
        .current_dir(config.parent().unwrap_or(config))
        .arg("--no-color")
        .arg("--config-file")
        .arg(config)
        .args(["run", &document, "--url", issuer.url()])
        .args(["--header", &format!("Authorization: {}", role.authorization)])
        .args(["--include-path-regex", role.paths])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing,stateful", "--warnings", "off"])
        .args(["--seed", &seed.to_string(), "--max-time", &seconds.to_string()])
        .args(["--max-failures", "5"]);
    for operation in role.left_out {
        command.args(["--exclude-operation-id", operation]);
    }
    run_tool(&mut command, "the API, tried by schemathesis,").await
}

/// What the token endpoint gives, as a header.
async fn bearer(issuer: &Issuer, form: &[(&str, String)], basic: Option<&str>) -> Outcome<String> {
    let mut asked = reqwest::Client::new()
        .post(format!("{}/oauth/token", issuer.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"));
    if let Some(basic) = basic {
        asked = asked.header("authorization", basic);
    }
    Ok(format!("Bearer {}", member_of(asked, "access_token").await?))
}

async fn security_token(issuer: &Issuer, demo: &Demo) -> Outcome<String> {
    let login = serde_json::json!({
        "login": demo.username, "password": demo.password, "merchant_id": demo.merchant_id,
    });
    let asked = reqwest::Client::new()
        .post(format!("{}/v1/factors/credentials", issuer.url()))
        .header("content-type", "application/json")
        .body(login.to_string());
    member_of(asked, "security_token").await
}

async fn member_of(asked: reqwest::RequestBuilder, name: &str) -> Outcome<String> {
    let failed = |error: reqwest::Error| format!("no {name} for the fuzzer: {error}");
    let answer = asked.send().await.map_err(failed)?.text().await.map_err(failed)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let member = answer.get(name).and_then(serde_json::Value::as_str);
    member.map(str::to_owned).ok_or_else(|| format!("no {name} for the fuzzer: {answer}"))
}
