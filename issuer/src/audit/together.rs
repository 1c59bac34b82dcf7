//! Entries of acts that change nothing else are committed together: a commit waits for the disk, and one wait does for
//! all who came during the last one.
//!
//! Whoever has the turn writes for everybody who waits; the others wait for their word or for the turn.

use super::store::{self, Row};
use crate::storage::{Db, StorageError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The most rows of one commit.
const MOST: usize = 32;

/// A row, and who waits for it. A waiter that hears nothing takes it as a failure.
type Waiting = (Row, oneshot::Sender<()>);

/// What waits, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Together {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Together {
    /// Writes a row and returns when it is committed.
    ///
    /// # Errors
    /// [`StorageError::Together`]; what the database said is in the log, once for all of them.
    pub(super) async fn write(&self, db: &Db, row: Row) -> Result<(), StorageError> {
        let (done, mut word) = oneshot::channel();
        self.waiting().push((row, done));
        loop {
            let turn = tokio::select! {
                biased;
                heard = &mut word => return heard.map_err(|_| StorageError::Together),
                turn = self.turn.lock() => turn,
            };
            let next: Vec<Waiting> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(MOST);
                waiting.drain(..count).collect()
            };
            if !next.is_empty() {
                // A task of its own: should the caller go away, the others still hear.
                let _ = tokio::spawn(commit(db.clone(), next)).await;
            }
            drop(turn);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn commit(db: Db, together: Vec<Waiting>) {
    let (rows, done): (Vec<Row>, Vec<_>) = together.into_iter().unzip();
    let inserted = async { store::insert(&mut db.single().await?, rows).await };
    match inserted.await {
        Ok(()) => {
            for waiter in done {
                // Who went away needs no word.
                let _ = waiter.send(());
            }
        }
        Err(error) => tracing::error!(%error, waiting = done.len(), "audit entries cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::entropy::Entropy;
    use crate::storage::testing::{dump, on_both_databases};
    use margrave_shared::id::uuid_v4;
    use margrave_shared::time::UnixMs;
    use std::sync::Arc;

    fn row(id: &str, subject: &str) -> Row {
        Row::new(id.to_owned(), UnixMs(1), Entry::done("test.write").subject(subject), None, None)
    }

    async fn all_who_write_at_once_are_written(db: Db) {
        let (db, together) = (Arc::new(db), Arc::new(Together::default()));
        let writers: Vec<_> = (0..200)
            .map(|i| {
                let (db, together) = (Arc::clone(&db), Arc::clone(&together));
                let id = uuid_v4(Entropy.bytes());
                tokio::spawn(async move { together.write(&db, row(&id, &format!("subject-{i}-"))).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let text = dump(&db).await;
        for i in 0..200 {
            assert_eq!(text.matches(&format!("subject-{i}-")).count(), 1, "{i}");
        }
    }
    on_both_databases!(at_once, super::all_who_write_at_once_are_written);

    async fn a_failure_reaches_all_who_were_part_of_it_and_nobody_else(db: Db) {
        let (db, together) = (Arc::new(db), Arc::new(Together::default()));
        let id = uuid_v4(Entropy.bytes());
        together.write(&db, row(&id, "first")).await.unwrap();
        // While somebody has the turn, two more come: one of them cannot be written, so neither is.
        let turn = together.turn.lock().await;
        let bad = [row(&id, "taken"), row(&uuid_v4(Entropy.bytes()), "innocent")].map(|row| {
            let (db, together) = (Arc::clone(&db), Arc::clone(&together));
            tokio::spawn(async move { together.write(&db, row).await })
        });
        while together.waiting.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(turn);
        for writer in bad {
            assert!(writer.await.unwrap().is_err());
        }
        together.write(&db, row(&uuid_v4(Entropy.bytes()), "later")).await.unwrap();
        let text = dump(&db).await;
        assert!(text.contains("later") && !text.contains("innocent") && !text.contains("taken"));
    }
    on_both_databases!(failure, super::a_failure_reaches_all_who_were_part_of_it_and_nobody_else);

    async fn one_who_goes_away_with_the_turn_takes_nobody_along(db: Db) {
        let (db, together) = (Arc::new(db), Arc::new(Together::default()));
        for _ in 0..50 {
            let gone = {
                let (db, together) = (Arc::clone(&db), Arc::clone(&together));
                tokio::spawn(async move { together.write(&db, row(&uuid_v4(Entropy.bytes()), "gone")).await })
            };
            tokio::task::yield_now().await;
            gone.abort();
            together.write(&db, row(&uuid_v4(Entropy.bytes()), "stayed")).await.unwrap();
        }
    }
    on_both_databases!(gone, super::one_who_goes_away_with_the_turn_takes_nobody_along);
}
