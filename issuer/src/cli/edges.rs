//! `margrave edges`

use super::{CommandError, Output};
use crate::app::App;
use crate::edges::{create_edge, disable_edge, find_dead_letters, find_edges, set_push_url};
use crate::http::context::Caller;
use crate::merchants::find_merchant;
use crate::revocations;
use clap::Subcommand;
use margrave_shared::base64;
use margrave_shared::id::{EdgeId, MerchantId};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register an edge.
    Add {
        /// Its name.
        name: String,
        /// Its Ed25519 public key in base64url (43 characters).
        #[arg(long, allow_hyphen_values = true)]
        public_key: String,
        /// The merchants it stands in front of, separated by commas; `*` for all must be written out.
        #[arg(long)]
        merchants: String,
        /// Where it takes pushed endings: its address and `/.margrave/events`. Without, it pulls only.
        #[arg(long)]
        push_url: Option<String>,
    },
    /// Say where an edge takes pushed endings.
    SetPush {
        /// The edge's id.
        edge: String,
        /// Its address and `/.margrave/events`; without, it pulls only.
        url: Option<String>,
    },
    /// List the pushes that were given up: those edges have pulled, or will.
    DeadLetters,
    /// List the edges.
    List,
    /// Make every edge load the feed anew. To be done after a restore of the database.
    RenewFeed,
    /// Let an edge's signature count no more.
    Disable {
        /// The edge's id.
        edge: String,
    },
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    match command {
        Command::Add { name, public_key, merchants, push_url } => {
            let key =
                base64::decode_url(public_key).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(
                    || CommandError::Text("--public-key: 32 bytes in base64url, 43 characters".to_owned()),
                )?;
            let merchants: Vec<String> = merchants.split(',').map(str::to_owned).collect();
            let mut tx = app.db.glance().await?;
            for id in merchants.iter().filter(|id| *id != "*") {
                let known = match MerchantId::parse(id) {
                    Ok(id) => find_merchant(&mut tx, &id).await?.is_some(),
                    Err(_) => false,
                };
                if !known {
                    return Err(CommandError::Text(format!(
                        "--merchants: there is no merchant `{id}`. Give ids separated by commas, or `*`"
                    )));
                }
            }
            drop(tx);
            let edge = create_edge(app, name, key, merchants, push_url.clone(), &Caller::operator()).await?;
            output.print(&format!("edge {}", edge.id), &json!({ "edge_id": edge.id }));
        }
        Command::SetPush { edge, url } => {
            let id = EdgeId::parse(edge).map_err(|error| CommandError::Text(format!("{edge}: {error}")))?;
            set_push_url(app, &id, url.as_deref(), &Caller::operator()).await?;
            output.print("noted; it takes effect within seconds", &json!({ "edge_id": id, "push_url": url }));
        }
        Command::DeadLetters => {
            let letters = find_dead_letters(&mut app.db.read().await?, 100).await?;
            let lines: Vec<_> = letters
                .iter()
                .map(|l| {
                    let at = l.at.seconds();
                    format!(
                        "{}  after {} up to {}  at {at}  {} tries: {}",
                        l.edge_id, l.from, l.to, l.attempts, l.error
                    )
                })
                .collect();
            let listed: Vec<_> = letters
                .iter()
                .map(|l| {
                    json!({ "edge_id": l.edge_id, "from": l.from, "to": l.to, "at": l.at.seconds(),
                        "attempts": l.attempts, "error": l.error })
                })
                .collect();
            output.print(&lines.join("\n"), &json!({ "dead_letters": listed }));
        }
        Command::RenewFeed => {
            revocations::renew(app, &Caller::operator()).await?;
            output.print("every edge loads the feed anew", &json!({ "renewed": true }));
        }
        Command::Disable { edge } => {
            let id = EdgeId::parse(edge).map_err(|error| CommandError::Text(format!("{edge}: {error}")))?;
            disable_edge(app, &id, &Caller::operator()).await?;
            output.print("disabled", &json!({ "disabled": edge }));
        }
        Command::List => {
            let mut tx = app.db.read().await?;
            let edges = find_edges(&mut tx).await?;
            let lines: Vec<_> =
                edges.iter().map(|e| format!("{}  {}  {}", e.id, e.name, e.merchants.join(","))).collect();
            let listed: Vec<_> = edges
                .iter()
                .map(|e| json!({ "edge_id": e.id, "name": e.name, "push_url": e.push_url }))
                .collect();
            output.print(&lines.join("\n"), &json!({ "edges": listed }));
        }
    }
    Ok(())
}
