//! `margrave merchants`

use super::admin::read_services;
use super::{CommandError, Output};
use crate::admin::{disable_merchant, end_merchant_sessions};
use crate::app::App;
use crate::http::context::Caller;
use crate::merchants::{
    MerchantSettings, NewKey, NewMerchant, create_key, create_merchant, find_keys, find_merchants,
    revoke_key, rotate_key,
};
use clap::Subcommand;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::parse_scope;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a merchant.
    Create {
        /// Its name.
        name: String,
        /// A service of it, as `AUDIENCE=PERMISSION,PERMISSION`; repeatable.
        #[arg(long)]
        service: Vec<String>,
    },
    /// List the merchants.
    List,
    /// Disable a merchant and revoke its keys.
    Disable {
        /// The merchant's id.
        merchant: String,
    },
    /// End every session of every account of a merchant.
    EndSessions {
        /// The merchant's id.
        merchant: String,
    },
    /// Make a key of a merchant.
    AddKey {
        /// The merchant's id.
        merchant: String,
        /// Its permissions, separated by commas.
        #[arg(long)]
        permissions: String,
        /// How many days it lives; without it, until it is revoked.
        #[arg(long)]
        days: Option<i64>,
    },
    /// List a merchant's keys.
    Keys {
        /// The merchant's id.
        merchant: String,
    },
    /// Make a successor of a key; the old one lives for another day.
    RotateKey {
        /// The merchant's id.
        merchant: String,
        /// The key's id.
        key: String,
    },
    /// Revoke a key at once.
    RevokeKey {
        /// The merchant's id.
        merchant: String,
        /// The key's id.
        key: String,
    },
}

pub(super) fn merchant_id(text: &str) -> Result<MerchantId, CommandError> {
    MerchantId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

fn key_id(text: &str) -> Result<KeyId, CommandError> {
    KeyId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    let actor = "operator";
    match command {
        Command::Create { name, service } => {
            let new = NewMerchant {
                name: name.clone(),
                platform: false,
                services: read_services(service)?,
                settings: MerchantSettings::default(),
            };
            let merchant = create_merchant(app, new, actor, &caller).await?;
            output.print(&format!("merchant {}", merchant.id), &json!({ "merchant_id": merchant.id }));
        }
        Command::List => {
            let mut tx = app.db.read().await?;
            let merchants = find_merchants(&mut tx, None, "", 1000).await?;
            let lines: Vec<_> = merchants.iter().map(|m| format!("{}  {}", m.id, m.name)).collect();
            output.print(&lines.join("\n"), &json!({ "merchants": merchants }));
        }
        Command::Disable { merchant } => {
            disable_merchant(app, &merchant_id(merchant)?, actor, &caller).await?;
            output.print("disabled", &json!({ "disabled": merchant }));
        }
        Command::EndSessions { merchant } => {
            let accounts = end_merchant_sessions(app, &merchant_id(merchant)?, actor, &caller).await?;
            output.print(&format!("ended, of {accounts} accounts"), &json!({ "accounts": accounts }));
        }
        Command::AddKey { merchant, permissions, days } => {
            let permissions = parse_scope(&permissions.replace(',', " "))
                .map_err(|error| CommandError::Text(format!("--permissions: {error}")))?;
            let expires_at = days.map(|days| app.clock.now().plus_seconds(days.saturating_mul(86400)));
            let new = NewKey { permissions, expires_at };
            let key = create_key(app, &merchant_id(merchant)?, &new, actor, &caller).await?;
            let text = format!(
                "key    {}\nsecret {}\nThe secret is shown this once.",
                key.key_id,
                key.secret.expose()
            );
            output.print(&text, &json!({ "key_id": key.key_id, "secret": key.secret.expose() }));
        }
        Command::Keys { merchant } => {
            let mut tx = app.db.read().await?;
            let keys = find_keys(&mut tx, &merchant_id(merchant)?).await?;
            let lines: Vec<_> = keys
                .iter()
                .map(|key| {
                    let state = if key.revoked_at.is_some() { "revoked" } else { "live" };
                    format!(
                        "{}  {state}  {}",
                        key.key_id,
                        margrave_shared::permission::print_scope(&key.permissions)
                    )
                })
                .collect();
            output.print(&lines.join("\n"), &json!({ "keys": keys }));
        }
        Command::RotateKey { merchant, key } => {
            let key = rotate_key(app, &merchant_id(merchant)?, &key_id(key)?, actor, &caller).await?;
            let text = format!(
                "key    {}\nsecret {}\nThe old key lives for another day.",
                key.key_id,
                key.secret.expose()
            );
            output.print(&text, &json!({ "key_id": key.key_id, "secret": key.secret.expose() }));
        }
        Command::RevokeKey { merchant, key } => {
            revoke_key(app, &merchant_id(merchant)?, &key_id(key)?, actor, &caller).await?;
            output.print("revoked", &json!({ "revoked": key }));
        }
    }
    Ok(())
}
