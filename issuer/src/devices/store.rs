//! The devices' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, DeviceId};
use margrave_shared::time::UnixMs;

const PUT: &str = "INSERT INTO devices (id, account_id, kind, target_hash, sealed, created_at, seen_at)
    VALUES ($1, $2, $3, $4, $5, $6, $6)
    ON CONFLICT (target_hash) DO UPDATE SET sealed = excluded.sealed, seen_at = excluded.seen_at
    WHERE devices.account_id = excluded.account_id";
const FIND_ID: &str = "SELECT id FROM devices WHERE target_hash = $1";
const FIND_ALL: &str =
    "SELECT id, kind, sealed, created_at, seen_at FROM devices WHERE account_id = $1 ORDER BY id";
const COUNT_OTHERS: &str = "SELECT COUNT(*) FROM devices WHERE account_id = $1 AND target_hash <> $2";
const TAKE_FROM_OTHERS: &str =
    "DELETE FROM devices WHERE target_hash = $1 AND account_id <> $2 RETURNING account_id";
const DELETE: &str = "DELETE FROM devices WHERE account_id = $1 AND id = $2";
const DELETE_ALL: &str = "DELETE FROM devices WHERE account_id = $1";
const DELETE_DEAD: &str = "DELETE FROM devices WHERE id IN
    (SELECT id FROM devices WHERE seen_at < $1 ORDER BY seen_at LIMIT $2) AND seen_at < $1";

#[cfg(test)]
const ALL: &[&str] =
    &[PUT, FIND_ID, FIND_ALL, COUNT_OTHERS, TAKE_FROM_OTHERS, DELETE, DELETE_ALL, DELETE_DEAD];

/// A device to be put.
pub(super) struct DeviceToPut<'a> {
    pub(super) id: &'a DeviceId,
    pub(super) account: &'a AccountId,
    pub(super) kind: &'static str,
    pub(super) target_hash: &'a [u8; 32],
    pub(super) sealed: &'a [u8],
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) sealed: Vec<u8>,
    pub(super) created_at: i64,
    pub(super) seen_at: i64,
}

/// Puts a device; one that is there already is renewed. `false` where it is another account's.
pub(super) async fn put_device(
    tx: &mut Tx,
    device: &DeviceToPut<'_>,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(PUT)
        .bind(device.id.as_str())
        .bind(device.account.as_str())
        .bind(device.kind)
        .bind(device.target_hash.as_slice())
        .bind(device.sealed)
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// The id under which a target is known.
pub(super) async fn find_id(tx: &mut Tx, target_hash: &[u8; 32]) -> Result<Option<DeviceId>, StorageError> {
    let id: Option<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_ID).bind(target_hash.as_slice()).fetch_optional(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "devices", column: "id" };
    id.map(|id| DeviceId::parse(&id).map_err(corrupt)).transpose()
}

/// An account's devices.
pub(super) async fn find_all(tx: &mut Tx, account: &AccountId) -> Result<Vec<Row>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND_ALL).bind(account.as_str()).fetch_all(c).await)
}

/// How many an account has beside this one.
pub(super) async fn count_others(
    tx: &mut Tx,
    account: &AccountId,
    target_hash: &[u8; 32],
) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(COUNT_OTHERS)
        .bind(account.as_str())
        .bind(target_hash.as_slice())
        .fetch_one(c)
        .await)
}

/// Takes a target away from whoever else had it; gives whose it was.
pub(super) async fn take_from_others(
    tx: &mut Tx,
    target_hash: &[u8; 32],
    account: &AccountId,
) -> Result<Vec<String>, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(TAKE_FROM_OTHERS)
        .bind(target_hash.as_slice())
        .bind(account.as_str())
        .fetch_all(c)
        .await)
}

/// Takes a device away; `false` where the account has none of this id.
pub(super) async fn delete_device(
    tx: &mut Tx,
    account: &AccountId,
    id: &DeviceId,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE)
        .bind(account.as_str())
        .bind(id.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Takes all of an account's devices away.
pub(crate) async fn delete_devices(tx: &mut Tx, account: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_ALL).bind(account.as_str()).execute(c).await.map(|_| ()))
}

/// Takes those away that were not seen since; gives how many.
pub(super) async fn delete_unseen(tx: &mut Tx, unseen_since: UnixMs, most: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(unseen_since.0)
        .bind(most)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
