//! `cargo xtask edge`: an edge alone, for any issuer that publishes a JWKS at `URL/.well-known/jwks.json`.

use crate::processes::stop_signal;
use crate::progress::{step, warn};
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::tools::{EdgeBuild, Tools};
use crate::workerd::{self, EdgePlan, Role};
use crate::{Outcome, ports, workspace};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `edge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The issuer: `iss` of its tokens, and where its keys are.
    #[arg(long)]
    issuer: String,
    /// The origin.
    #[arg(long)]
    origin: String,
    /// Print one line of JSON when the edge answers.
    #[arg(long)]
    json: bool,
    /// Where its objects and logs lie. Default: a folder of its own in the target folder, emptied at the start.
    #[arg(long)]
    state: Option<PathBuf>,
    /// A setting, as `edge.SECTION.KEY=VALUE`; repeatable.
    #[arg(long = "set")]
    settings: Vec<String>,
    /// The edge's port. Default: a free one.
    #[arg(long)]
    edge_port: Option<u16>,
}

pub(crate) async fn run(options: Options) -> Outcome<()> {
    let mut settings = Settings::parse(&options.settings)?;
    if !settings.issuer.is_empty() {
        return Err("--set issuer.…: this command starts no issuer".to_owned());
    }
    let issuer = options.issuer.trim_end_matches('/');
    let origin = options.origin.trim_end_matches('/');
    workerd::authority(issuer)?;
    workerd::authority(origin)?;
    let tools = Tools::ensure().await?;
    tools.build_edge(EdgeBuild::Release).await?;
    let port = ports::choose("edge", options.edge_port, None)?;
    let folder = match &options.state {
        Some(folder) => folder.clone(),
        None => {
            let folder = workspace::target()?.join("edges").join(port.to_string());
            let _ = std::fs::remove_dir_all(&folder);
            folder
        }
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| format!("the state folder {} cannot be made: {error}", folder.display()))?;
    let secrets = Secrets::ensure(&folder)?;
    if !has_feed(issuer).await {
        warn(
            "the issuer gives this edge no event feed: revocations do not reach it, tokens and sessions end by their \
             own limits only",
        );
        settings.edge = format!("revocations.feed = \"off\"\n{}", settings.edge);
    }
    step("starting the edge");
    let plan = EdgePlan {
        role: Role::Alone,
        build: EdgeBuild::Release,
        folder,
        port,
        issuer,
        origin,
        edge_id: "edge",
        merchants: "[\"*\"]".to_owned(),
        overrides: settings.edge,
        secrets: &secrets,
    };
    let mut edge = workerd::start(&tools, &plan).await?;
    let url = format!("http://127.0.0.1:{port}");
    if options.json {
        println!("{}", serde_json::json!({ "edge": url, "edge_pid": edge.id() }));
    } else {
        println!("edge {url}");
    }
    let outcome = tokio::select! {
        () = stop_signal() => Ok(()),
        text = edge.ended() => Err(text),
    };
    edge.stop().await;
    outcome
}

/// Whether the issuer would let this edge read its feed.
async fn has_feed(issuer: &str) -> bool {
    let url = format!("{issuer}/v1/edge/events?epoch=&after=0&wait_s=0");
    let answer = reqwest::Client::new().get(url).timeout(Duration::from_secs(5)).send().await;
    answer.is_ok_and(|answer| answer.status().as_u16() == 200)
}
