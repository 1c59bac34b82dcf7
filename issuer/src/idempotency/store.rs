//! The kept answers' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::time::UnixMs;

// Who comes second waits here until the first has committed.
const INSERT: &str =
    "INSERT INTO idempotent_answers (key, request, answer, expires_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO NOTHING";
const FIND: &str = "SELECT request, answer, expires_at FROM idempotent_answers WHERE key = $1";
const RENEW: &str = "UPDATE idempotent_answers SET request = $2, answer = $3, expires_at = $4
    WHERE key = $1 AND expires_at = $5";
const PUT_ANSWER: &str = "UPDATE idempotent_answers SET answer = $2 WHERE key = $1";
const DELETE_DEAD: &str = "DELETE FROM idempotent_answers WHERE key IN
    (SELECT key FROM idempotent_answers WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const ALL: &[&str] = &[INSERT, FIND, RENEW, PUT_ANSWER, DELETE_DEAD];

/// A kept answer.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Kept {
    /// A keyed hash of the request's body.
    pub(super) request: Vec<u8>,
    /// Sealed.
    pub(super) answer: Vec<u8>,
    expires_at: i64,
}

const NONE: &[u8] = &[];

/// Takes the place; `false` when it is taken.
pub(super) async fn insert(
    tx: &mut Tx,
    key: &[u8; 32],
    request: &[u8; 32],
    expires_at: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(key.as_slice())
        .bind(request.as_slice())
        .bind(NONE)
        .bind(expires_at.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn find(tx: &mut Tx, key: &[u8; 32]) -> Result<Option<Kept>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND).bind(key.as_slice()).fetch_optional(c).await)
}

impl Kept {
    /// Until when it counts.
    pub(super) const fn expires_at(&self) -> UnixMs {
        UnixMs(self.expires_at)
    }
}

/// Takes a place anew whose answer has expired.
pub(super) async fn renew(
    tx: &mut Tx,
    key: &[u8; 32],
    request: &[u8; 32],
    expires_at: UnixMs,
    expired_at: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(RENEW)
        .bind(key.as_slice())
        .bind(request.as_slice())
        .bind(NONE)
        .bind(expires_at.0)
        .bind(expired_at.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn update_answer(tx: &mut Tx, key: &[u8; 32], answer: &[u8]) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT_ANSWER)
        .bind(key.as_slice())
        .bind(answer)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Deletes answers that are not given any more; at most `limit`, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(now.0)
        .bind(limit)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}
