//! `margrave admin`

use super::{CommandError, Output};
use crate::app::App;
use crate::http::context::Caller;
use crate::merchants::{NewKey, NewMerchant, Service, create_key, create_merchant};
use clap::Subcommand;
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
    let Command::Create { name, service } = command;
    let caller = Caller::operator();
    let new = NewMerchant {
        name: name.clone(),
        platform: true,
        services: read_services(service)?,
        settings: crate::merchants::MerchantSettings::default(),
    };
    let merchant = create_merchant(app, new, "operator", &caller).await?;
    let permissions = parse_scope("admin:* platform:*").unwrap_or_default();
    let key = NewKey { permissions, expires_at: None };
    let key = create_key(app, &merchant.id, &key, "operator", &caller).await?;
    let text = format!(
        "merchant {}\nkey      {}\nsecret   {}\nThe secret is shown this once. Exchange it for a token at \
         POST {} with grant_type=client_credentials and HTTP Basic.",
        merchant.id,
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
        &json!({ "merchant_id": merchant.id, "key_id": key.key_id, "secret": key.secret.expose() }),
    );
    Ok(())
}
