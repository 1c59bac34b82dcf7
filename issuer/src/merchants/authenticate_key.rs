//! A merchant key presents itself by HTTP Basic.

use super::store::FoundKey;
use super::{Merchant, MerchantKey, Service, store};
use crate::app::App;
use crate::failure::Failure;
use crate::storage::{Db, Joint, StorageError, Tx};
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::KeyId;
use margrave_shared::secret::{equal_in_constant_time, secret_hash};
use margrave_shared::time::UnixMs;
use margrave_shared::token::opaque;

/// A key that has proven itself, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticatedKey {
    /// The key.
    pub(crate) key: MerchantKey,
    /// Its merchant.
    pub(crate) merchant: Merchant,
    /// The merchant's services.
    pub(crate) services: Vec<Service>,
}

/// Checks a key. Unknown, wrong, expired, revoked and of a disabled merchant are one answer in bytes, and in time but for
/// the rows that the database finds for an id that exists: ids are no secrets, and what is found is read only for who
/// knows the secret.
///
/// # Errors
/// `invalid_client`, with the reason for the audit.
pub(crate) async fn authenticate_key(
    tx: &mut Tx,
    basic: &Basic,
    now: UnixMs,
) -> Result<AuthenticatedKey, Failure> {
    let found = store::find_key_with_all(tx, &presented(basic)?).await?;
    judge(found, basic, now)
}

/// The same together with all who present keys at once.
///
/// # Errors
/// As of [`authenticate_key`].
pub(crate) async fn authenticate_key_among_many(
    app: &App,
    basic: &Basic,
    now: UnixMs,
) -> Result<AuthenticatedKey, Failure> {
    let found = app.presented_keys.join(&app.db, presented(basic)?).await?;
    judge(found, basic, now)
}

/// Keys that are looked up together. What is found is of after the moment at which it was asked for: a key that was revoked before is
/// found revoked.
#[derive(Debug)]
pub(crate) struct PresentedKeys;

impl Joint for PresentedKeys {
    type Part = KeyId;
    type Word = Option<FoundKey>;
    const NAME: &'static str = "looking up keys";
    const IS_WRITTEN: bool = false;
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx, ids: &[KeyId]) -> Result<Vec<Option<FoundKey>>, StorageError> {
        let wanted = ids.iter().map(KeyId::as_str).collect();
        let found = store::find_each_key_with_all(tx, &wanted).await?;
        Ok(ids.iter().map(|id| found.get(id.as_str()).cloned()).collect())
    }
}

const fn refuse(reason: &'static str) -> Failure {
    Failure::denied(ErrorCode::InvalidClient, reason)
}

/// The id of what may be a key.
fn presented(basic: &Basic) -> Result<KeyId, Failure> {
    let key_id = KeyId::parse(&basic.id).map_err(|_| refuse("malformed_key"))?;
    if opaque::is_key_secret(basic.secret.expose()) { Ok(key_id) } else { Err(refuse("malformed_key")) }
}

fn judge(found: Option<FoundKey>, basic: &Basic, now: UnixMs) -> Result<AuthenticatedKey, Failure> {
    let presented = secret_hash(basic.secret.expose());
    let expected = found.as_ref().map_or([0; 32].as_slice(), |found| found.secret_hash());
    let right = equal_in_constant_time(expected, &presented);
    let found = found.ok_or(refuse("unknown_key"))?;
    if !right {
        return Err(refuse("wrong_secret"));
    }
    let authenticated = found.read()?;
    let AuthenticatedKey { key, merchant, .. } = &authenticated;
    if key.revoked_at.is_some() {
        return Err(refuse("revoked_key"));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(refuse("expired_key"));
    }
    if merchant.disabled_at.is_some() {
        return Err(refuse("disabled_merchant"));
    }
    Ok(authenticated)
}

/// Remembers that a key was used, once a minute.
///
/// # Errors
/// [`StorageError`].
pub(crate) async fn remember_use(db: &Db, key: &MerchantKey, now: UnixMs) -> Result<(), StorageError> {
    if key.last_used_at.is_some_and(|at| now.since(at) < 60_000) {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    store::update_last_used(&mut tx, &key.key_id, now).await?;
    tx.commit().await
}
