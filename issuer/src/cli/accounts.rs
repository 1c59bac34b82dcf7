//! `margrave accounts`

use super::merchants::merchant_id;
use super::{CommandError, Output, operator, read_json, read_secret, say};
use crate::accounts::{
    Account, AccountSettings, Filter, Imported, ImportedAccount, NewAccount, Unused, create_account,
    end_import, find_account, find_by_login, find_by_merchant, import_account,
};
use crate::admin::{
    disable_account, enable_account, end_account_sessions, erase_account, export_account,
    reset_account_failures,
};
use crate::app::App;
use crate::devices::forget_account_devices;
use crate::http::context::Caller;
use crate::permissions::{AccountRights, change_rights, find_rights};
use crate::recovery::{Starter, cancel_reset, start_reset_in};
use clap::Subcommand;
use margrave_shared::account_reset::ResetReason;
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::login::Login;
use margrave_shared::role::RoleName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its password is read from standard input, never from an argument.
    Create {
        /// The merchant's id.
        merchant: String,
        /// Its username.
        username: String,
    },
    /// Make accounts from a file of JSON lines, `{"username": "…", "password_hash": "…"}`, with hashes that another system made: bcrypt,
    /// scrypt, PBKDF2 or argon2. Each becomes ours at the first right password. It may be run again.
    Import {
        /// The merchant's id.
        merchant: String,
        /// The file.
        file: PathBuf,
    },
    /// Say how many imported passwords have not been used yet; when none is left, logins cost no more than before the import.
    EndImport {
        /// The merchant's id.
        merchant: String,
        /// Take away those that have not been used: their owners have no password any more.
        #[arg(long)]
        take_away: bool,
    },
    /// Show an account by its login.
    Find {
        /// Username or X-address.
        login: String,
    },
    /// List a merchant's accounts.
    List {
        /// The merchant's id.
        merchant: String,
        /// Those who have this role.
        #[arg(long)]
        role: Option<String>,
        /// Those that are disabled.
        #[arg(long)]
        disabled: bool,
    },
    /// Show an account's roles, permissions and session settings, as JSON.
    Rights {
        /// The account's id.
        account: String,
    },
    /// Change them. Where it may do more or less than before, its tokens end.
    SetRights {
        /// The account's id.
        account: String,
        /// A file with what `rights` prints; `-` is standard input.
        file: PathBuf,
    },
    /// Disable an account and end everything it has.
    Disable {
        /// The account's id.
        account: String,
    },
    /// Open a disabled account.
    Enable {
        /// The account's id.
        account: String,
    },
    /// Open an account that too many wrong passwords have closed. Ask its owner first.
    ResetFailures {
        /// The account's id.
        account: String,
    },
    /// Start a reset: print a link by which its owner sets a password, after a while in which the owner may call it off
    /// (`reset.delay_s`).
    Reset {
        /// The account's id.
        account: String,
        /// Why: `forgotten_password`, `compromised`, `first_password` or `other`.
        #[arg(long, value_parser = reason)]
        reason: ResetReason,
    },
    /// Call off a reset that was started.
    CancelReset {
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

/// An account's rights in a file.
#[derive(Serialize, Deserialize)]
struct ReadRights {
    /// Of which version of the account they were read; without, they are meant whatever it has become.
    version: Option<i64>,
    roles: BTreeSet<RoleName>,
    #[serde(default)]
    settings: AccountSettings,
}

/// A time span in words.
fn lasting(ms: i64) -> String {
    match ms / 1000 {
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn reason(text: &str) -> Result<ResetReason, String> {
    let known = ResetReason::ALL.map(ResetReason::as_str).join(", ");
    ResetReason::parse(text).ok_or_else(|| format!("it is one of {known}"))
}

fn account_id(text: &str) -> Result<AccountId, CommandError> {
    AccountId::parse(text).map_err(|error| CommandError::Text(format!("{text}: {error}")))
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    let caller = Caller::operator();
    match command {
        Command::Create { merchant, username } => {
            let password = read_secret("the password")?;
            let new = NewAccount { username: username.clone(), password: Some(password) };
            let account = create_account(app, &merchant_id(merchant)?, new, "operator", &caller).await?;
            output.print(
                &format!("account   {}\nx_address {}", account.id, account.x_address),
                &json!({ "account_id": account.id, "x_address": account.x_address }),
            );
        }
        Command::Import { merchant, file } => import(app, merchant, file, output).await?,
        Command::EndImport { merchant, take_away } => {
            let unused = if *take_away { Unused::TakeAway } else { Unused::Keep };
            let left = end_import(app, &merchant_id(merchant)?, unused, &caller).await?;
            let text = match left {
                0 => "none is left: the import is over".to_owned(),
                left => format!("{left} imported passwords have not been used yet"),
            };
            output.print(&text, &json!({ "left": left }));
        }
        Command::Find { login } => {
            let mut tx = app.db.read().await?;
            let account = find_by_login(&mut tx, &Login::parse(login)).await?;
            let account =
                account.ok_or_else(|| CommandError::Text(format!("nobody has the login {login}")))?;
            output.print(&line(&account), &json!({ "account": account }));
        }
        Command::List { merchant, role, disabled } => {
            let filter =
                Filter { disabled: disabled.then_some(true), role: role.clone(), ..Filter::default() };
            list(app, &merchant_id(merchant)?, &filter, output).await?;
        }
        Command::Rights { account } => {
            let account = existing(app, &account_id(account)?).await?;
            let rights = find_rights(&mut app.db.read().await?, &account).await?;
            let AccountRights { roles, settings } = rights;
            let shown = ReadRights { version: Some(account.version), roles, settings };
            say(&format!("{:#}", json!(shown)));
        }
        Command::SetRights { account, file } => {
            let account = existing(app, &account_id(account)?).await?;
            let ReadRights { version, roles, settings } = read_json(file)?;
            let rights = AccountRights { roles, settings };
            let scope = operator::scope();
            let giver = operator::giver(app, &account.merchant_id, &scope).await?;
            let version = version.unwrap_or(account.version);
            change_rights(app, &account.id, &rights, version, giver, &caller).await?;
            output.print("changed", &json!({ "changed": account.id }));
        }
        Command::Disable { account } => {
            disable_account(app, &account_id(account)?, "operator", &caller).await?;
            output.print("disabled", &json!({ "disabled": account }));
        }
        Command::Enable { account } => {
            enable_account(app, &account_id(account)?, "operator", &caller).await?;
            output.print("enabled", &json!({ "enabled": account }));
        }
        Command::ResetFailures { account } => {
            reset_account_failures(app, &account_id(account)?, "operator", &caller).await?;
            output.print("reset", &json!({ "reset": account }));
        }
        Command::Reset { account, reason } => {
            let (id, scope) = (account_id(account)?, operator::scope());
            let mut tx = app.db.begin().await?;
            let by = Starter { actor: operator::ACTOR, scope: &scope, generation: None };
            let issued = start_reset_in(app, &mut tx, &id, *reason, by, &caller).await?;
            tx.commit().await?;
            let (link, reset) = (issued.link(&app.public_url), &issued.reset);
            let text = format!(
                "{link}\nThe link is shown this once. It works once: {} from now, for {}. Until it is used the account's owner may call \
                 it off.",
                lasting(reset.usable_at.since(reset.started_at)),
                lasting(reset.expires_at.since(reset.usable_at)),
            );
            let token = issued.token.expose();
            output.print(&text, &json!({ "token": token, "link": link, "reset": reset }));
        }
        Command::CancelReset { account } => {
            cancel_reset(app, &account_id(account)?, operator::ACTOR, &caller).await?;
            output.print("called off", &json!({ "cancelled": account }));
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
            say(&whole.to_string());
        }
        Command::EndSessions { account } => {
            end_account_sessions(app, &account_id(account)?, "operator", &caller).await?;
            output.print("ended", &json!({ "ended": account }));
        }
    }
    Ok(())
}

fn line(account: &Account) -> String {
    let state = if account.disabled_at.is_some() { "disabled" } else { "active" };
    format!("{}  {}  {}  {state}", account.id, account.username, account.x_address)
}

async fn existing(app: &App, id: &AccountId) -> Result<Account, CommandError> {
    let found = find_account(&mut app.db.read().await?, id).await?;
    found.ok_or_else(|| CommandError::Text(format!("there is no account {id}")))
}

/// Page by page: there may be millions.
async fn list(app: &App, merchant: &MerchantId, filter: &Filter, output: Output) -> Result<(), CommandError> {
    let mut after = String::new();
    loop {
        let mut tx = app.db.read().await?;
        let page = find_by_merchant(&mut tx, merchant, filter, &after, 200).await?;
        drop(tx);
        for account in &page {
            output.print(&line(account), &json!(account));
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.to_string();
    }
}

/// How many lines are told of by their numbers.
const MOST_TOLD: usize = 100;

async fn import(app: &App, merchant: &str, file: &Path, output: Output) -> Result<(), CommandError> {
    let merchant = merchant_id(merchant)?;
    let fail =
        |error: std::io::Error| CommandError::Text(format!("{} cannot be read: {error}", file.display()));
    let lines = std::io::BufReader::new(std::fs::File::open(file).map_err(fail)?).lines();
    let (mut made, mut there, mut refused) = (0, 0, Vec::new());
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(fail)?;
        if line.trim().is_empty() {
            continue;
        }
        let became = match serde_json::from_str::<ImportedAccount>(&line) {
            Ok(line) => import_account(app, &merchant, &line, &Caller::operator()).await?,
            // Its words would show what stands there.
            Err(_) => Imported::Refused("it is not {\"username\": …, \"password_hash\": …}".to_owned()),
        };
        match became {
            Imported::Made => made += 1,
            Imported::There => there += 1,
            Imported::Refused(why) => refused.push((number, why)),
        }
        if number % 1000 == 0 {
            eprintln!("  · {number} lines");
        }
    }
    let mut text = vec![format!(
        "{made} accounts were made, {there} were there already, {} lines were refused",
        refused.len()
    )];
    text.extend(refused.iter().take(MOST_TOLD).map(|(number, why)| format!("  line {number}: {why}")));
    let told: Vec<_> =
        refused.iter().take(MOST_TOLD).map(|(number, why)| json!({ "line": number, "why": why })).collect();
    output.print(
        &text.join("\n"),
        &json!({ "made": made, "there": there, "refused": refused.len(), "lines": told }),
    );
    if refused.is_empty() {
        return Ok(());
    }
    Err(CommandError::Text("some lines were refused: correct those and run it again".to_owned()))
}
