//! `margrave edges`

use super::{CommandError, Output};
use crate::app::App;
use crate::edges::{create_edge, disable_edge, find_edges};
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
        #[arg(long)]
        public_key: String,
        /// The merchants it stands in front of, separated by commas; `*` for all must be written out.
        #[arg(long)]
        merchants: String,
    },
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
        Command::Add { name, public_key, merchants } => {
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
            let edge = create_edge(app, name, key, merchants, &Caller::operator()).await?;
            output.print(&format!("edge {}", edge.id), &json!({ "edge_id": edge.id }));
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
            let listed: Vec<_> = edges.iter().map(|e| json!({ "edge_id": e.id, "name": e.name })).collect();
            output.print(&lines.join("\n"), &json!({ "edges": listed }));
        }
    }
    Ok(())
}
