//! The buckets' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::limiter::pair::StoredPair;
use margrave_shared::time::UnixMs;

// The empty update locks a row that is there, and gives it. The time is the database's, of after the wait for the lock: issuers
// whose clocks differ would refill each other's buckets.
const LOCK_SQLITE: &str =
    "INSERT INTO attempt_buckets (key, attempts, wrong, attempts_of_all, all_outcomes, window_s, full_at)
    VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING attempts, wrong, attempts_of_all, all_outcomes, window_s,
    CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const LOCK_POSTGRES: &str =
    "INSERT INTO attempt_buckets (key, attempts, wrong, attempts_of_all, all_outcomes, window_s, full_at)
    VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING attempts, wrong, attempts_of_all, all_outcomes, window_s,
    CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
const UPDATE: &str = "UPDATE attempt_buckets SET attempts = $2, wrong = $3, attempts_of_all = $4,
    all_outcomes = $5, window_s = $6, full_at = $7 WHERE key = $1";
const DELETE_FULL_SQLITE: &str = "DELETE FROM attempt_buckets WHERE key IN
    (SELECT key FROM attempt_buckets WHERE full_at < $1 ORDER BY full_at LIMIT $2)";
// An attempt locks its buckets one after another; who deletes waits for none of them.
const DELETE_FULL_POSTGRES: &str = "DELETE FROM attempt_buckets WHERE key IN
    (SELECT key FROM attempt_buckets WHERE full_at < $1 ORDER BY full_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

#[cfg(test)]
pub(super) const OF_SQLITE: &[&str] = &[LOCK_SQLITE, UPDATE, DELETE_FULL_SQLITE];
#[cfg(test)]
pub(super) const OF_POSTGRES: &[&str] = &[LOCK_POSTGRES, UPDATE, DELETE_FULL_POSTGRES];

/// A bucket that is locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    /// What is stored.
    pub(super) pair: StoredPair,
    /// The window of the limit that it was stored by, in seconds.
    pub(super) window_s: i64,
    /// The database's time.
    pub(super) now: UnixMs,
}

/// Locks a bucket; one that is not there begins as `full`.
pub(super) async fn lock(
    tx: &mut Tx,
    key: &[u8; 16],
    full: StoredPair,
    window_s: i64,
) -> Result<Locked, StorageError> {
    let sql = match tx {
        Tx::Sqlite(_) => LOCK_SQLITE,
        Tx::Postgres(_) => LOCK_POSTGRES,
    };
    let (attempts, wrong, attempts_of_all, all, window_s, now) = on_tx!(tx, c => sqlx::query_as(sql)
        .bind(key.as_slice())
        .bind(full.attempts)
        .bind(full.wrong)
        .bind(full.attempts_of_all)
        .bind(full.all)
        .bind(window_s)
        .fetch_one(c)
        .await)?;
    let pair = StoredPair { attempts, wrong, attempts_of_all, all };
    Ok(Locked { pair, window_s, now: UnixMs(now) })
}

/// Stores a bucket that is locked.
pub(super) async fn update(
    tx: &mut Tx,
    key: &[u8; 16],
    pair: StoredPair,
    window_s: i64,
    full_at: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE)
        .bind(key.as_slice())
        .bind(pair.attempts)
        .bind(pair.wrong)
        .bind(pair.attempts_of_all)
        .bind(pair.all)
        .bind(window_s)
        .bind(full_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Deletes buckets that are full again; at most `limit`, gives how many.
pub(crate) async fn delete_full(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    let sql = match tx {
        Tx::Sqlite(_) => DELETE_FULL_SQLITE,
        Tx::Postgres(_) => DELETE_FULL_POSTGRES,
    };
    on_tx!(tx, c => sqlx::query(sql)
        .bind(now.0)
        .bind(limit)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}
