//! `margrave accounts`

use super::merchants::merchant_id;
use super::{CommandError, Output};
use crate::accounts::{NewAccount, create_account, find_by_login, forget_account_devices};
use crate::admin::{
    disable_account, end_account_sessions, erase_account, export_account, reset_account_failures,
};
use crate::app::App;
use crate::http::context::Caller;
use clap::Subcommand;
use margrave_shared::id::AccountId;
use margrave_shared::login::Login;
use margrave_shared::secret::SecretText;
use serde_json::json;
use std::io::BufRead as _;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its password is read from standard input, never from an argument.
    Create {
        /// The merchant's id.
        merchant: String,
        /// Its username.
        username: String,
    },
    /// Show an account by its login.
    Find {
        /// Username or X-address.
        login: String,
    },
    /// Disable an account and end everything it has.
    Disable {
        /// The account's id.
        account: String,
    },
    /// Open an account that too many wrong passwords have closed. Ask its owner first.
    ResetFailures {
        /// The account's id.
        account: String,
    },
    /// Make every known device of an account a stranger: for an owner who says "that was not me".
    ForgetDevices {
        /// The account's id.
        account: String,
    },
    /// Erase an account for good: its name, its password, and what is personal of it in the audit.
    Erase {
        /// The account's id.
        account: String,
        /// Said to show that this is meant.
        #[arg(long, required = true)]
        for_good: bool,
    },
    /// Write what is known of a person, as JSON: the account, its sessions, and the audit's entries with what is personal.
    Export {
        /// The account's id.
        account: String,
    },
    /// End every session and token of an account.
    EndSessions {
        /// The account's id.
        account: String,
    },
}

fn account_id(text: &str) -> Result<AccountId, CommandError> {
    AccountId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    match command {
        Command::Create { merchant, username } => {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|error| CommandError::Text(format!("the password cannot be read: {error}")))?;
            let password = SecretText::new(line.trim_end_matches(['\r', '\n']).to_owned());
            let new = NewAccount { username: username.clone(), password: Some(password) };
            let account = create_account(app, &merchant_id(merchant)?, new, "operator", &caller).await?;
            output.print(
                &format!("account   {}\nx_address {}", account.id, account.x_address),
                &json!({ "account_id": account.id, "x_address": account.x_address }),
            );
        }
        Command::Find { login } => {
            let mut tx = app.db.read().await?;
            let account = find_by_login(&mut tx, &Login::parse(login)).await?;
            let account =
                account.ok_or_else(|| CommandError::Text(format!("nobody has the login {login}")))?;
            let state = if account.disabled_at.is_some() { "disabled" } else { "active" };
            let text = format!("{}  {}  {}  {state}", account.id, account.username, account.x_address);
            output.print(&text, &json!({ "account": account }));
        }
        Command::Disable { account } => {
            disable_account(app, &account_id(account)?, "operator", &caller).await?;
            output.print("disabled", &json!({ "disabled": account }));
        }
        Command::ResetFailures { account } => {
            reset_account_failures(app, &account_id(account)?, "operator", &caller).await?;
            output.print("reset", &json!({ "reset": account }));
        }
        Command::ForgetDevices { account } => {
            forget_account_devices(app, &account_id(account)?, "operator", &caller).await?;
            output.print("forgotten", &json!({ "forgotten": account }));
        }
        Command::Erase { account, for_good: _ } => {
            erase_account(app, &account_id(account)?, "operator", &caller).await?;
            output.print("erased; copies of the database still hold it", &json!({ "erased": account }));
        }
        Command::Export { account } => {
            let whole = export_account(app, &account_id(account)?, "operator", &caller).await?;
            println!("{whole}");
        }
        Command::EndSessions { account } => {
            end_account_sessions(app, &account_id(account)?, "operator", &caller).await?;
            output.print("ended", &json!({ "ended": account }));
        }
    }
    Ok(())
}
