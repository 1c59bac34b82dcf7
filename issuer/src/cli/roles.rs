//! `margrave roles`

use super::merchants::merchant_id;
use super::{CommandError, Output, operator};
use crate::app::App;
use crate::http::context::Caller;
use crate::permissions::{change_role, create_role, delete_role, find_role, find_roles};
use clap::Subcommand;
use margrave_shared::permission::{parse_scope, print_scope};
use margrave_shared::role::RoleName;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a merchant's roles.
    List {
        /// The merchant's id.
        merchant: String,
    },
    /// Make a role, or change what it permits. Where that becomes less, the tokens of those who have it end.
    Put {
        /// The merchant's id.
        merchant: String,
        /// The role's name.
        role: String,
        /// Its permissions, separated by commas.
        #[arg(long)]
        permissions: String,
    },
    /// Delete a role. The tokens of those who have it end.
    Delete {
        /// The merchant's id.
        merchant: String,
        /// The role's name.
        role: String,
    },
}

fn role_name(text: &str) -> Result<RoleName, CommandError> {
    RoleName::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    match command {
        Command::List { merchant } => {
            let merchant = merchant_id(merchant)?;
            let roles = find_roles(&mut app.db.read().await?, &merchant, "", i64::MAX).await?;
            let lines: Vec<_> = roles
                .iter()
                .map(|role| format!("{}  {}", role.name, print_scope(&role.permissions)))
                .collect();
            output.print(&lines.join("\n"), &json!({ "roles": roles }));
        }
        Command::Put { merchant, role, permissions } => {
            let (merchant, name) = (merchant_id(merchant)?, role_name(role)?);
            let permissions = parse_scope(&permissions.replace(',', " "))
                .map_err(|error| CommandError::Text(format!("--permissions: {error}")))?;
            let scope = operator::scope();
            let giver = operator::giver(app, &merchant, &scope).await?;
            let before = find_role(&mut app.db.read().await?, &merchant, &name).await?;
            let role = match before {
                Some(role) => {
                    change_role(app, &merchant, &name, permissions, role.version, giver, &caller).await?
                }
                None => {
                    let mut tx = app.db.begin().await?;
                    let role =
                        create_role(app, &mut tx, &merchant, name, permissions, giver, &caller).await?;
                    tx.commit().await?;
                    role
                }
            };
            let text = format!("{}  {}", role.name, print_scope(&role.permissions));
            output.print(&text, &json!({ "role": role }));
        }
        Command::Delete { merchant, role } => {
            let (merchant, name) = (merchant_id(merchant)?, role_name(role)?);
            let found = find_role(&mut app.db.read().await?, &merchant, &name).await?;
            let found = found.ok_or_else(|| CommandError::Text(format!("there is no role {role}")))?;
            delete_role(app, &merchant, &name, found.version, operator::ACTOR, &caller).await?;
            output.print("deleted", &json!({ "deleted": name }));
        }
    }
    Ok(())
}
