//! `margrave applications`

use super::merchants::merchant_id;
use super::{CommandError, Output};
use crate::app::App;
use crate::applications::{Class, create_application};
use crate::http::context::Caller;
use clap::Subcommand;
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
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let Command::Create { merchant, name, class } = command;
    let class = Class::parse(class)
        .ok_or_else(|| CommandError::Text(format!("--class {class}: it is `web` or `mobile`")))?;
    let (merchant, caller) = (merchant_id(merchant)?, Caller::operator());
    let mut tx = app.db.begin().await?;
    let application = create_application(app, &mut tx, &merchant, name, class, "operator", &caller).await?;
    tx.commit().await?;
    output.print(&format!("client {}", application.id), &json!({ "client_id": application.id }));
    Ok(())
}
