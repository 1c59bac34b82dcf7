//! The passwords' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::time::UnixMs;

const PUT: &str = "INSERT INTO passwords (account_id, hash, changed_at) VALUES ($1, $2, $3)
    ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at";
const FIND: &str = "SELECT hash FROM passwords WHERE account_id = $1";
const COUNT_FOREIGN: &str = "SELECT COUNT(*) FROM passwords p JOIN accounts a ON a.id = p.account_id
    WHERE a.merchant_id = $1 AND p.hash LIKE 'imported:%'";
const DELETE_FOREIGN: &str = "DELETE FROM passwords WHERE hash LIKE 'imported:%'
    AND account_id IN (SELECT id FROM accounts WHERE merchant_id = $1)";
const DELETE: &str = "DELETE FROM passwords WHERE account_id = $1";
const REPLACE: &str = "UPDATE passwords SET hash = $3, changed_at = $4 WHERE account_id = $1 AND hash = $2";

#[cfg(test)]
const ALL: &[&str] = &[PUT, FIND, COUNT_FOREIGN, DELETE_FOREIGN, DELETE, REPLACE];

/// Sets an account's password hash (a PHC string).
pub(crate) async fn put_hash(
    tx: &mut Tx,
    account: &AccountId,
    hash: &str,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT).bind(account.as_str()).bind(hash).bind(now.0).execute(c).await.map(|_| ()))
}

/// An account's password hash.
pub(crate) async fn find_hash(tx: &mut Tx, account: &AccountId) -> Result<Option<String>, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(FIND).bind(account.as_str()).fetch_optional(c).await)
}

/// How many accounts of a merchant still have a hash that another system made.
pub(crate) async fn count_foreign(tx: &mut Tx, merchant: &MerchantId) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(COUNT_FOREIGN).bind(merchant.as_str()).fetch_one(c).await)
}

/// Takes those passwords away; gives how many there were.
pub(crate) async fn delete_foreign(tx: &mut Tx, merchant: &MerchantId) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_FOREIGN)
        .bind(merchant.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

/// Replaces a hash; `false` when it is not there any more: somebody else was faster.
pub(crate) async fn replace_hash(
    tx: &mut Tx,
    account: &AccountId,
    old: &str,
    new: &str,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(REPLACE)
        .bind(account.as_str())
        .bind(old)
        .bind(new)
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Takes an account's password away.
pub(crate) async fn delete_hash(tx: &mut Tx, account: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE).bind(account.as_str()).execute(c).await.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
