//! `margrave merchants`

use super::admin::read_services;
use super::operator::{self, ACTOR};
use super::{CommandError, Output, read_json, read_secret, say};
use crate::admin::{disable_merchant, enable_merchant, end_merchant_sessions};
use crate::app::App;
use crate::http::context::Caller;
use crate::merchants::{
    Merchant, MerchantLimits, MerchantSettings, NewKey, NewMerchant, change_limits, change_merchant,
    create_key, create_merchant, find_keys, find_limits, find_merchant, find_merchants, find_services,
    revoke_key, rotate_key,
};
use crate::sso::{NewSecret, Previous, delete_secret, set_secret_in};
use clap::Subcommand;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::parse_scope;
use serde_json::json;
use std::path::PathBuf;

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
    /// Show a merchant, its settings, services and limits, as JSON.
    Show {
        /// The merchant's id.
        merchant: String,
    },
    /// Change a merchant's settings: the limits of its sessions, its factor policy.
    ChangeSettings {
        /// The merchant's id.
        merchant: String,
        /// A file with what `show` prints as `settings`; `-` is standard input.
        file: PathBuf,
    },
    /// Say how much a merchant may have. What is not named is not limited.
    SetLimits {
        /// The merchant's id.
        merchant: String,
        /// How many accounts.
        #[arg(long)]
        accounts: Option<u32>,
        /// How many keys.
        #[arg(long)]
        keys: Option<u32>,
        /// How many applications.
        #[arg(long)]
        applications: Option<u32>,
        /// How many organisations.
        #[arg(long)]
        organizations: Option<u32>,
    },
    /// Make the secret by which a merchant's page vouches for its users; the one before counts for another day.
    SetSsoSecret {
        /// The merchant's id.
        merchant: String,
        /// Read the company's own from standard input.
        #[arg(long)]
        given: bool,
        /// The one before counts no more at once: somebody knows it.
        #[arg(long)]
        forget_previous: bool,
    },
    /// Take a merchant's SSO secrets away.
    DeleteSsoSecret {
        /// The merchant's id.
        merchant: String,
    },
    /// Disable a merchant and revoke its keys.
    Disable {
        /// The merchant's id.
        merchant: String,
    },
    /// Open a disabled merchant. Its keys stay revoked.
    Enable {
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

async fn existing(app: &App, id: &MerchantId) -> Result<Merchant, CommandError> {
    let found = find_merchant(&mut app.db.read().await?, id).await?;
    found.ok_or_else(|| CommandError::Text(format!("there is no merchant {id}")))
}

async fn print_whole(app: &App, id: &MerchantId) -> Result<(), CommandError> {
    let merchant = existing(app, id).await?;
    let mut tx = app.db.read().await?;
    let (services, limits) = (find_services(&mut tx, id).await?, find_limits(&mut tx, id).await?);
    let whole = json!({ "merchant": merchant, "services": services, "limits": limits });
    say(&format!("{whole:#}"));
    Ok(())
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    let actor = ACTOR;
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
            let line = |merchant: &Merchant| {
                let state = if merchant.disabled_at.is_some() { "disabled" } else { "active" };
                format!("{}  {state}  {}", merchant.id, merchant.name)
            };
            let lines: Vec<_> = merchants.iter().map(line).collect();
            output.print(&lines.join("\n"), &json!({ "merchants": merchants }));
        }
        Command::Show { merchant } => print_whole(app, &merchant_id(merchant)?).await?,
        Command::ChangeSettings { merchant, file } => {
            let id = merchant_id(merchant)?;
            let settings = read_json(file)?;
            let Merchant { name, version, .. } = existing(app, &id).await?;
            let by = (actor, &operator::scope());
            change_merchant(app, &id, &name, &settings, version, by, &caller).await?;
            print_whole(app, &id).await?;
        }
        Command::SetLimits { merchant, accounts, keys, applications, organizations } => {
            let id = merchant_id(merchant)?;
            let limits = MerchantLimits {
                accounts: *accounts,
                keys: *keys,
                applications: *applications,
                organizations: *organizations,
            };
            let version = existing(app, &id).await?.version;
            change_limits(app, &id, &limits, version, actor, &caller).await?;
            print_whole(app, &id).await?;
        }
        Command::Enable { merchant } => {
            enable_merchant(app, &merchant_id(merchant)?, actor, &caller).await?;
            output.print("enabled", &json!({ "enabled": merchant }));
        }
        Command::SetSsoSecret { merchant, given, forget_previous } => {
            let given = given.then(|| read_secret("the secret")).transpose()?;
            let previous = if *forget_previous { Previous::Forget } else { Previous::Keep };
            let mut tx = app.db.begin().await?;
            let (id, new) = (merchant_id(merchant)?, NewSecret { given, previous });
            let issued = set_secret_in(app, &mut tx, &id, new, ACTOR, &caller).await?;
            tx.commit().await?;
            let secret = issued.secret.expose();
            let text = format!("secret {secret}\nIt is shown this once.");
            output.print(&text, &json!({ "secret": secret, "previous_until": issued.shown.previous_until }));
        }
        Command::DeleteSsoSecret { merchant } => {
            delete_secret(app, &merchant_id(merchant)?, ACTOR, &caller).await?;
            output.print("deleted", &json!({ "deleted": merchant }));
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
