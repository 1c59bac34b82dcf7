//! A merchant key presents itself by HTTP Basic.

use super::{Merchant, MerchantKey, find_merchant, store};
use crate::failure::Failure;
use crate::storage::Tx;
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::KeyId;
use margrave_shared::secret::{equal_in_constant_time, secret_hash};
use margrave_shared::time::UnixMs;
use margrave_shared::token::opaque;

/// A key that has proven itself, and its merchant.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticatedKey {
    /// The key.
    pub(crate) key: MerchantKey,
    /// Its merchant.
    pub(crate) merchant: Merchant,
}

/// Checks a key. Unknown, wrong, expired, revoked and of a disabled merchant are one answer in bytes and, but for
/// the look at the merchant of a right key, in time.
///
/// # Errors
/// `invalid_client`, with the reason for the audit.
pub(crate) async fn authenticate_key(
    tx: &mut Tx,
    basic: &Basic,
    now: UnixMs,
) -> Result<AuthenticatedKey, Failure> {
    let refuse = |reason| Failure::denied(ErrorCode::InvalidClient, reason);
    let presented = secret_hash(basic.secret.expose());
    let key_id = KeyId::parse(&basic.id).map_err(|_| refuse("malformed_key"))?;
    if !opaque::is_key_secret(basic.secret.expose()) {
        return Err(refuse("malformed_key"));
    }
    let stored = store::find_key(tx, &key_id).await?;
    let expected = stored.as_ref().map_or([0; 32].as_slice(), |stored| stored.secret_hash.as_slice());
    let right = equal_in_constant_time(expected, &presented);
    let key = stored.map(|stored| stored.key).ok_or(refuse("unknown_key"))?;
    if !right {
        return Err(refuse("wrong_secret"));
    }
    if key.revoked_at.is_some() {
        return Err(refuse("revoked_key"));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(refuse("expired_key"));
    }
    let merchant = find_merchant(tx, &key.merchant_id).await?.ok_or(refuse("unknown_merchant"))?;
    if merchant.disabled_at.is_some() {
        return Err(refuse("disabled_merchant"));
    }
    store::update_last_used(tx, &key.key_id, now).await?;
    Ok(AuthenticatedKey { key, merchant })
}
