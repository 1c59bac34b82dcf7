//! Accounts of another system, with the hashes of passwords that it has made.

use super::create::insert_new;
use super::{Account, find_by_login};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{find_merchant, update_import_hash};
use crate::passwords::{Foreign, IMPORTED, count_foreign, delete_foreign};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::login::{Login, Username};
use serde::Deserialize;

/// One line of an import.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportedAccount {
    /// Its username.
    pub(crate) username: String,
    /// As [`Foreign`] reads it; without, the account has no password.
    #[serde(default)]
    pub(crate) password_hash: Option<String>,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Imported {
    /// It was made.
    Made,
    /// It is there already, at this merchant: an import may be run again.
    There,
    /// It was not made, and why.
    Refused(String),
}

/// Imports an account. It belongs to the merchant for good, as any other.
///
/// # Errors
/// The database's. What is wrong with the line is an answer.
pub(crate) async fn import_account(
    app: &App,
    merchant_id: &MerchantId,
    line: &ImportedAccount,
    caller: &Caller,
) -> Result<Imported, Failure> {
    let username = match Username::parse(&line.username) {
        Ok(username) => username,
        Err(problem) => return Ok(Imported::Refused(problem.to_string())),
    };
    let foreign = match line.password_hash.as_deref().map(Foreign::parse).transpose() {
        Ok(foreign) => foreign,
        Err(problem) => return Ok(Imported::Refused(format!("`password_hash`: {problem}"))),
    };
    let mut tx = app.db.begin().await?;
    let merchant = find_merchant(&mut tx, merchant_id).await?.filter(|m| m.disabled_at.is_none());
    let merchant = merchant.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    let there: Option<Account> = find_by_login(&mut tx, &Login::parse(&line.username)).await?;
    match there {
        Some(account) if account.merchant_id == *merchant_id => return Ok(Imported::There),
        Some(_) => return Ok(Imported::Refused("this username is taken".to_owned())),
        None => {}
    }
    let hash = line.password_hash.as_deref().map(|hash| format!("{IMPORTED}{hash}"));
    match insert_new(app, &mut tx, merchant_id, &username, hash.as_deref(), "operator", caller).await {
        Err(Failure::Denied(denial)) if denial.code == ErrorCode::UsernameTaken => {
            return Ok(Imported::Refused("this username is taken".to_owned()));
        }
        inserted => inserted?,
    };
    // Every attempt at this merchant costs from now on what the costliest of these does.
    let cost = |text: &str| Foreign::parse(text).map_or(0, |foreign| foreign.cost_ms());
    let costs_more = |foreign: &Foreign| {
        merchant.import_hash.as_deref().is_none_or(|before| cost(before) < foreign.cost_ms())
    };
    if let Some(foreign) = foreign.filter(costs_more) {
        update_import_hash(&mut tx, merchant_id, Some(&foreign.like_it())).await?;
    }
    tx.commit().await?;
    Ok(Imported::Made)
}

/// What is done with imported passwords that have not been used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unused {
    /// They stay.
    Keep,
    /// They are taken away: their owners have no password any more.
    TakeAway,
}

/// How many imported passwords are left that have not been used yet. When none is, attempts cost no more than elsewhere again.
///
/// # Errors
/// `not_found`.
pub(crate) async fn end_import(
    app: &App,
    merchant_id: &MerchantId,
    unused: Unused,
    caller: &Caller,
) -> Result<i64, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if find_merchant(&mut tx, merchant_id).await?.is_none() {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_merchant"));
    }
    let taken = match unused {
        Unused::Keep => 0,
        Unused::TakeAway => delete_foreign(&mut tx, merchant_id).await?,
    };
    let left = count_foreign(&mut tx, merchant_id).await?;
    if left == 0 {
        update_import_hash(&mut tx, merchant_id, None).await?;
        let entry = Entry::done("merchant.end_import")
            .merchant(merchant_id)
            .actor("operator")
            .subject(format!("taken:{taken}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await?;
    Ok(left)
}
