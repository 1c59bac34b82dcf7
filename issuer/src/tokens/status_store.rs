//! The SQL of tokens' places in status lists.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::claims::PermissionClaims;
use margrave_shared::id::Kid;
use margrave_shared::time::UnixMs;
use margrave_shared::token::status_list::LIST_LEN;

const INSERT: &str = "INSERT INTO token_statuses
    (epoch, jti, kid, sid, account_id, generation, key_id, grant_id, appointment_id, until_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING number";
const FIND: &str = "SELECT number, jti, kid, sid, account_id, generation, key_id, grant_id, appointment_id
    FROM token_statuses WHERE number >= $1 AND number < $2 AND epoch = $3 AND until_s > $4";
const FIND_ONE: &str =
    "SELECT 1 FROM token_statuses WHERE number >= $1 AND number < $2 AND epoch = $3 AND until_s > $4 LIMIT 1";
const FIND_FIRST: &str = "SELECT number FROM token_statuses ORDER BY number LIMIT 1";
const FIND_LAST: &str = "SELECT number FROM token_statuses ORDER BY number DESC LIMIT 1";
const DELETE_DEAD: &str = "DELETE FROM token_statuses WHERE number IN
    (SELECT number FROM token_statuses WHERE until_s < $1 ORDER BY until_s LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, FIND_ONE, FIND_FIRST, FIND_LAST, DELETE_DEAD];

/// What a token's row says of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct StatusRow {
    /// Its number.
    pub(super) number: i64,
    pub(super) jti: String,
    pub(super) kid: String,
    pub(super) sid: Option<String>,
    pub(super) account_id: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) key_id: Option<String>,
    pub(super) grant_id: Option<String>,
    pub(super) appointment_id: Option<String>,
}

/// Gives a token its number.
pub(super) async fn insert(
    tx: &mut Tx,
    epoch: &str,
    claims: &PermissionClaims,
    kid: &Kid,
    until_s: i64,
) -> Result<i64, StorageError> {
    let concerned = claims.concerned(kid);
    on_tx!(tx, c => sqlx::query_scalar(INSERT)
        .bind(epoch)
        .bind(concerned.jti)
        .bind(concerned.kid)
        .bind(concerned.sid)
        .bind(concerned.person)
        .bind(concerned.generation)
        .bind(concerned.key_id)
        .bind(concerned.grant_id)
        .bind(concerned.appointment_id)
        .bind(until_s)
        .fetch_one(c)
        .await)
}

/// The living tokens of a list.
pub(super) async fn find(
    tx: &mut Tx,
    epoch: &str,
    list: i64,
    now: UnixMs,
) -> Result<Vec<StatusRow>, StorageError> {
    let (first, end) = numbers(list);
    on_tx!(tx, c => sqlx::query_as(FIND).bind(first).bind(end).bind(epoch).bind(now.seconds()).fetch_all(c).await)
}

/// Whether a list has a living token.
pub(super) async fn is_alive(tx: &mut Tx, epoch: &str, list: i64, now: UnixMs) -> Result<bool, StorageError> {
    let (first, end) = numbers(list);
    let found: Option<i32> = on_tx!(tx, c => sqlx::query_scalar(FIND_ONE)
        .bind(first)
        .bind(end)
        .bind(epoch)
        .bind(now.seconds())
        .fetch_optional(c)
        .await)?;
    Ok(found.is_some())
}

/// The first and the last list that may have living tokens.
pub(super) async fn find_range(tx: &mut Tx) -> Result<Option<(i64, i64)>, StorageError> {
    let first: Option<i64> = on_tx!(tx, c => sqlx::query_scalar(FIND_FIRST).fetch_optional(c).await)?;
    let last: Option<i64> = on_tx!(tx, c => sqlx::query_scalar(FIND_LAST).fetch_optional(c).await)?;
    Ok(first.zip(last).map(|(first, last)| (first.div_euclid(LIST_LEN), last.div_euclid(LIST_LEN))))
}

/// Deletes tokens that have died; at most `limit`, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(now.seconds())
        .bind(limit)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

fn numbers(list: i64) -> (i64, i64) {
    let first = list.saturating_mul(LIST_LEN);
    (first, first.saturating_add(LIST_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn its_statements_prepare(db: crate::storage::Db) {
        prepare_all(&db, ALL).await;
    }
    on_both_databases!(status_statements, super::its_statements_prepare);
}
