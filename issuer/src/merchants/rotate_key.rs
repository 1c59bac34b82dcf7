//! Rotating a merchant key: a new one beside the old, which lives on for the overlap.

use super::create_key::{NewKey, insert};
use super::{IssuedKey, find_limits, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{KeyId, MerchantId};

/// How long the old key lives on, in seconds: a day, or less if it expires sooner.
const OVERLAP_S: i64 = 86400;

/// Rotates a key. The new one has the same permissions and the same length of life.
///
/// # Errors
/// `not_found` for a key that is not this merchant's or is dead; `conflict` when it has a live successor already.
pub(crate) async fn rotate_key(
    app: &App,
    merchant_id: &MerchantId,
    key_id: &KeyId,
    actor: &str,
    caller: &Caller,
) -> Result<IssuedKey, Failure> {
    let mut tx = app.db.begin().await?;
    let issued = rotate_key_in(app, &mut tx, merchant_id, key_id, actor, caller).await?;
    tx.commit().await?;
    Ok(issued)
}

/// The same within a transaction.
pub(crate) async fn rotate_key_in(
    app: &App,
    tx: &mut Tx,
    merchant_id: &MerchantId,
    key_id: &KeyId,
    actor: &str,
    caller: &Caller,
) -> Result<IssuedKey, Failure> {
    let now = app.clock.now();
    // Of two rotations, or a rotation and a revocation, the second finds what the first has done.
    store::lock_key(tx, key_id).await?;
    let stored = store::find_key(tx, key_id).await?;
    let alive = stored.filter(|key| {
        key.merchant_id == *merchant_id
            && key.revoked_at.is_none()
            && key.expires_at.is_none_or(|at| at > now)
    });
    let old = alive.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_key"))?;
    if store::count_successors(tx, key_id, now).await? > 0 {
        return Err(Failure::explained(ErrorCode::Conflict, "this key has been rotated already"));
    }
    let is_limited = find_limits(tx, merchant_id).await?.keys.is_some();
    if is_limited && store::count_predecessors(tx, key_id, now).await? > 0 {
        let text =
            "this key came from one that still lives: revoke that one, or wait until their overlap is over";
        return Err(Failure::explained(ErrorCode::LimitReached, text));
    }
    let life_ms = old.expires_at.map(|at| at.since(old.created_at));
    let new = NewKey { permissions: old.permissions, expires_at: life_ms.map(|ms| now.plus_ms(ms)) };
    let issued = insert(app, tx, merchant_id, &new, Some(key_id), now).await?;
    store::update_expiry(tx, key_id, merchant_id, now.plus_seconds(OVERLAP_S)).await?;
    let entry = Entry::done("key.rotate").merchant(merchant_id).actor(actor).subject(format!("key:{key_id}"));
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(issued)
}
