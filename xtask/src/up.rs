//! `cargo xtask up`: everything, from a clean checkout, with one command.

use crate::demo::Demo;
use crate::issuer::Issuer;
use crate::processes::stop_signal;
use crate::progress::step;
use crate::secrets::{Secrets, write_private};
use crate::settings::Settings;
use crate::tools::{EdgeBuild, Tools, cargo, run as run_tool};
use crate::workerd::{self, EdgePlan, Role};
use crate::{Outcome, origin, outbox, ports, workspace};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Options of `up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Print one line of JSON when everything answers.
    #[arg(long)]
    json: bool,
    /// Where databases, objects, logs and the demo's credentials lie. Default `.margrave` in the checkout.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Begin with an empty state folder.
    #[arg(long)]
    fresh: bool,
    /// Use this PostgreSQL instead of a SQLite file.
    #[arg(long)]
    postgres: Option<String>,
    /// A setting, as `issuer.SECTION.KEY=VALUE` or `edge.SECTION.KEY=VALUE`; repeatable.
    #[arg(long = "set")]
    settings: Vec<String>,
    /// The issuer's port. Default: a free one.
    #[arg(long)]
    issuer_port: Option<u16>,
    /// The edge's port. Default: a free one.
    #[arg(long)]
    edge_port: Option<u16>,
    /// The demo origin's port. Default: a free one.
    #[arg(long)]
    origin_port: Option<u16>,
    /// Which Worker is run: `drill` is for tests, whose clock and objects they can disturb.
    #[arg(long, value_enum, default_value_t = EdgeBuild::Release, hide = true)]
    edge_build: EdgeBuild,
    /// Build and run the issuer optimised.
    #[arg(long)]
    release: bool,
    /// The issuer's program of another release: `upgrade-from` begins with it.
    #[arg(long, hide = true)]
    issuer_program: Option<PathBuf>,
}

/// The ports of a state folder's last run: bookmarks keep working where they can.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ports {
    issuer: Option<u16>,
    edge: Option<u16>,
    origin: Option<u16>,
    outbox: Option<u16>,
    mail: Option<u16>,
}

pub(crate) async fn run(options: Options) -> Outcome<()> {
    let settings = Settings::parse(&options.settings)?;
    let (state, _lock) = prepare_state(&options)?;
    let tools = Tools::ensure().await?;
    let profile = build_issuer(options.release).await?;
    tools.build_edge(options.edge_build).await?;

    let path = state.join("ports.json");
    let last: Ports = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let issuer_port = ports::choose("issuer", options.issuer_port, last.issuer)?;
    let edge_port = ports::choose("edge", options.edge_port, last.edge)?;
    let origin_port = ports::choose("demo origin", options.origin_port, last.origin)?;
    let outbox_port = ports::choose("outbox", None, last.outbox)?;
    let mail_port = ports::choose("outbox's mail", None, last.mail)?;
    let given = [options.issuer_port, options.edge_port, options.origin_port];
    let given: Vec<u16> = given.into_iter().flatten().collect();
    if given.iter().collect::<BTreeSet<_>>().len() < given.len() {
        return Err(
            "the ports of issuer, edge and origin are one each: name three, or leave them out".to_owned()
        );
    }
    let now = Ports {
        issuer: Some(issuer_port),
        edge: Some(edge_port),
        origin: Some(origin_port),
        outbox: Some(outbox_port),
        mail: Some(mail_port),
    };
    write_private(&path, &serde_json::to_string(&now).unwrap_or_default())?;

    let secrets = Secrets::ensure(&state)?;
    let mut issuer =
        Issuer::new(profile, &state, issuer_port, options.postgres.as_deref(), &secrets, &settings.issuer)?;
    issuer = match options.issuer_program {
        // Another release may know nothing of mail.
        Some(program) => issuer.of_program(program),
        None => issuer.with_mail(mail_port),
    };
    let demo = Demo::ensure(&state, &issuer, &secrets, options.postgres.is_some()).await?;

    // The edge's port may be another one than last time.
    let push_url = format!("http://127.0.0.1:{edge_port}/.margrave/events");
    issuer.ask(&["edges", "set-push", &demo.edge_id, &push_url], None).await?;

    step("starting issuer, edge and demo origin");
    origin::start(origin_port, &secrets.hop_key).await?;
    outbox::start(outbox_port, mail_port).await?;
    let mut issuer_process = issuer.start().await?;
    let origin_url = format!("http://127.0.0.1:{origin_port}");
    let plan = EdgePlan {
        role: Role::Alone,
        build: options.edge_build,
        folder: state.join("edge"),
        port: edge_port,
        issuer: issuer.url(),
        origin: &origin_url,
        edge_id: &demo.edge_id,
        merchants: format!("[\"{}\"]", demo.merchant_id),
        overrides: settings.edge,
        secrets: &secrets,
    };
    let mut edge_process = workerd::start(&tools, &plan).await?;
    let edge_url = format!("http://127.0.0.1:{edge_port}");
    let outbox_url = format!("http://127.0.0.1:{outbox_port}");

    if options.json {
        let line = serde_json::json!({
            "issuer": issuer.url(),
            "edge": edge_url,
            "origin": origin_url,
            "merchant_id": demo.merchant_id,
            "key_id": demo.key_id,
            "key_secret": demo.key_secret,
            "client_id": demo.client_id,
            "username": demo.username,
            "password": demo.password,
            "admin_key_id": demo.admin_key_id,
            "admin_key_secret": demo.admin_key_secret,
            "outbox": outbox_url,
            // Beside the contract: for scrapers.
            "metrics_key": secrets.metrics_key()?,
            // Beside the contract: for drills that stop and restart a part.
            "issuer_pid": issuer_process.id(),
            "edge_pid": edge_process.id(),
        });
        println!("{line}");
        step("ready; stop it with Ctrl-C");
    } else {
        println!("{}", what_to_try(&edge_url, issuer.url(), &origin_url, &demo));
    }
    let outcome = tokio::select! {
        () = stop_signal() => Ok(()),
        text = issuer_process.ended() => Err(text),
        text = edge_process.ended() => Err(text),
    };
    if outcome.is_ok() {
        step("stopping");
    }
    edge_process.stop().await;
    issuer_process.stop().await;
    outcome
}

/// Gives the state folder, and the lock on it to be held.
fn prepare_state(options: &Options) -> Outcome<(PathBuf, File)> {
    let state = match &options.state {
        Some(folder) => folder.clone(),
        None => workspace::root()?.join(".margrave"),
    };
    if options.fresh && state.exists() {
        // Only a folder that was ours is emptied.
        let ours = state.join("secrets.json").exists() || is_empty(&state);
        if !ours {
            return Err(format!(
                "{} is not a state folder of Margrave; it is left alone. Name another with --state",
                state.display()
            ));
        }
        drop(lock(&state)?);
        std::fs::remove_dir_all(&state)
            .map_err(|error| format!("{} cannot be emptied: {error}", state.display()))?;
    }
    if state.exists() && !state.is_dir() {
        return Err(format!("{} is no folder. Name a folder with --state", state.display()));
    }
    std::fs::create_dir_all(&state).map_err(|error| {
        format!("the state folder {} cannot be made: {error}. Name another with --state", state.display())
    })?;
    let lock = lock(&state)?;
    let state = state.canonicalize().map_err(|error| format!("{}: {error}", state.display()))?;
    Ok((state, lock))
}

/// Two systems in one folder would each keep sessions and counts of their own, and neither would be right.
fn lock(state: &Path) -> Outcome<File> {
    let path = state.join("lock");
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another `cargo xtask up` runs with the state folder {}. Stop it, or name another with --state",
            state.display()
        )),
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Builds the issuer; gives the folder of its profile.
pub(crate) async fn build_issuer(release: bool) -> Outcome<&'static str> {
    let (profile, folder) = if release { ("server", "server") } else { ("dev", "debug") };
    step("building the issuer");
    let mut command = cargo();
    command
        // With the whole workspace, so that the tests find every dependency built with the same features.
        .args(["build", "--workspace", "--bins", "--profile", profile])
        .current_dir(workspace::root()?);
    run_tool(&mut command, "cargo build").await?;
    Ok(folder)
}

fn what_to_try(edge: &str, issuer: &str, origin: &str, demo: &Demo) -> String {
    let Demo { merchant_id, key_id, key_secret, client_id, username, password, .. } = demo;
    format!(
        r#"
Margrave is up.

  edge    {edge}
  issuer  {issuer}
  origin  {origin}   (answers only to the edge)

A merchant's key, exchanged for a token and used through the edge:

  TOKEN=$(curl -s -u {key_id}:{key_secret} \
    -d grant_type=client_credentials {edge}/auth/oauth/token | sed 's/.*"access_token":"\([^"]*\).*/\1/')
  curl -s -H "Authorization: Bearer $TOKEN" {edge}/api/hello

A person, with login and password:

  ST=$(curl -s -H 'content-type: application/json' \
    -d '{{"login":"{username}","password":"{password}","merchant_id":"{merchant_id}"}}' \
    {edge}/auth/v1/factors/credentials | sed 's/.*"security_token":"\([^"]*\).*/\1/')
  curl -s -d grant_type=urn:margrave:params:oauth:grant-type:factors -d client_id={client_id} \
    -d "security_tokens=$ST" {edge}/auth/oauth/token

Without a token, and on a public path:

  curl -i {edge}/api/hello
  curl -s {edge}/public/hello

Ctrl-C stops all of it. The README's tour goes on from here.
"#
    )
}
