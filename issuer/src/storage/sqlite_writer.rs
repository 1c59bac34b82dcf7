//! The one connection that writes on SQLite. A commit waits for the disk, and transactions come one after another: those that wait
//! when one ends go on within it, each in a savepoint, and one commit does for all of them.
//!
//! Whoever has ended waits for the turn again, behind those; with the turn, they commit what has ended, and all hear of it. Nobody is
//! told of success before the commit, and a transaction that is dropped undoes itself alone.
//!
//! Nearly half of the file are tests of who ends, gives up, fails or goes away while others wait.

use super::StorageError;
use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use sqlx::{Executor as _, Sqlite, SqlitePool};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

/// The most transactions of one commit.
const MOST: usize = 32;

/// Transactions that have ended and are not committed yet, and the connection on which they are.
#[derive(Debug)]
struct Ended {
    connection: PoolConnection<Sqlite>,
    /// Who waits for the commit. Hearing nothing is hearing that it failed.
    waiting: Vec<oneshot::Sender<()>>,
}

/// Who has the turn has the connection, with what has ended on it, if there is such.
type Turn = Mutex<Option<Ended>>;
type Guard = OwnedMutexGuard<Option<Ended>>;

/// How long a transaction may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// A few statements.
    Short,
    /// Too long for those who have ended to wait for it.
    Long,
}

/// Writes, one transaction after another.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    /// Of one connection.
    pool: SqlitePool,
    turn: Arc<Turn>,
    patience: Duration,
    /// How many transactions have begun since that was last asked.
    begun: Arc<AtomicUsize>,
    /// Whether nobody knows yet that the connection writes.
    is_new: Arc<AtomicBool>,
}

/// A transaction that may write.
#[derive(Debug)]
pub(crate) struct Writing(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    on: Ended,
    /// Whether others have ended on this connection before: then it is a savepoint.
    is_nested: bool,
    /// Whether it has begun for certain.
    has_begun: bool,
    guard: Guard,
    turn: Arc<Turn>,
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    // A worker that is gone gives no result, and no error.
    let result = connection.execute_many(sqlx::query(sql)).try_next().await?;
    result.map(|_| ()).ok_or(sqlx::Error::WorkerCrashed)
}

/// A connection that is opened while its files cannot be written reads only, for as long as it is open. It may begin all the same.
async fn prove_that_it_writes(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    execute(connection, "SAVEPOINT proof").await?;
    execute(connection, "CREATE TABLE proof_of_writing (proof INTEGER)").await?;
    execute(connection, "ROLLBACK TO proof").await?;
    execute(connection, "RELEASE proof").await
}

impl Writer {
    /// Opens the connection; nobody waits longer for the turn than that.
    pub(super) async fn open(
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
        patience: Duration,
    ) -> Result<Self, sqlx::Error> {
        let is_new = Arc::new(AtomicBool::new(true));
        let opened = Arc::clone(&is_new);
        let pool = pool.max_connections(1).after_connect(move |_, _| {
            opened.store(true, Ordering::Release);
            Box::pin(async { Ok(()) })
        });
        let pool = pool.connect_with(options).await?;
        Ok(Self { pool, turn: Arc::default(), patience, begun: Arc::default(), is_new })
    }

    /// Begins a transaction, with the write lock.
    pub(super) async fn begin(&self, length: Length) -> Result<Writing, sqlx::Error> {
        let turn = timeout(self.patience, Arc::clone(&self.turn).lock_owned());
        let mut guard = turn.await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if guard.as_ref().is_some_and(|ended| length == Length::Long || ended.waiting.len() >= MOST) {
            guard = commit_ended(guard).await?;
        }
        let ended = guard.take();
        self.begun.fetch_add(1, Ordering::Relaxed);
        let turn = Arc::clone(&self.turn);
        let is_nested = ended.is_some();
        let (on, sql) = match ended {
            Some(ended) => (ended, "SAVEPOINT one"),
            None => {
                (Ended { connection: self.pool.acquire().await?, waiting: Vec::new() }, "BEGIN IMMEDIATE")
            }
        };
        // Should this be given up from here on, it undoes itself.
        let mut writing = Writing(Some(Box::new(Open { on, is_nested, has_begun: false, guard, turn })));
        let begun = match execute(&mut writing, sql).await {
            Ok(()) if self.is_new.load(Ordering::Acquire) => {
                // Who is given up in the middle of it has proven nothing.
                prove_that_it_writes(&mut writing)
                    .await
                    .inspect(|()| self.is_new.store(false, Ordering::Release))
            }
            begun => begun,
        };
        match (begun, &mut writing.0) {
            (Ok(()), Some(open)) => open.has_begun = true,
            (Ok(()), None) => {}
            (Err(error), _) => {
                if let Some(open) = writing.0.take_if(|open| !open.is_nested) {
                    open.on.give_up();
                }
                return Err(error);
            }
        }
        Ok(writing)
    }

    /// Whether so many transactions have begun since this last said yes.
    pub(super) fn have_begun(&self, at_least: usize) -> bool {
        let enough = self.begun.load(Ordering::Relaxed) >= at_least;
        if enough {
            self.begun.store(0, Ordering::Relaxed);
        }
        enough
    }

    /// The pool itself, for what brings its own transactions.
    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Closes the connection, after all who have the turn or wait for it.
    pub(super) async fn close(&self) {
        let _ = commit_ended(Arc::clone(&self.turn).lock_owned().await).await;
        self.pool.close().await;
    }
}

/// Commits what has ended, in a task of its own: should the caller go away, the others still hear.
async fn commit_ended(mut guard: Guard) -> Result<Guard, sqlx::Error> {
    let commit = async move {
        if let Some(ended) = guard.take() {
            ended.commit().await;
        }
        guard
    };
    tokio::spawn(commit).await.map_err(|_| sqlx::Error::WorkerCrashed)
}

impl Ended {
    /// Commits, and tells all who wait.
    async fn commit(mut self) {
        match execute(&mut self.connection, "COMMIT").await {
            Ok(()) => {
                for waiter in self.waiting {
                    // Who went away needs no word.
                    let _ = waiter.send(());
                }
            }
            Err(error) => {
                tracing::error!(error = %StorageError::from(error), waiting = self.waiting.len(), "a commit failed");
                self.give_up();
            }
        }
    }

    /// Undoes all of it with its connection.
    fn give_up(self) {
        drop(self.connection.detach());
    }
}

impl Open {
    async fn commit(mut self) -> Result<(), sqlx::Error> {
        if self.is_nested
            && let Err(error) = execute(&mut self.on.connection, "RELEASE one").await
        {
            // What others have ended has gone with it.
            self.on.give_up();
            return Err(error);
        }
        let (sender, mut word) = oneshot::channel();
        self.on.waiting.push(sender);
        *self.guard = Some(self.on);
        drop(self.guard);
        loop {
            let mut turn = tokio::select! {
                biased;
                heard = &mut word => return heard.map_err(|_| sqlx::Error::WorkerCrashed),
                turn = Arc::clone(&self.turn).lock_owned() => turn,
            };
            if let Some(ended) = turn.take() {
                ended.commit().await;
            }
        }
    }

    async fn roll_back(mut self) {
        if !self.is_nested {
            if execute(&mut self.on.connection, "ROLLBACK").await.is_err() && self.has_begun {
                self.on.give_up();
            }
            return;
        }
        let undone = match execute(&mut self.on.connection, "ROLLBACK TO one").await {
            Ok(()) => execute(&mut self.on.connection, "RELEASE one").await.is_ok(),
            // There is no savepoint: it was never made, or all was undone by what failed.
            Err(_) => !self.has_begun,
        };
        if undone {
            // Those who have ended wait for the turn.
            *self.guard = Some(self.on);
        } else {
            self.on.give_up();
        }
    }
}

impl Writing {
    /// Makes all of it happen, with what others have ended.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let Some(open) = self.0.take() else { return Ok(()) };
        // A task of its own: should the caller go away, the others still hear.
        tokio::spawn(open.commit()).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(open.roll_back());
            }
            Err(_) => open.on.give_up(),
        }
    }
}

const GONE: &str = "it is taken only by who ends it";

impl Deref for Writing {
    type Target = SqliteConnection;

    #[expect(clippy::expect_used, reason = "it is taken only by who ends it")]
    fn deref(&self) -> &SqliteConnection {
        &self.0.as_ref().expect(GONE).on.connection
    }
}

impl DerefMut for Writing {
    #[expect(clippy::expect_used, reason = "it is taken only by who ends it")]
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0.as_mut().expect(GONE).on.connection
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::sqlite;
    use crate::storage::{Db, StorageError, Tx, on_tx};
    use std::time::Duration;
    use tokio::task::{JoinHandle, yield_now};

    async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), StorageError> {
        on_tx!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ()))
    }

    async fn world() -> Db {
        let db = sqlite().await;
        let mut tx = db.begin().await.unwrap();
        execute(&mut tx, "CREATE TABLE notes (text TEXT NOT NULL UNIQUE)").await.unwrap();
        tx.commit().await.unwrap();
        db
    }

    async fn note(tx: &mut Tx, text: &str) -> Result<(), StorageError> {
        on_tx!(tx, c => sqlx::query("INSERT INTO notes VALUES ($1)").bind(text).execute(c).await.map(|_| ()))
    }

    /// What others see: a reader's connection.
    async fn seen(db: &Db) -> Vec<String> {
        let mut tx = db.read().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query_scalar("SELECT text FROM notes ORDER BY text").fetch_all(c).await)
            .unwrap()
    }

    fn write(db: &Db, text: &'static str) -> JoinHandle<Result<(), StorageError>> {
        let db = db.clone();
        tokio::spawn(async move {
            let mut tx = db.begin().await?;
            note(&mut tx, text).await?;
            tx.commit().await
        })
    }

    /// Lets tasks come to where they wait.
    async fn settle() {
        for _ in 0..50 {
            yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }

    #[tokio::test]
    async fn who_ends_while_others_wait_is_committed_with_them() {
        let db = world().await;
        let mut first = db.begin().await.unwrap();
        note(&mut first, "first").await.unwrap();
        let second = tokio::spawn({
            let db = db.clone();
            async move { db.begin().await.unwrap() }
        });
        settle().await;
        let first = tokio::spawn(first.commit());
        let mut second = second.await.unwrap();
        settle().await;
        assert!(!first.is_finished() && seen(&db).await.is_empty(), "nobody is told before the commit");
        note(&mut second, "second").await.unwrap();
        second.commit().await.unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(seen(&db).await, ["first", "second"]);
    }

    #[tokio::test]
    async fn who_gives_up_undoes_their_own_alone() {
        let db = world().await;
        for (way, kept) in [("dropped", "a"), ("failed", "b")] {
            let mut first = db.begin().await.unwrap();
            note(&mut first, kept).await.unwrap();
            let second = tokio::spawn({
                let db = db.clone();
                async move {
                    let mut tx = db.begin().await.unwrap();
                    note(&mut tx, "never").await.unwrap();
                    if way == "failed" {
                        assert!(matches!(note(&mut tx, "never").await, Err(StorageError::Conflict)));
                    }
                }
            });
            settle().await;
            first.commit().await.unwrap();
            second.await.unwrap();
            write(&db, if way == "failed" { "d" } else { "c" }).await.unwrap().unwrap();
        }
        // Nobody before them, either.
        drop(db.begin().await.unwrap());
        assert_eq!(seen(&db).await, ["a", "b", "c", "d"]);
    }

    #[tokio::test]
    async fn what_takes_all_down_is_told_to_all_and_over_then() {
        for commits in [true, false] {
            let db = world().await;
            let mut first = db.begin().await.unwrap();
            note(&mut first, "lost").await.unwrap();
            let second = tokio::spawn({
                let db = db.clone();
                async move {
                    let mut tx = db.begin().await.unwrap();
                    // As a full disk does.
                    execute(&mut tx, "ROLLBACK").await.unwrap();
                    if commits {
                        assert!(tx.commit().await.is_err());
                    }
                }
            });
            settle().await;
            // Who has been waiting goes on within nothing of it.
            let third = write(&db, "later");
            settle().await;
            assert!(matches!(first.commit().await, Err(StorageError::Unavailable(_))));
            second.await.unwrap();
            third.await.unwrap().unwrap();
            assert_eq!(seen(&db).await, ["later"], "{commits}");
        }
    }

    #[tokio::test]
    async fn who_goes_away_while_committing_for_others_takes_nobody_along() {
        let db = world().await;
        for i in 0..100 {
            let mut first = db.begin().await.unwrap();
            note(&mut first, &i.to_string()).await.unwrap();
            let long = tokio::spawn({
                let db = db.clone();
                async move { db.begin_long().await.map(drop) }
            });
            settle().await;
            let first = tokio::spawn(first.commit());
            for _ in 0..i {
                yield_now().await;
            }
            long.abort();
            assert!(first.await.unwrap().is_ok(), "{i}");
        }
        assert_eq!(seen(&db).await.len(), 100);
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_for_the_commit_holds_nobody_up() {
        let db = world().await;
        let mut first = db.begin().await.unwrap();
        note(&mut first, "gone").await.unwrap();
        let second = tokio::spawn({
            let db = db.clone();
            async move { db.begin().await.unwrap() }
        });
        settle().await;
        let commit = tokio::spawn(first.commit());
        let second = second.await.unwrap();
        commit.abort();
        assert!(commit.await.unwrap_err().is_cancelled());
        drop(second);
        settle().await;
        assert_eq!(seen(&db).await, ["gone"], "committed by itself, with nobody behind");
        write(&db, "next").await.unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn hundreds_at_once_are_all_there_and_close_waits_for_them() {
        let db = world().await;
        let writers: Vec<_> = (0..400)
            .map(|i| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut tx = db.begin().await.unwrap();
                    note(&mut tx, &format!("{i:03}")).await.unwrap();
                    match i % 4 {
                        0 => drop(tx),
                        1 => {
                            // Given up at any place.
                            let _ = tokio::time::timeout(Duration::from_micros(i), tx.commit()).await;
                        }
                        _ => tx.commit().await.unwrap(),
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut tx = db.begin().await.unwrap();
        note(&mut tx, "last").await.unwrap();
        tx.commit().await.unwrap();
        let seen = seen(&db).await;
        for i in 0..400 {
            let is_there = seen.contains(&format!("{i:03}"));
            assert!(if i % 4 == 0 { !is_there } else { is_there }, "{i}");
        }
        db.close().await;
    }
}
