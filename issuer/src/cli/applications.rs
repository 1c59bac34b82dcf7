//! `margrave applications`

use super::merchants::merchant_id;
use super::operator::ACTOR;
use super::{CommandError, Output};
use crate::app::App;
use crate::applications::{
    Application, Class, create_application, disable_application, enable_application, find_applications,
};
use crate::http::context::Caller;
use clap::Subcommand;
use margrave_shared::id::ClientId;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a first-party application of a merchant.
    Create {
        /// The merchant's id.
        merchant: String,
        /// Its name.
        name: String,
        /// `web` or `mobile`: how long its sessions live.
        #[arg(long, default_value = "web")]
        class: String,
    },
    /// List a merchant's applications.
    List {
        /// The merchant's id.
        merchant: String,
    },
    /// Let nobody log in with an application any more. Its sessions go on until they end.
    Disable {
        /// The merchant's id.
        merchant: String,
        /// The application's client id.
        client: String,
    },
    /// Open a disabled application.
    Enable {
        /// The merchant's id.
        merchant: String,
        /// The application's client id.
        client: String,
    },
}

fn client_id(text: &str) -> Result<ClientId, CommandError> {
    ClientId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    match command {
        Command::Create { merchant, name, class } => {
            let class = Class::parse(class)
                .ok_or_else(|| CommandError::Text(format!("--class {class}: it is `web` or `mobile`")))?;
            let merchant = merchant_id(merchant)?;
            let mut tx = app.db.begin().await?;
            let application =
                create_application(app, &mut tx, &merchant, name, class, ACTOR, &caller).await?;
            tx.commit().await?;
            output.print(&format!("client {}", application.id), &json!({ "client_id": application.id }));
        }
        Command::List { merchant } => {
            let merchant = merchant_id(merchant)?;
            let applications = find_applications(&mut app.db.read().await?, &merchant, "", i64::MAX).await?;
            let line = |found: &Application| {
                let state = if found.disabled_at.is_some() { "disabled" } else { "active" };
                format!("{}  {state}  {}  {}", found.id, found.class.as_str(), found.name)
            };
            let lines: Vec<_> = applications.iter().map(line).collect();
            output.print(&lines.join("\n"), &json!({ "applications": applications }));
        }
        Command::Disable { merchant, client } => {
            disable_application(app, &merchant_id(merchant)?, &client_id(client)?, ACTOR, &caller).await?;
            output.print("disabled", &json!({ "disabled": client }));
        }
        Command::Enable { merchant, client } => {
            enable_application(app, &merchant_id(merchant)?, &client_id(client)?, ACTOR, &caller).await?;
            output.print("enabled", &json!({ "enabled": client }));
        }
    }
    Ok(())
}
