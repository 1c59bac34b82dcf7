//! Disabling an account, and ending everything it has.

use crate::accounts::{self, Account, find_account};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::recovery::call_off_reset;
use crate::sessions::end_all;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;

async fn existing(tx: &mut Tx, id: &AccountId) -> Result<Account, Failure> {
    find_account(tx, id).await?.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))
}

/// Disables an account: nobody logs in, every session and token ends.
///
/// # Errors
/// `not_found`; `conflict` when it is disabled already.
pub(crate) async fn disable_account(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = existing(&mut tx, id).await?;
    if !accounts::disable_account(&mut tx, id, now).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is disabled already"));
    }
    // So that enabling it brings back nothing that was under way.
    call_off_reset(app, &mut tx, &account, "account_disabled", actor, caller).await?;
    let entry = Entry::done("account.disable")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    end_all(app, &mut tx, &account.merchant_id, id, actor, caller, now).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

/// Opens a disabled account. Its tokens and sessions stay ended.
///
/// # Errors
/// `not_found`; `conflict` when it is not disabled, or is erased.
pub(crate) async fn enable_account(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = existing(&mut tx, id).await?;
    if !accounts::enable_account(&mut tx, id).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is not disabled, or it is erased"));
    }
    let entry = Entry::done("account.enable")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// Ends every session and token of an account.
///
/// # Errors
/// `not_found`.
pub(crate) async fn end_account_sessions(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = existing(&mut tx, id).await?;
    end_all(app, &mut tx, &account.merchant_id, id, actor, caller, now).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

/// Opens an account that too many wrong passwords have closed.
///
/// # Errors
/// `not_found`.
pub(crate) async fn reset_account_failures(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = existing(&mut tx, id).await?;
    accounts::reset_failures(&mut tx, id).await?;
    let entry = Entry::done("account.reset_failures")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}
