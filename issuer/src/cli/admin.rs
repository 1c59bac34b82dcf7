//! `margrave admin`

use super::merchants::merchant_id;
use super::{CommandError, Output, say};
use crate::app::App;
use crate::http::context::Caller;
use crate::merchants::{
    IssuedKey, NewKey, NewMerchant, Service, all_rights, create_key, create_merchant, reset_platform,
};
use clap::Subcommand;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::parse_scope;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a merchant that runs the system, and its first administrator's key.
    Create {
        /// The merchant's name.
        name: String,
        /// A service of it, as `AUDIENCE=PERMISSION,PERMISSION`; repeatable.
        #[arg(long)]
        service: Vec<String>,
    },
    /// Get into the administration again: a new key for the merchant that runs the system. It stands in the audit for good.
    Reset {
        /// Why.
        #[arg(long)]
        reason: String,
        /// Also take all its other keys away: they were stolen, or may have been.
        #[arg(long)]
        revoke_others: bool,
        /// The merchant, where several run the system.
        #[arg(long)]
        merchant: Option<String>,
    },
}

/// Reads `AUDIENCE=PERMISSION,PERMISSION`.
pub(super) fn read_services(texts: &[String]) -> Result<Vec<Service>, CommandError> {
    texts
        .iter()
        .map(|text| {
            let (audience, list) = text.split_once('=').unwrap_or((text, ""));
            let permissions = parse_scope(&list.replace(',', " "))
                .map_err(|error| CommandError::Text(format!("--service {text}: {error}")))?;
            Ok(Service { audience: audience.to_owned(), permissions })
        })
        .collect()
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    match command {
        Command::Create { name, service } => create(name, service, app, output).await,
        Command::Reset { reason, revoke_others, merchant } => {
            let merchant = merchant.as_deref().map(merchant_id).transpose()?;
            let caller = Caller::operator();
            let reset = reset_platform(app, merchant.as_ref(), *revoke_others, reason, &caller).await?;
            print_key(app, &reset.merchant.id, &reset.key, output);
            if *revoke_others && !output.json {
                say(&format!("other keys revoked: {}; their tokens end at every edge", reset.revoked));
            }
            Ok(())
        }
    }
}

async fn create(name: &str, service: &[String], app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    let new = NewMerchant {
        name: name.to_owned(),
        platform: true,
        services: read_services(service)?,
        settings: crate::merchants::MerchantSettings::default(),
    };
    let merchant = create_merchant(app, new, "operator", &caller).await?;
    let key = NewKey { permissions: all_rights(), expires_at: None };
    let key = create_key(app, &merchant.id, &key, "operator", &caller).await?;
    print_key(app, &merchant.id, &key, output);
    Ok(())
}

fn print_key(app: &App, merchant: &MerchantId, key: &IssuedKey, output: Output) {
    let text = format!(
        "merchant {}\nkey      {}\nsecret   {}\nThe secret is shown this once. Exchange it for a token at \
         POST {} with grant_type=client_credentials and HTTP Basic.",
        merchant,
        key.key_id,
        key.secret.expose(),
        // Without `direct` the issuer serves this route to its edges alone.
        if app.direct {
            "/oauth/token"
        } else {
            "/auth/oauth/token at an edge, which `margrave edges add` registers,"
        },
    );
    output.print(
        &text,
        &json!({ "merchant_id": merchant, "key_id": key.key_id, "secret": key.secret.expose() }),
    );
}
