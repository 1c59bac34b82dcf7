//! The security tokens' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId, TokenId};
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO security_tokens (jti, account_id, generation, expires_at) VALUES ($1, $2, $3, $4)";
const FIND: &str = "SELECT generation, consumed_at FROM security_tokens WHERE jti = $1";
const FIND_PROVEN: &str =
    "SELECT DISTINCT t.account_id FROM security_tokens t JOIN accounts a ON a.id = t.account_id
    WHERE a.merchant_id = $1 AND t.consumed_at IS NULL AND t.expires_at > $2";
const CONSUME: &str = "UPDATE security_tokens SET consumed_at = $2 WHERE jti = $1 AND consumed_at IS NULL";
const DELETE_DEAD: &str = "DELETE FROM security_tokens WHERE jti IN
    (SELECT jti FROM security_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, FIND_PROVEN, CONSUME, DELETE_DEAD];

pub(super) async fn insert_token(
    tx: &mut Tx,
    jti: &TokenId,
    account: &AccountId,
    generation: i64,
    expires_at: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(jti.as_str())
        .bind(account.as_str())
        .bind(generation)
        .bind(expires_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Which accounts of a merchant have proven something that is not spent yet.
pub(crate) async fn find_accounts_proven(
    tx: &mut Tx,
    merchant: &MerchantId,
    now: UnixMs,
) -> Result<Vec<AccountId>, StorageError> {
    let ids: Vec<String> = on_tx!(tx, c => sqlx::query_scalar(FIND_PROVEN)
        .bind(merchant.as_str())
        .bind(now.0)
        .fetch_all(c)
        .await)?;
    let corrupt = |_| StorageError::Corrupt { table: "security_tokens", column: "account_id" };
    ids.iter().map(|id| AccountId::parse(id).map_err(corrupt)).collect()
}

/// The generation for which a token was made, if it is there and not consumed.
pub(super) async fn find_unspent(tx: &mut Tx, jti: &TokenId) -> Result<Option<i64>, StorageError> {
    let row: Option<(i64, Option<i64>)> =
        on_tx!(tx, c => sqlx::query_as(FIND).bind(jti.as_str()).fetch_optional(c).await)?;
    Ok(row.filter(|(_, consumed_at)| consumed_at.is_none()).map(|(generation, _)| generation))
}

/// Consumes a token; `false` when somebody else was faster.
pub(super) async fn consume_token(tx: &mut Tx, jti: &TokenId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CONSUME)
        .bind(jti.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Deletes expired tokens; at most `limit`, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(now.plus_seconds(-60).0)
        .bind(limit)
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
