//! Closing a merchant: nobody of it gets in any more, and who is in is put out.

use super::end_merchant_sessions::end_everything_of;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{find_merchant, revoke_all_keys, update_disabled};
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
    if find_merchant(&mut tx, id).await?.is_none() {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_merchant"));
    }
    if !update_disabled(&mut tx, id, now).await? {
        return Err(Failure::denied(ErrorCode::Conflict, "disabled_or_platform"));
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
