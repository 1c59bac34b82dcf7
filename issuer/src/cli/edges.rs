//! `margrave edges`

use super::{CommandError, Output};
use crate::app::App;
use crate::edges::{
    EdgeFacts, change_edge, create_edge, disable_edge, find_dead_letters, find_edge, find_edges,
};
use crate::http::context::Caller;
use crate::revocations;
use clap::Subcommand;
use margrave_shared::base64;
use margrave_shared::id::EdgeId;
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
    /// Change an edge's key, first half: from now on it may sign with this one too. Give it the private half and start it anew.
    NextKey {
        /// The edge's id.
        edge: String,
        /// The next Ed25519 public key in base64url (43 characters).
        #[arg(long, allow_hyphen_values = true)]
        public_key: String,
    },
    /// Change an edge's key, second half: the next key is its only one.
    DropOldKey {
        /// The edge's id.
        edge: String,
        /// Also where it has not been seen to sign with the next key: the old one was stolen, say.
        #[arg(long)]
        unseen: bool,
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

fn edge_id(text: &str) -> Result<EdgeId, CommandError> {
    EdgeId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

fn key(option: &str, text: &str) -> Result<[u8; 32], CommandError> {
    let bytes = base64::decode_url(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| CommandError::Text(format!("{option}: 32 bytes in base64url, 43 characters")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    match command {
        Command::Add { name, public_key, merchants, push_url } => {
            let facts = EdgeFacts {
                name: name.clone(),
                public_key: key("--public-key", public_key)?,
                next_public_key: None,
                merchants: merchants.split(',').map(str::to_owned).collect(),
                push_url: push_url.clone(),
            };
            let mut tx = app.db.begin().await?;
            let edge = create_edge(app, &mut tx, facts, "operator", &caller).await?;
            tx.commit().await?;
            output.print(&format!("edge {}", edge.id), &json!({ "edge_id": edge.id }));
        }
        Command::SetPush { edge, url } => {
            let id = edge_id(edge)?;
            let change = |facts| EdgeFacts { push_url: url.clone(), ..facts };
            change_edge(app, &id, None, change, "operator", &caller).await?;
            output.print("noted; it takes effect within seconds", &json!({ "edge_id": id, "push_url": url }));
        }
        Command::NextKey { edge, public_key } => {
            let id = edge_id(edge)?;
            let standing = find_edge(&mut app.db.glance().await?, &id).await?;
            if standing.is_some_and(|edge| edge.next_public_key.is_some()) {
                let text = "it has a next key already, and may sign with it: `margrave edges drop-old-key` ends that change";
                return Err(CommandError::Text(text.to_owned()));
            }
            let next_public_key = Some(key("--public-key", public_key)?);
            let change = |facts| EdgeFacts { next_public_key, ..facts };
            change_edge(app, &id, None, change, "operator", &caller).await?;
            let text = "it counts from now on, beside the present one. Give the edge its private half (EDGE_SIGNING_KEY), \
                        and when it signs with it: margrave edges drop-old-key";
            output.print(text, &json!({ "edge_id": id, "next_public_key": public_key }));
        }
        Command::DropOldKey { edge, unseen } => {
            let id = edge_id(edge)?;
            let standing = find_edge(&mut app.db.glance().await?, &id).await?;
            let version = standing.as_ref().map(|edge| edge.version);
            let (has_next, is_used) = standing.map_or((true, true), |edge| {
                (edge.next_public_key.is_some(), edge.next_key_used_at.is_some())
            });
            if !has_next {
                let text = "it has no next key: `margrave edges next-key` names one";
                return Err(CommandError::Text(text.to_owned()));
            }
            if !is_used && !unseen {
                let text = "it has not signed with its next key yet, and would be locked out: give it that one (EDGE_SIGNING_KEY) and start it \
                            anew. Is the old one stolen: --unseen";
                return Err(CommandError::Text(text.to_owned()));
            }
            let change = |facts: EdgeFacts| EdgeFacts {
                public_key: facts.next_public_key.unwrap_or(facts.public_key),
                next_public_key: None,
                ..facts
            };
            // Of what was looked at, and of nothing that was named since.
            change_edge(app, &id, version, change, "operator", &caller).await?;
            output.print("the old key counts no more", &json!({ "edge_id": id }));
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
            revocations::renew(app, &caller).await?;
            output.print("every edge loads the feed anew", &json!({ "renewed": true }));
        }
        Command::Disable { edge } => {
            let id = edge_id(edge)?;
            disable_edge(app, &id, "operator", &caller).await?;
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
