//! An edge in workerd: its configuration and its start.

use crate::processes::Process;
use crate::secrets::{Secrets, write_private};
use crate::tools::{EdgeBuild, Tools};
use crate::{Outcome, origin, workspace};
use margrave_shared::secret::SecretKey;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What a process of an edge does.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Everything.
    Alone,
    /// It has the objects, and answers gates at `state.sock` in its folder.
    State,
    /// It judges requests, and asks the state process of this folder.
    Gate(PathBuf),
}

impl Role {
    /// The file that deployments start from.
    const fn config(&self) -> &'static str {
        match self {
            Self::Alone => include_str!("../../deploy/edge/alone.capnp"),
            Self::State => include_str!("../../deploy/edge/state.capnp"),
            Self::Gate(_) => include_str!("../../deploy/edge/gate.capnp"),
        }
    }
}

/// What an edge is started with.
#[derive(Debug)]
pub(crate) struct EdgePlan<'a> {
    /// What it does.
    pub(crate) role: Role,
    /// Which Worker.
    pub(crate) build: EdgeBuild,
    /// The folder for its files and objects.
    pub(crate) folder: PathBuf,
    /// Its port.
    pub(crate) port: u16,
    /// The issuer's URL, http on a host and port.
    pub(crate) issuer: &'a str,
    /// The origin's URL.
    pub(crate) origin: &'a str,
    /// Its id at the issuer.
    pub(crate) edge_id: &'a str,
    /// The merchants it serves, as TOML.
    pub(crate) merchants: String,
    /// What `--set` says.
    pub(crate) overrides: String,
    /// Its secrets.
    pub(crate) secrets: &'a Secrets,
}

/// What every process of an edge is made of.
const WORKER: &str = include_str!("../../deploy/edge/worker.capnp");

/// The audience of the demo's service.
pub(crate) const AUDIENCE: &str = "margrave-demo";

/// The demo's routes.
const ROUTES: &str = r#"
[[route]]
path = "/public/*"
public = true

[[route]]
path = "/api/*"
permissions = ["read"]

[[route]]
path = "/api/write/*"
permissions = ["write"]

[[route]]
path = "/api/full/*"
permissions = ["read"]
user_types = ["full"]

[[route]]
path = "/api/fresh/*"
permissions = ["read"]
max_auth_age = "60s"

[[route]]
path = "/api/stale/*"
permissions = ["read"]
on_state_failure = "stale:30s"

[[route]]
path = "/api/admin/*"
permissions = ["admin:read"]
"#;

/// Host and port of an http URL.
pub(crate) fn authority(url: &str) -> Outcome<&str> {
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        format!(
            "{url}: only http:// is spoken here; put a proxy in front, or deploy with wrangler for https://"
        )
    })?;
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains('/') {
        return Err(format!("{url}: write it as http://host:port"));
    }
    Ok(authority)
}

/// An address as workerd takes it: with a port.
fn address(authority: &str) -> String {
    if authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    }
}

/// Starts workerd and waits until the edge answers.
pub(crate) async fn start(tools: &Tools, plan: &EdgePlan<'_>) -> Outcome<Process> {
    let origins = named_origins(plan)?;
    write_files(plan, &origins)?;
    let log = plan.folder.join("workerd.log");
    // The last words of an earlier run would be read as this one's.
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new(tools.workerd()?);
    command
        .args(["serve", "--experimental", "config.capnp"])
        .args(["--external-addr", &format!("issuer={}", address(authority(plan.issuer)?))])
        .current_dir(&plan.folder)
        .env("EDGE_OVERRIDES", &plan.overrides)
        .env("EDGE_SIGNING_KEY", &plan.secrets.edge_signing_key)
        .env("HOP_KEY", format!("{}:{}", origin::HOP_KEY_ID, plan.secrets.hop_key))
        .env("LIMITER_KEY", &plan.secrets.limiter_key)
        .env("METRICS_KEY", plan.secrets.metrics_key()?);
    if !matches!(plan.role, Role::State) {
        command
            .args(["--socket-addr", &format!("http=127.0.0.1:{}", plan.port)])
            .args(["--external-addr", &format!("origin={}", address(authority(plan.origin)?))]);
    }
    if let Role::Gate(state) = &plan.role {
        command.args(["--external-addr", &format!("state=unix:{}", state.join("state.sock").display())]);
    }
    if !matches!(plan.role, Role::Alone) {
        command.env("STATE_KEY", plan.secrets.state_key()?);
    }
    for named in &origins {
        command.env(named.secret(), &named.hop_key);
    }
    let mut process = Process::start("edge", &mut command, &log)?;
    if matches!(plan.role, Role::State) {
        // Its gates say whether it answers.
        return Ok(process);
    }
    process.wait_for(&format!("http://127.0.0.1:{}/.margrave/health", plan.port), &log).await?;
    Ok(process)
}

/// An origin beside the first, of `--set edge.origins.<name>={url="…"}`.
struct NamedOrigin {
    name: String,
    address: String,
    /// `<name>-1:<key>`
    hop_key: String,
}

impl NamedOrigin {
    fn secret(&self) -> String {
        format!("HOP_KEY_{}", self.name.to_uppercase())
    }
}

/// The named origins of the settings, each with a hop key of its own that comes from the first one's.
fn named_origins(plan: &EdgePlan<'_>) -> Outcome<Vec<NamedOrigin>> {
    let overrides: toml::Table = plan.overrides.parse().map_err(|error| format!("--set: {error}"))?;
    let Some(origins) = overrides.get("origins").and_then(toml::Value::as_table) else {
        return Ok(Vec::new());
    };
    let key = SecretKey::parse(&plan.secrets.hop_key).map_err(|error| format!("the hop key: {error}"))?;
    origins
        .iter()
        .map(|(name, origin)| {
            let url = origin.get("url").and_then(toml::Value::as_str);
            let url =
                url.ok_or_else(|| format!("--set edge.origins.{name}: write it as {{url=\"http://…\"}}"))?;
            let key = key.derive(name).to_text();
            Ok(NamedOrigin {
                name: name.clone(),
                address: address(authority(url)?),
                hop_key: format!("{name}-1:{}", key.expose()),
            })
        })
        .collect()
}

fn write_files(plan: &EdgePlan<'_>, origins: &[NamedOrigin]) -> Outcome<()> {
    let folder = &plan.folder;
    std::fs::create_dir_all(folder.join("objects"))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let root = workspace::root()?;
    for file in ["entry.js", "carry.js", "stream.js", "index.js", "index_bg.wasm"] {
        copy(&root.join("edge").join(plan.build.folder()).join(file), &folder.join(file))?;
    }
    let EdgePlan { issuer, origin, edge_id, merchants, .. } = plan;
    let isolates = if matches!(plan.role, Role::Alone) { "one" } else { "many" };
    let toml = format!(
        "issuer = \"{issuer}\"\nissuer_url = \"{issuer}\"\norigin_url = \"{origin}\"\naudience = \"{AUDIENCE}\"\n\
         merchants = {merchants}\nedge_id = \"{edge_id}\"\nclient_address = \"peer\"\n\n\
         [session]\nobjects = \"shared\"\n\n\
         [revocations]\nisolates = \"{isolates}\"\n{ROUTES}"
    );
    write_private(&folder.join("edge.toml"), &toml)?;
    let list = |line: fn(&NamedOrigin) -> String| origins.iter().map(line).collect::<String>();
    let services = list(|o| {
        format!("    (name = \"origin-{}\", external = (address = \"{}\", http = ())),\n", o.name, o.address)
    });
    let bindings = list(|o| {
        let (name, upper, secret) = (&o.name, o.name.to_uppercase(), o.secret());
        format!(
            "    (name = \"ORIGIN_{upper}\", service = \"origin-{name}\"),\n    (name = \"{secret}\", fromEnvironment = \"{secret}\"),\n"
        )
    });
    let config = plan
        .role
        .config()
        .replace("    # further origins\n", &services)
        .replace("    # bindings of further origins\n", &bindings);
    write_private(&folder.join("worker.capnp"), WORKER)?;
    write_private(&folder.join("config.capnp"), &config)
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| format!("{} cannot be copied: {error}", from.display()))
}
