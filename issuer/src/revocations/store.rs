//! The feed's SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::event::{Ended, Event};
use margrave_shared::revocation::Cursor;
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;

const ENSURE: &str = "INSERT INTO feed (id, epoch, seq) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING";
const RENEW: &str = "UPDATE feed SET epoch = $1 WHERE id = 1";
const RENEW_BEHIND: &str = "UPDATE feed SET epoch = $1 WHERE id = 1 AND epoch = $2 AND seq < $3";
const HEAD: &str = "SELECT epoch, seq FROM feed WHERE id = 1";
const NEXT: &str = "UPDATE feed SET seq = seq + 1 WHERE id = 1 RETURNING epoch, seq";
const NEXT_SOME: &str = "UPDATE feed SET seq = seq + $1 WHERE id = 1 RETURNING epoch, seq";
const INSERT: &str =
    "INSERT INTO feed_events (seq, kind, id, generation, until_s, at) VALUES ($1, $2, $3, $4, $5, $6)";
const FIND_AFTER: &str = "SELECT seq, kind, id, generation, until_s FROM feed_events
    WHERE seq > $1 AND (until_s = 0 OR until_s > $2) ORDER BY seq LIMIT $3";
const FIND_LIVE: &str = "SELECT 1 FROM feed_events WHERE kind = $1 AND id = $2 LIMIT 1";
const DELETE_DEAD: &str = "DELETE FROM feed_events WHERE seq IN
    (SELECT seq FROM feed_events WHERE until_s <> 0 AND until_s < $1 ORDER BY until_s LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] =
    &[ENSURE, RENEW, RENEW_BEHIND, HEAD, NEXT, NEXT_SOME, INSERT, FIND_AFTER, FIND_LIVE, DELETE_DEAD];

pub(super) async fn ensure_feed(tx: &mut Tx, epoch: &str) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(ENSURE).bind(epoch).execute(c).await.map(|_| ()))
}

pub(super) async fn update_epoch(tx: &mut Tx, epoch: &str) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(RENEW).bind(epoch).execute(c).await.map(|_| ()))
}

/// Gives a new epoch to a feed that is shorter than somebody has seen it; gives whether it was.
pub(super) async fn update_epoch_behind(
    tx: &mut Tx,
    epoch: &str,
    seen: &Cursor,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(RENEW_BEHIND)
        .bind(epoch)
        .bind(&seen.epoch)
        .bind(seen.seq)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// The feed's epoch and last number.
pub(crate) async fn find_head(tx: &mut Tx) -> Result<Cursor, StorageError> {
    let (epoch, seq) = on_tx!(tx, c => sqlx::query_as(HEAD).fetch_one(c).await)?;
    Ok(Cursor { epoch, seq })
}

/// Takes the next number, which locks the counter until the commit: numbers are dense and in commit order.
pub(super) async fn insert_event(
    tx: &mut Tx,
    ended: &Ended,
    until_s: i64,
    now: UnixMs,
) -> Result<Cursor, StorageError> {
    let (epoch, seq): (String, i64) = on_tx!(tx, c => sqlx::query_as(NEXT).fetch_one(c).await)?;
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(seq)
        .bind(ended.kind())
        .bind(ended.id())
        .bind(ended.generation())
        .bind(until_s)
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))?;
    Ok(Cursor { epoch, seq })
}

/// The same for many; gives the place of the last.
pub(super) async fn insert_events(
    tx: &mut Tx,
    events: &[(&Ended, i64)],
    now: UnixMs,
) -> Result<Option<Cursor>, StorageError> {
    if events.is_empty() {
        return Ok(None);
    }
    let many = events.len() as i64;
    let (epoch, seq): (String, i64) =
        on_tx!(tx, c => sqlx::query_as(NEXT_SOME).bind(many).fetch_one(c).await)?;
    let numbered: Vec<_> = ((seq - many + 1)..).zip(events).collect();
    for some in numbered.chunks(500) {
        on_tx!(tx, c => {
            let mut query =
                QueryBuilder::new("INSERT INTO feed_events (seq, kind, id, generation, until_s, at) ");
            query.push_values(some, |mut values, (seq, (ended, until_s))| {
                values.push_bind(*seq).push_bind(ended.kind()).push_bind(ended.id());
                values.push_bind(ended.generation()).push_bind(*until_s).push_bind(now.0);
            });
            query.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(Some(Cursor { epoch, seq }))
}

/// The events after a number that can still concern a token, at most `limit`.
pub(crate) async fn find_after(
    tx: &mut Tx,
    after: i64,
    now: UnixMs,
    limit: i64,
) -> Result<Vec<Event>, StorageError> {
    let rows: Vec<(i64, String, String, i64, i64)> = on_tx!(tx, c => sqlx::query_as(FIND_AFTER)
        .bind(after)
        .bind(now.seconds())
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter()
        .map(|(seq, kind, id, generation, until)| {
            let ended = Ended::from_parts(&kind, &id, generation)
                .ok_or(StorageError::Corrupt { table: "feed_events", column: "id" })?;
            Ok(Event { seq, until, ended })
        })
        .collect()
}

/// Whether the feed holds an ending of this kind and id.
pub(crate) async fn is_ended(tx: &mut Tx, kind: &str, id: &str) -> Result<bool, StorageError> {
    let found: Option<i32> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_LIVE).bind(kind).bind(id).fetch_optional(c).await)?;
    Ok(found.is_some())
}

/// Deletes events that can concern no token any more; at most `limit`, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(now.seconds())
        .bind(limit)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{on_both_databases, prepare_all};
    use margrave_shared::id::{Kid, SessionId};

    async fn numbers_are_dense_under_concurrency(db: crate::storage::Db) {
        prepare_all(&db, ALL).await;
        super::super::ensure(&db, "e1").await.unwrap();
        super::super::ensure(&db, "e2").await.unwrap();
        let writers: Vec<_> = (0..20)
            .map(|i| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    let ended = Ended::Session { sid: SessionId::parse(&format!("s{i}")).unwrap() };
                    insert_event(&mut tx, &ended, 100, UnixMs(1)).await.unwrap();
                    // Every third one changes its mind.
                    if i % 3 != 0 {
                        tx.commit().await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut tx = db.begin().await.unwrap();
        let events = find_after(&mut tx, 0, UnixMs(0), 100).await.unwrap();
        let numbers: Vec<_> = events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
        assert_eq!(find_head(&mut tx).await.unwrap().to_string(), "e1:13");
        assert_eq!(find_after(&mut tx, 10, UnixMs(0), 2).await.unwrap().len(), 2);
        assert!(is_ended(&mut tx, "session", "s1").await.unwrap());
        assert!(!is_ended(&mut tx, "token", "s1").await.unwrap());
        let forever = Ended::SigningKey { kid: Kid::parse("k").unwrap() };
        insert_event(&mut tx, &forever, 0, UnixMs(1)).await.unwrap();
        assert_eq!(delete_dead(&mut tx, UnixMs::from_seconds(101), 5).await.unwrap(), 5);
        assert_eq!(delete_dead(&mut tx, UnixMs::from_seconds(101), 100).await.unwrap(), 8);
        assert_eq!(find_after(&mut tx, 0, UnixMs::from_seconds(200), 100).await.unwrap().len(), 1);
    }
    on_both_databases!(feed, super::numbers_are_dense_under_concurrency);
}
