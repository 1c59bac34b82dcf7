//! The buckets' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::limiter::pair::StoredPair;
use margrave_shared::time::UnixMs;
use std::collections::BTreeMap;

// The empty update locks a row that is there, and gives it. Its time is the database's, of after the wait for the lock: issuers
// whose clocks differ would refill each other's buckets. On SQLite one writer has all rows.
const LOCK_SQLITE: &str =
    "INSERT INTO attempt_buckets (key, attempts, wrong, attempts_of_all, all_outcomes, window_s, full_at)
    VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING key, attempts, wrong, attempts_of_all, all_outcomes, window_s,
    CAST(unixepoch('subsec') * 1000 AS INTEGER) AS at";
const LOCK_POSTGRES: &str =
    "INSERT INTO attempt_buckets (key, attempts, wrong, attempts_of_all, all_outcomes, window_s, full_at)
    SELECT k, a, w, aa, al, s, 0 FROM UNNEST($1::BYTEA[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[])
    AS wanted (k, a, w, aa, al, s) ORDER BY k
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING key, attempts, wrong, attempts_of_all, all_outcomes, window_s,
    CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS at";
const UPDATE_SQLITE: &str = "UPDATE attempt_buckets SET attempts = $2, wrong = $3, attempts_of_all = $4,
    all_outcomes = $5, window_s = $6, full_at = $7 WHERE key = $1";
const UPDATE_POSTGRES: &str = "UPDATE attempt_buckets SET attempts = a, wrong = w, attempts_of_all = aa,
    all_outcomes = al, window_s = s, full_at = f
    FROM UNNEST($1::BYTEA[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[])
    AS changed (k, a, w, aa, al, s, f) WHERE key = k";
const DELETE_FULL_SQLITE: &str = "DELETE FROM attempt_buckets WHERE key IN
    (SELECT key FROM attempt_buckets WHERE full_at < $1 ORDER BY full_at LIMIT $2)";
// An attempt locks its buckets one after another; who deletes waits for none of them.
const DELETE_FULL_POSTGRES: &str = "DELETE FROM attempt_buckets WHERE key IN
    (SELECT key FROM attempt_buckets WHERE full_at < $1 ORDER BY full_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

#[cfg(test)]
pub(super) const OF_SQLITE: &[&str] = &[LOCK_SQLITE, UPDATE_SQLITE, DELETE_FULL_SQLITE];
#[cfg(test)]
pub(super) const OF_POSTGRES: &[&str] = &[LOCK_POSTGRES, UPDATE_POSTGRES, DELETE_FULL_POSTGRES];

/// A bucket as it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// What it owes.
    pub(super) pair: StoredPair,
    /// The window of the limit that it was stored by, in seconds.
    pub(super) window_s: i64,
    /// Of one that is locked, the database's time; of one that is stored, when it is full.
    pub(super) at: UnixMs,
}

/// By their keys.
pub(super) type Buckets = BTreeMap<[u8; 16], Bucket>;

type Row = (Vec<u8>, i64, i64, i64, i64, i64, i64);

/// Binds key, pair and window.
macro_rules! bind {
    ($sql:expr, $key:expr, $bucket:expr) => {
        $sql.bind($key.as_slice())
            .bind($bucket.pair.attempts)
            .bind($bucket.pair.wrong)
            .bind($bucket.pair.attempts_of_all)
            .bind($bucket.pair.all)
            .bind($bucket.window_s)
    };
}

/// Binds arrays of them.
macro_rules! bind_all {
    ($sql:expr, $buckets:expr) => {{
        let column = |of: fn(&Bucket) -> i64| $buckets.values().map(of).collect::<Vec<_>>();
        $sql.bind($buckets.keys().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
            .bind(column(|bucket| bucket.pair.attempts))
            .bind(column(|bucket| bucket.pair.wrong))
            .bind(column(|bucket| bucket.pair.attempts_of_all))
            .bind(column(|bucket| bucket.pair.all))
            .bind(column(|bucket| bucket.window_s))
    }};
}

/// Locks buckets until the transaction ends, in the order of their keys; what is not there begins as it is here.
pub(super) async fn lock(tx: &mut Tx, wanted: &Buckets) -> Result<Buckets, StorageError> {
    let rows: Vec<Row> = match tx {
        _ if wanted.is_empty() => Vec::new(),
        Tx::Sqlite(held) => {
            let mut rows = Vec::new();
            for (key, bucket) in wanted {
                rows.push(bind!(sqlx::query_as(LOCK_SQLITE), key, bucket).fetch_one(&mut **held).await?);
            }
            rows
        }
        Tx::Postgres(held) => bind_all!(sqlx::query_as(LOCK_POSTGRES), wanted).fetch_all(&mut **held).await?,
    };
    let read = |(key, attempts, wrong, attempts_of_all, all, window_s, at): Row| {
        let corrupt = StorageError::Corrupt { table: "attempt_buckets", column: "key" };
        let key = key.try_into().map_err(|_| corrupt)?;
        let pair = StoredPair { attempts, wrong, attempts_of_all, all };
        Ok((key, Bucket { pair, window_s, at: UnixMs(at) }))
    };
    rows.into_iter().map(read).collect()
}

/// Stores buckets that are locked.
pub(super) async fn update(tx: &mut Tx, changed: &Buckets) -> Result<(), StorageError> {
    match tx {
        _ if changed.is_empty() => {}
        Tx::Sqlite(held) => {
            for (key, bucket) in changed {
                let update = bind!(sqlx::query(UPDATE_SQLITE), key, bucket).bind(bucket.at.0);
                update.execute(&mut **held).await?;
            }
        }
        Tx::Postgres(held) => {
            let full_at: Vec<_> = changed.values().map(|bucket| bucket.at.0).collect();
            bind_all!(sqlx::query(UPDATE_POSTGRES), changed).bind(full_at).execute(&mut **held).await?;
        }
    }
    Ok(())
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
