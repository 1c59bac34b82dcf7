//! Setting a password with a reset's token.

use super::{Reset, store};
use crate::accounts::{Account, find_account, lock_account, reset_failures};
use crate::app::App;
use crate::audit::Entry;
use crate::devices::forget_devices;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{find_key, find_merchant};
use crate::passwords::put_hash;
use crate::permissions::find_held;
use crate::sessions::end_all;
use crate::storage::{StorageError, Tx};
use margrave_shared::account_reset::{MAY_RESET, ResetRefused, StartedReset, decide};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, KeyId};
use margrave_shared::password::policy::check_new;
use margrave_shared::permission::{Permission, holds};
use margrave_shared::secret::SecretText;
use margrave_shared::time::UnixMs;
use margrave_shared::token::opaque::is_reset_token;

/// Sets a password with a token, which is used up by it. Every session and token of the account ends, its known devices are
/// forgotten, and it is open again if too many wrong passwords had closed it. Gives the account as it is now.
///
/// # Errors
/// `authentication_failed` for a token that counts for nothing now, whatever the cause; `invalid_password`; `overloaded`.
pub(super) async fn confirm_reset(
    app: &App,
    token: &SecretText,
    password: &SecretText,
    caller: &Caller,
) -> Result<Account, Failure> {
    let normal = check_new(password, app.min_password_chars)
        .map_err(|problem| Failure::explained(ErrorCode::InvalidPassword, problem.to_string()))?;
    // Looked at before anything is hashed: who makes tokens up does not get our processors to work.
    let mut tx = app.db.glance().await?;
    let id =
        if is_reset_token(token.expose()) { store::find_account_of(&mut tx, token).await? } else { None };
    let Some(id) = id else {
        drop(tx);
        let entry = Entry::refused("account.complete_reset", ResetRefused::Unknown.as_str());
        app.audit.write_alone(&app.db, entry, caller, app.clock.now(), app.entropy.bytes()).await?;
        return Err(refused(ResetRefused::Unknown));
    };
    let verdict = judge(app, &mut tx, &id, token).await?;
    drop(tx);
    let hash = match verdict {
        Ok(()) => Some(app.kdf.hash(normal, caller.address, app.entropy.bytes()).await?),
        Err(_) => None,
    };

    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = lock_account(&mut tx, &id).await?.map(|(account, _)| account);
    let account = account.ok_or(Failure::Internal("a reset of no account"))?;
    // What was true before hashing must still be.
    let verdict = judge(app, &mut tx, &id, token).await?;
    let subject = format!("account:{id}");
    let entry = |entry: Entry| {
        entry
            .merchant(&account.merchant_id)
            .actor(subject.clone())
            .subject(subject.clone())
            .person(account.person())
    };
    let (Ok(()), Some(hash)) = (verdict, hash) else {
        let why = verdict.err().unwrap_or(ResetRefused::TooEarly);
        let entry = entry(Entry::refused("account.complete_reset", why.as_str()));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
        tx.commit().await?;
        return Err(refused(why));
    };
    store::delete_reset(&mut tx, &id).await?;
    put_hash(&mut tx, &id, &hash, now).await?;
    reset_failures(&mut tx, &id).await?;
    // Whoever knew the old password may have made a device known.
    forget_devices(&mut tx, &id).await?;
    end_all(app, &mut tx, &account.merchant_id, &id, &subject, caller, now).await?;
    let entry = entry(Entry::done("account.complete_reset"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let account = find_account(&mut tx, &id).await?.ok_or(Failure::Internal("an account went away"))?;
    tx.commit().await?;
    app.feed.notify();
    Ok(account)
}

fn refused(why: ResetRefused) -> Failure {
    Failure::denied(ErrorCode::AuthenticationFailed, why.as_str())
}

/// Whether the token counts now.
async fn judge(
    app: &App,
    tx: &mut Tx,
    id: &AccountId,
    token: &SecretText,
) -> Result<Result<(), ResetRefused>, Failure> {
    // By the token once more: it may have been used, or another have taken its place.
    let (of, reset) = (store::find_account_of(tx, token).await?, store::find_reset(tx, id).await?);
    let account = find_account(tx, id).await?.filter(|account| account.erased_at.is_none());
    let (Some(account), Some(reset)) = (account, reset.filter(|_| of.as_ref() == Some(id))) else {
        return Ok(Err(ResetRefused::Unknown));
    };
    let merchant = find_merchant(tx, &account.merchant_id).await?;
    let is_closed = merchant.is_none_or(|merchant| merchant.disabled_at.is_some());
    let now = app.clock.now();
    let started = StartedReset {
        usable_at: reset.usable_at,
        expires_at: reset.expires_at,
        scope: &reset.scope,
        starter_stands: starter_stands(tx, &reset, now).await?,
    };
    Ok(decide(&started, is_closed, &find_held(tx, &account).await?, now))
}

/// Whether who started it may do so still: a key that lives, whose permissions are what they were; a person who holds the right, and of
/// whom nothing was ended since, as whatever takes a right away does.
async fn starter_stands(tx: &mut Tx, reset: &Reset, now: UnixMs) -> Result<bool, StorageError> {
    match reset.started_by.split_once(':') {
        Some(("key", id)) => {
            let Ok(id) = KeyId::parse(id) else { return Ok(false) };
            let key = find_key(tx, &id).await?;
            Ok(key.is_some_and(|key| key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now)))
        }
        Some(("account", id)) => {
            let (Ok(id), Ok(right)) = (AccountId::parse(id), Permission::parse(MAY_RESET)) else {
                return Ok(false);
            };
            let starter = find_account(tx, &id).await?.filter(|starter| {
                starter.disabled_at.is_none() && Some(starter.generation) == reset.starter_generation
            });
            match starter {
                Some(starter) => Ok(holds(&find_held(tx, &starter).await?, &right)),
                None => Ok(false),
            }
        }
        // From a shell.
        _ => Ok(reset.started_by == "operator"),
    }
}
