//! Closing a merchant: nobody of it gets in any more, and who is in is put out.

use super::end_merchant_sessions::end_everything_of;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{find_merchant, revoke_all_keys, update_disabled, update_enabled};
use crate::recovery::delete_resets_of;
use crate::revocations;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::MerchantId;

/// Disables a merchant: its keys are revoked, every session of its people ends with its tokens, and nobody logs in any more. In one
/// transaction: all of it or nothing.
///
/// # Errors
/// `not_found`, or `conflict` when it is disabled already or runs the system.
pub(crate) async fn disable_merchant(
    app: &App,
    id: &MerchantId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    let merchant = find_merchant(&mut tx, id).await?;
    let merchant = merchant.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    if merchant.platform_at.is_some() {
        return Err(Failure::explained(ErrorCode::Conflict, "this merchant runs the system"));
    }
    if !update_disabled(&mut tx, id, now).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is disabled already"));
    }
    // The feed's counter last: see `sessions::end_all` for the order of locks.
    let revoked = revoke_all_keys(&mut tx, id, now).await?;
    end_everything_of(app, &mut tx, id, now).await?;
    for key_id in revoked {
        revocations::publish(app, &mut tx, &Ended::Key { key_id }, now).await?;
    }
    let entry = Entry::done("merchant.disable").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

/// Opens a disabled merchant. Its keys stay revoked, and its sessions ended.
///
/// # Errors
/// `not_found`; `conflict` when it is not disabled.
pub(crate) async fn enable_merchant(
    app: &App,
    id: &MerchantId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    if find_merchant(&mut tx, id).await?.is_none() {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_merchant"));
    }
    // The merchant before its keys, as who closes it does.
    if !update_enabled(&mut tx, id).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is not disabled"));
    }
    // Nothing comes back that was under way. Not when it is closed: whoever uses one locks its account first.
    delete_resets_of(&mut tx, id).await?;
    // One that was being made while it was closed was not seen then.
    let revoked = revoke_all_keys(&mut tx, id, now).await?;
    for key_id in revoked {
        revocations::publish(app, &mut tx, &Ended::Key { key_id }, now).await?;
    }
    let entry = Entry::done("merchant.enable").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merchants::{NewKey, create_key, find_keys};
    use crate::storage::testing::on_both_databases;
    use crate::storage::{Db, on_tx};
    use crate::testing::World;
    use margrave_shared::permission::parse_scope;

    async fn what_was_ended_stays_ended_when_a_merchant_is_opened_again(db: Db) {
        let world = World::new(db).await;
        let (app, id, caller) = (&world.app, &world.merchant.id, Caller::operator());
        let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
        create_key(app, id, &new, "operator", &caller).await.unwrap();
        let before = world.log_in("alice").await.unwrap();
        let not_yet = enable_merchant(app, id, "operator", &caller).await;
        assert!(matches!(not_yet, Err(Failure::Denied(denial)) if denial.code == ErrorCode::Conflict));
        disable_merchant(app, id, "operator", &caller).await.unwrap();
        world.log_in("alice").await.unwrap_err();

        // As one that was on its way when it was closed.
        let late = "UPDATE merchant_keys SET revoked_at = NULL";
        let mut tx = app.db.begin().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query(late).execute(c).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
        enable_merchant(app, id, "operator", &caller).await.unwrap();
        world.refresh(&before).await.unwrap_err();
        let keys = find_keys(&mut app.db.read().await.unwrap(), id).await.unwrap();
        assert!(keys.iter().all(|key| key.revoked_at.is_some()), "{keys:?}");
        let after = world.log_in("alice").await.unwrap();
        world.refresh(&after).await.unwrap();
    }
    on_both_databases!(opened, super::what_was_ended_stays_ended_when_a_merchant_is_opened_again);
}
