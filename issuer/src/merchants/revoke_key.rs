//! Revoking a merchant key: its tokens end at every edge.

use super::store;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::revocations;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::time::UnixMs;

/// Revokes all keys of a merchant, by their ids, in a transaction of the caller's, who publishes what is given: the feed's counter is
/// locked last.
///
/// # Errors
/// The database's.
pub(crate) async fn revoke_all_keys(
    tx: &mut Tx,
    id: &MerchantId,
    now: UnixMs,
) -> Result<Vec<KeyId>, StorageError> {
    let mut keys: Vec<_> = store::find_keys(tx, id).await?.into_iter().map(|key| key.key_id).collect();
    keys.sort();
    let mut revoked = Vec::new();
    for key_id in keys {
        if store::update_revoked(tx, &key_id, id, now).await? {
            revoked.push(key_id);
        }
    }
    Ok(revoked)
}

/// Revokes a key of a merchant.
///
/// # Errors
/// `not_found` for a key that is not this merchant's or is revoked already.
pub(crate) async fn revoke_key(
    app: &App,
    merchant_id: &MerchantId,
    key_id: &KeyId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if !store::update_revoked(&mut tx, key_id, merchant_id, now).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_key"));
    }
    revocations::publish(app, &mut tx, &Ended::Key { key_id: key_id.clone() }, now).await?;
    let entry = Entry::done("key.revoke").merchant(merchant_id).actor(actor).subject(format!("key:{key_id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}
