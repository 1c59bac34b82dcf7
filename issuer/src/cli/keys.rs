//! `margrave keys`

use super::{CommandError, Output, say};
use crate::app::App;
use crate::config::Config;
use crate::entropy::Entropy;
use crate::http::context::Caller;
use crate::keys::{self, Rewrapped, Rotated};
use clap::Subcommand;
use ed25519_dalek::SigningKey;
use margrave_shared::base64;
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::Rotation;
use margrave_shared::secret::SecretKey;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a new master key. Keep it apart from the database; without it no signing key opens.
    Master,
    /// Print a new key pair for an edge: EDGE_SIGNING_KEY, and the public half for `margrave edges add` or `next-key`.
    Edge,
    /// Print a new HOP_KEY or STATE_KEY: `<key id>:<key>`.
    Hop,
    /// Print a new LIMITER_KEY. While it is changed it stands beside the old one, with a comma between (docs/operations.md).
    Limiter,
    /// Change the master key: from now on the next one opens the database, which `next_master_key_file` or MARGRAVE_NEXT_MASTER_KEY names.
    RotateMaster,
    /// List the signing keys.
    List,
    /// Let the standby key sign, as soon as it has been published long enough.
    Rotate,
    /// Take a signing key away at once; every token it has signed is refused.
    Retire {
        /// The key's id.
        kid: String,
        /// Said to show that this is meant.
        #[arg(long, required = true)]
        now: bool,
    },
}

/// Prints what is made from nothing but randomness; `false` for commands that need a database.
pub(super) fn make(command: &Command, output: Output) -> bool {
    let secret = || SecretKey::from_bytes(Entropy.bytes()).to_text();
    match command {
        Command::Master | Command::Limiter => say(secret().expose()),
        Command::Edge => {
            let seed: [u8; 32] = Entropy.bytes();
            let private = SecretKey::from_bytes(seed).to_text();
            let public = base64::encode_url(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
            output.print(
                &format!("EDGE_SIGNING_KEY {}\n--public-key     {public}", private.expose()),
                &json!({ "signing_key": private.expose(), "public_key": public }),
            );
        }
        Command::Hop => {
            let id: [u8; 4] = Entropy.bytes();
            let key = format!("k{:08x}:{}", u32::from_be_bytes(id), secret().expose());
            output.print(&key, &json!({ "key": key }));
        }
        Command::RotateMaster | Command::List | Command::Rotate | Command::Retire { .. } => return false,
    }
    true
}

pub(super) async fn run(
    command: &Command,
    config: &Config,
    app: &App,
    output: Output,
) -> Result<(), CommandError> {
    match command {
        Command::Master | Command::Edge | Command::Hop | Command::Limiter => {
            make(command, output);
        }
        Command::RotateMaster => {
            let masters = config.master_keys()?;
            if masters.next.is_none() {
                let text = "no next master key is named: `margrave keys master > FILE`, and `next_master_key_file` names it. Every issuer \
                            has to know both before";
                return Err(CommandError::Text(text.to_owned()));
            }
            let done = keys::rotate_master_key(app, &masters, &Caller::operator()).await?;
            let text = match done {
                Rewrapped::Done => "the next master key opens the database now",
                Rewrapped::Already => "it does already",
            };
            let then = "make it `master_key_file` of every issuer and take the old one away; keep that with the backups it was made with";
            output.print(&format!("{text}; {then}"), &json!({ "rotated": done == Rewrapped::Done }));
        }
        Command::List => {
            let keys = keys::list(&app.db).await?;
            let lines: Vec<_> =
                keys.iter().map(|key| format!("{}  {}", key.kid, key.state.as_str())).collect();
            let listed: Vec<_> =
                keys.iter().map(|key| json!({ "kid": key.kid, "state": key.state.as_str() })).collect();
            output.print(&lines.join("\n"), &json!({ "signing_keys": listed }));
        }
        Command::Rotate => {
            match keys::rotate(app, Rotation::Requested, "operator", &Caller::operator()).await? {
                Rotated::Promoted => output.print("the standby key signs now", &json!({ "rotated": true })),
                Rotated::NotYet => {
                    return Err(CommandError::Text(format!(
                        "the standby key has not been published for {} s yet; verifiers may not know it. Try again later, \
                     or `margrave keys retire KID --now` in an emergency",
                        app.keys_config.publish_ahead_s
                    )));
                }
            }
        }
        Command::Retire { kid, now: _ } => {
            let kid = Kid::parse(kid).map_err(|error| CommandError::Text(format!("{kid}: {error}")))?;
            keys::retire_now(app, &kid, "operator", &Caller::operator()).await?;
            output.print("retired; every edge refuses it from now on", &json!({ "retired": kid }));
        }
    }
    Ok(())
}
