//! Entries of acts that change nothing else are committed together: a commit waits for the disk, and one wait does for
//! all who came during the last one.
//!
//! Whoever has the turn writes for everybody who waits; the others wait for their word or for the turn. Nobody waits
//! longer than [`PATIENCE`], and what nobody waits for any more is left out. An entry whose act was answered with an error
//! may be there, if its turn came in the last moment; an answer without its entry never is.

use super::store::{self, Row};
use crate::storage::{Db, StorageError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The most rows of one commit.
const MOST: usize = 32;
/// The most rows that wait. More come only when the database does not keep up, and then waiting longer helps nobody.
const QUEUE: usize = 1024;
/// How long an entry waits, and how long a commit may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A row, and who waits for it. A waiter that hears nothing takes it as a failure.
type Waiting = (Row, oneshot::Sender<()>);

/// What waits, and whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Together {
    waiting: Mutex<VecDeque<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Together {
    /// Writes a row and returns when it is committed.
    ///
    /// # Errors
    /// [`StorageError::Together`]; what the database said is in the log.
    pub(super) async fn write(&self, db: &Db, row: Row) -> Result<(), StorageError> {
        let (done, word) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= QUEUE {
                return Err(StorageError::Together);
            }
            waiting.push_back((row, done));
        }
        timeout(PATIENCE, self.wait(db, word)).await.unwrap_or(Err(StorageError::Together))
    }

    async fn wait(&self, db: &Db, mut word: oneshot::Receiver<()>) -> Result<(), StorageError> {
        loop {
            let turn = tokio::select! {
                biased;
                heard = &mut word => return heard.map_err(|_| StorageError::Together),
                turn = Arc::clone(&self.turn).lock_owned() => turn,
            };
            let next = self.take();
            if !next.is_empty() {
                let db = db.clone();
                // A task of its own, which takes the turn along: should the caller go away, the others still hear, and
                // the next commit begins when this one has ended.
                let commit = tokio::spawn(async move {
                    commit(&db, next).await;
                    drop(turn);
                });
                let _ = commit.await;
            }
        }
    }

    /// What is written next: the oldest for which somebody still waits.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let mut next = Vec::new();
        while next.len() < MOST
            && let Some(oldest) = waiting.pop_front()
        {
            if !oldest.1.is_closed() {
                next.push(oldest);
            }
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn commit(db: &Db, together: Vec<Waiting>) {
    let (rows, done): (Vec<Row>, Vec<_>) = together.into_iter().unzip();
    let insert = async || {
        let mut tx = db.begin().await?;
        store::insert(&mut tx, &rows).await?;
        tx.commit().await
    };
    let committed = timeout(PATIENCE, async {
        match insert().await {
            // A connection may have died since its last use.
            Err(StorageError::Unavailable(_)) => insert().await,
            other => other,
        }
    });
    match committed.await {
        Ok(Ok(())) => {
            for waiter in done {
                // Who went away needs no word.
                let _ = waiter.send(());
            }
        }
        Ok(Err(error)) => tracing::error!(%error, waiting = done.len(), "audit entries cannot be written"),
        Err(_) => tracing::error!(waiting = done.len(), "audit entries cannot be written in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;
    use crate::entropy::Entropy;
    use crate::storage::on_tx;
    use crate::storage::testing::{block_writers, dump, on_both_databases};
    use margrave_shared::id::uuid_v4;
    use margrave_shared::time::UnixMs;
    use tokio::task::{JoinHandle, yield_now};

    type Written = JoinHandle<Result<(), StorageError>>;

    /// A database, and several who write.
    struct World {
        db: Arc<Db>,
        together: Arc<Together>,
    }

    impl World {
        fn new(db: Db) -> Self {
            Self { db: Arc::new(db), together: Arc::default() }
        }

        fn write_as(&self, id: &str, subject: &str) -> Written {
            let row = Row::new(
                id.to_owned(),
                UnixMs(1),
                Entry::done("test.write").subject(subject),
                None,
                None,
                None,
            );
            let (db, together) = (Arc::clone(&self.db), Arc::clone(&self.together));
            tokio::spawn(async move { together.write(&db, row).await })
        }

        fn write(&self, subject: &str) -> Written {
            self.write_as(&uuid_v4(Entropy.bytes()), subject)
        }

        /// Until a commit is under way.
        async fn until_one_commits(&self) {
            while self.together.turn.try_lock().is_ok() {
                yield_now().await;
            }
        }

        async fn until_so_many_wait(&self, count: usize) {
            while self.together.waiting().len() != count {
                yield_now().await;
            }
        }
    }

    async fn rename(db: &Db, sql: &'static str) {
        let mut tx = db.begin().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
    }

    async fn all_who_write_at_once_are_written_once(db: Db) {
        let world = World::new(db);
        let writers: Vec<_> = (0..200).map(|i| world.write(&format!("subject-{i}-"))).collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let text = dump(&world.db).await;
        for i in 0..200 {
            assert_eq!(text.matches(&format!("subject-{i}-")).count(), 1, "{i}");
        }
    }
    on_both_databases!(at_once, super::all_who_write_at_once_are_written_once);

    #[tokio::test]
    async fn a_commit_takes_the_oldest_who_still_wait_as_many_as_it_may() {
        let world = World::new(crate::storage::testing::sqlite().await);
        let turn = Arc::clone(&world.together.turn).lock_owned().await;
        let waiting: Vec<_> = (0..MOST + 8).map(|i| world.write(&format!("{i}"))).collect();
        world.until_so_many_wait(MOST + 8).await;
        for gone in &waiting[..4] {
            gone.abort();
        }
        yield_now().await;
        assert_eq!(world.together.take().len(), MOST);
        assert_eq!(world.together.take().len(), 4);
        drop(turn);
    }

    async fn a_failure_reaches_all_who_were_part_of_it_and_nobody_else(db: Db) {
        let world = World::new(db);
        rename(&world.db, "ALTER TABLE audit RENAME TO elsewhere").await;
        let turn = Arc::clone(&world.together.turn).lock_owned().await;
        let bad = [world.write("one"), world.write("another")];
        world.until_so_many_wait(2).await;
        drop(turn);
        for writer in bad {
            assert!(writer.await.unwrap().is_err());
        }
        rename(&world.db, "ALTER TABLE elsewhere RENAME TO audit").await;
        world.write("later").await.unwrap().unwrap();
        let text = dump(&world.db).await;
        assert!(text.contains("later") && !text.contains("another"));
    }
    on_both_databases!(failure, super::a_failure_reaches_all_who_were_part_of_it_and_nobody_else);

    async fn one_who_goes_away_with_the_turn_takes_nobody_along(db: Db) {
        let world = World::new(db);
        let lock = block_writers(&world.db).await;
        let turn = Arc::clone(&world.together.turn).lock_owned().await;
        let gone = world.write("gone");
        world.until_so_many_wait(1).await;
        let stayed = world.write("stayed");
        world.until_so_many_wait(2).await;
        drop(turn);
        // Both are in its hands now.
        world.until_so_many_wait(0).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        drop(lock);
        stayed.await.unwrap().unwrap();
        assert!(dump(&world.db).await.contains("stayed"));
    }
    on_both_databases!(gone, super::one_who_goes_away_with_the_turn_takes_nobody_along);

    async fn a_database_that_hangs_is_given_up_and_what_was_given_up_is_not_written(db: Db) {
        let world = World::new(db);
        let lock = block_writers(&world.db).await;
        let first = world.write("first");
        world.until_one_commits().await;
        let waiting: Vec<_> = (0..QUEUE).map(|i| world.write(&format!("second-{i}"))).collect();
        world.until_so_many_wait(QUEUE).await;
        assert!(world.write("one too many").await.unwrap().is_err());
        assert!(first.await.unwrap().is_err());
        for writer in waiting {
            assert!(writer.await.unwrap().is_err());
        }
        drop(lock);
        world.write("third").await.unwrap().unwrap();
        let text = dump(&world.db).await;
        assert!(text.contains("third") && !text.contains("too many"));
        // But for those whose turn came in the last moment.
        let late = text.matches("second").count();
        assert!(late <= MOST, "{late} entries of acts that were given up");
    }
    on_both_databases!(hangs, super::a_database_that_hangs_is_given_up_and_what_was_given_up_is_not_written);
}
