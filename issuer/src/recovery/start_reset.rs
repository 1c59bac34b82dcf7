//! Starting a reset, and calling one off.

use super::{IssuedReset, Reset, store};
use crate::accounts::{Account, lock_account};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::notify::{Notice, tell_operators};
use crate::permissions::find_held;
use crate::storage::{StorageError, Tx};
use margrave_shared::account_reset::{ResetReason, may_reset};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use margrave_shared::permission::Permission;
use margrave_shared::token::opaque;
use std::collections::BTreeSet;

/// Who starts a reset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Starter<'a> {
    /// As the audit names them.
    pub(crate) actor: &'a str,
    /// What they may do.
    pub(crate) scope: &'a BTreeSet<Permission>,
    /// Of a person, the generation of the token that they act by.
    pub(crate) generation: Option<i64>,
}

/// Starts a reset; one that was started before is called off by it. Nothing of the account changes until the token is used: its owner
/// logs in as ever, sees it, and may call it off. Of an account that is disabled nobody can, whoever knows its password.
///
/// # Errors
/// `not_found` for an account that is not there, or is erased; `insufficient_permission` for one's own account, and for one that may do
/// what who starts it could not give.
pub(crate) async fn start_reset_in(
    app: &App,
    tx: &mut Tx,
    id: &AccountId,
    reason: ResetReason,
    starter: Starter<'_>,
    caller: &Caller,
) -> Result<IssuedReset, Failure> {
    let Starter { actor, scope, generation } = starter;
    let now = app.clock.now();
    let account = locked(tx, id).await?;
    // Of one's own the password changes with the present one, not without.
    if actor == format!("account:{id}") {
        return Err(Failure::denied(ErrorCode::InsufficientPermission, "resets_themselves"));
    }
    let held = find_held(tx, &account).await?;
    if !may_reset(scope, &held) {
        return Err(Failure::denied(ErrorCode::InsufficientPermission, "resets_more_than_they_hold"));
    }
    let usable_at = now.plus_seconds(app.reset_config.delay_s);
    let reset = Reset {
        started_by: actor.to_owned(),
        scope: scope.clone(),
        starter_generation: generation,
        reason,
        started_at: now,
        usable_at,
        expires_at: usable_at.plus_seconds(app.reset_config.valid_s),
    };
    let issued = IssuedReset { token: opaque::reset_token(app.entropy.bytes()), reset };
    call_off_reset(app, tx, &account, "replaced", actor, caller).await?;
    store::put_reset(tx, id, &issued).await?;
    let entry = Entry::done_because("account.start_reset", reason.as_str())
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    if held.iter().any(Permission::is_privileged) {
        let (account, merchant) = (id, &account.merchant_id);
        let delay_s = app.reset_config.delay_s;
        let notice = Notice::AdministratorReset { account, merchant, by: actor, delay_s };
        tell_operators(app, tx, notice, now).await?;
    }
    Ok(issued)
}

/// Calls a reset off: its token is worth nothing.
///
/// # Errors
/// `not_found` where there is none.
pub(crate) async fn cancel_reset(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    let account = locked(&mut tx, id).await?;
    if !call_off_reset(app, &mut tx, &account, "asked", actor, caller).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_reset"));
    }
    Ok(tx.commit().await?)
}

/// Calls a reset off, if there is one, within something that makes it void. Whoever locks the account does so first, and whoever ends its
/// sessions afterwards. Gives whether there was one.
///
/// # Errors
/// The database's.
pub(crate) async fn call_off_reset(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    why: &'static str,
    actor: &str,
    caller: &Caller,
) -> Result<bool, StorageError> {
    if !store::delete_reset(tx, &account.id).await? {
        return Ok(false);
    }
    let entry = Entry::done_because("account.cancel_reset", why)
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{}", account.id));
    app.audit.write(tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?;
    Ok(true)
}

async fn locked(tx: &mut Tx, id: &AccountId) -> Result<Account, Failure> {
    let locked = lock_account(tx, id).await?.map(|(account, _)| account);
    let account = locked.filter(|account| account.erased_at.is_none());
    account.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))
}
