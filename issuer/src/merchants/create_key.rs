//! Making a merchant key: its secret is shown once and stored as a hash.

use super::store::{self, KeyToInsert};
use super::{IssuedKey, Limited, check_limit, check_platform, find_merchant};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::Permission;
use margrave_shared::secret::secret_hash;
use margrave_shared::time::UnixMs;
use margrave_shared::token::opaque;
use std::collections::BTreeSet;

/// A key to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    /// What it permits.
    pub(crate) permissions: BTreeSet<Permission>,
    /// When it expires.
    pub(crate) expires_at: Option<UnixMs>,
}

/// The longest life of a key that has an end, ten years: who takes milliseconds for seconds is told.
const LONGEST_MS: i64 = 10 * 366 * 86_400_000;

/// Makes a key.
///
/// # Errors
/// `not_found` for an unknown or disabled merchant; `invalid_field` for no permissions, an expiry that has passed,
/// or permissions that no key, or no key of this merchant, may hold; `limit_reached`.
pub(crate) async fn create_key(
    app: &App,
    merchant_id: &MerchantId,
    new: &NewKey,
    actor: &str,
    caller: &Caller,
) -> Result<IssuedKey, Failure> {
    let mut tx = app.db.begin().await?;
    let issued = create_key_in(app, &mut tx, merchant_id, new, actor, caller).await?;
    tx.commit().await?;
    Ok(issued)
}

/// The same within a transaction.
pub(crate) async fn create_key_in(
    app: &App,
    tx: &mut Tx,
    merchant_id: &MerchantId,
    new: &NewKey,
    actor: &str,
    caller: &Caller,
) -> Result<IssuedKey, Failure> {
    let now = app.clock.now();
    let merchant = find_merchant(tx, merchant_id).await?.filter(|m| m.disabled_at.is_none());
    let merchant = merchant.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    let invalid = |text: &str| Err(Failure::explained(ErrorCode::InvalidField, text));
    if new.permissions.is_empty() {
        return invalid("`permissions` names at least one");
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return invalid("`expires_at` has passed");
    }
    if new.expires_at.is_some_and(|at| at.since(now) > LONGEST_MS) {
        return invalid("`expires_at` is in Unix seconds, and at most ten years ahead");
    }
    // C5: what changes factors can be had through factors only.
    if new.permissions.iter().any(|p| p.as_str() == "security") {
        return invalid("`security` is had through factors only");
    }
    check_platform(merchant.platform_at.is_some(), &new.permissions)?;
    check_limit(tx, merchant_id, Limited::Keys, now).await?;
    let issued = insert(app, tx, merchant_id, new, None, now).await?;
    let entry = Entry::done("key.create")
        .merchant(merchant_id)
        .actor(actor)
        .subject(format!("key:{}", issued.key_id));
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(issued)
}

pub(super) async fn insert(
    app: &App,
    tx: &mut Tx,
    merchant: &MerchantId,
    new: &NewKey,
    rotated_from: Option<&KeyId>,
    now: UnixMs,
) -> Result<IssuedKey, Failure> {
    let key_id = KeyId::from_random(app.entropy.bytes());
    let secret = opaque::key_secret(app.entropy.bytes());
    let key = KeyToInsert {
        id: &key_id,
        merchant,
        secret_hash: &secret_hash(secret.expose()),
        permissions: &new.permissions,
        expires_at: new.expires_at,
        rotated_from,
    };
    store::insert_key(tx, &key, now).await?;
    Ok(IssuedKey { key_id, secret, expires_at: new.expires_at })
}
