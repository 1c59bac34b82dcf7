//! Work of many that is done together: a commit waits for the disk, and one wait does for all who came during the last one; and
//! one question to the database does for all who ask it.
//!
//! Whoever has the turn does it for everybody who waits; the others wait for their word or for the turn. Nobody waits
//! longer than [`PATIENCE`], and what nobody waits for any more is left out. What was answered with an error may have been
//! done, if its turn came in the last moment; what was not done is never answered otherwise.

use super::{Db, StorageError, Tx};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The most parts of one commit.
const MOST: usize = 32;
/// The most parts that wait. More come only when the database does not keep up, and then waiting longer helps nobody.
const QUEUE: usize = 1024;
/// How long a part waits, and how long a commit may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Work that consists of parts.
pub(crate) trait Joint: Debug + Send + Sync + 'static {
    /// What somebody wants done.
    type Part: Debug + Send + Sync + 'static;
    /// What they are told of it.
    type Word: Debug + Send + 'static;
    /// Its name in the log.
    const NAME: &'static str;
    /// Whether it changes anything: then it is one transaction.
    const IS_WRITTEN: bool;
    /// Whether what has been done may be done once more. Where a connection dies during a commit nobody knows whether it was.
    const IS_REPEATABLE: bool;

    /// Whether a part must not be turned away where too many wait: their number has a bound of its own.
    fn is_owed(_: &Self::Part) -> bool {
        false
    }

    /// Does some parts; a transaction is committed by the caller. Gives a word for each, in their order. There is at least one.
    fn run(
        &self,
        tx: &mut Tx,
        parts: &[Self::Part],
    ) -> impl Future<Output = Result<Vec<Self::Word>, StorageError>> + Send;
}

/// A part, and who waits for it. A waiter that hears nothing takes it as a failure.
type Waiting<J> = (<J as Joint>::Part, oneshot::Sender<<J as Joint>::Word>);

/// What waits, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Together<J: Joint> {
    joint: Arc<J>,
    waiting: Mutex<VecDeque<Waiting<J>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<J: Joint> Together<J> {
    pub(crate) fn new(joint: J) -> Self {
        Self { joint: Arc::new(joint), waiting: Mutex::default(), turn: Arc::default() }
    }

    /// The work itself.
    pub(crate) fn joint(&self) -> &J {
        &self.joint
    }

    /// Has a part done, from now on, and returns when it is committed.
    ///
    /// # Errors
    /// [`StorageError::Together`]; what the database said is in the log.
    pub(crate) async fn join(&self, db: &Db, part: J::Part) -> Result<J::Word, StorageError> {
        let (done, word) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= QUEUE && !J::is_owed(&part) {
                return Err(StorageError::Together);
            }
            waiting.push_back((part, done));
        }
        timeout(PATIENCE, self.wait(db, word)).await.unwrap_or(Err(StorageError::Together))
    }

    async fn wait(&self, db: &Db, mut word: oneshot::Receiver<J::Word>) -> Result<J::Word, StorageError> {
        loop {
            let turn = tokio::select! {
                biased;
                heard = &mut word => return heard.map_err(|_| StorageError::Together),
                turn = Arc::clone(&self.turn).lock_owned() => turn,
            };
            let next = self.take();
            if !next.is_empty() {
                let (db, joint) = (db.clone(), Arc::clone(&self.joint));
                // A task of its own, which takes the turn along: should the caller go away, the others still hear, and
                // the next commit begins when this one has ended.
                let commit = tokio::spawn(async move {
                    commit(&db, &*joint, next).await;
                    drop(turn);
                });
                let _ = commit.await;
            }
        }
    }

    /// What is done next: the oldest for which somebody still waits.
    fn take(&self) -> Vec<Waiting<J>> {
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

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting<J>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn commit<J: Joint>(db: &Db, joint: &J, together: Vec<Waiting<J>>) {
    let (parts, done): (Vec<J::Part>, Vec<_>) = together.into_iter().unzip();
    let committed = timeout(PATIENCE, async {
        match run(db, joint, &parts).await {
            // A connection may have died since its last use.
            Err((StorageError::Unavailable(_), is_in_doubt)) if J::IS_REPEATABLE || !is_in_doubt => {
                run(db, joint, &parts).await
            }
            other => other,
        }
    });
    match committed.await {
        Ok(Ok(words)) => {
            for (waiter, word) in done.into_iter().zip(words) {
                // Who went away needs no word.
                let _ = waiter.send(word);
            }
        }
        Ok(Err((error, _))) => tracing::error!(%error, waiting = done.len(), "{} failed", J::NAME),
        Err(_) => tracing::error!(waiting = done.len(), "{} did not end in time", J::NAME),
    }
}

/// Runs and commits. Of a failure it is told whether all may have been committed nevertheless.
async fn run<J: Joint>(db: &Db, joint: &J, parts: &[J::Part]) -> Result<Vec<J::Word>, (StorageError, bool)> {
    let run = async {
        let mut tx = if J::IS_WRITTEN { db.begin().await? } else { db.glance().await? };
        let words = joint.run(&mut tx, parts).await?;
        Ok((tx, words))
    };
    let (tx, words) = run.await.map_err(|error| (error, false))?;
    tx.commit().await.map_err(|error| (error, true))?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::on_tx;
    use crate::storage::testing::{block_writers, on_both_databases, postgres, sqlite};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::{JoinHandle, yield_now};

    /// Writes texts into a table; what is cut is the connection, before the commit of the first time.
    #[derive(Debug, Default)]
    struct Notes<const IS_REPEATABLE: bool> {
        runs: AtomicUsize,
        cuts: Option<Db>,
    }

    impl<const IS_REPEATABLE: bool> Joint for Notes<IS_REPEATABLE> {
        type Part = String;
        type Word = usize;
        const NAME: &'static str = "notes";
        const IS_WRITTEN: bool = true;
        const IS_REPEATABLE: bool = IS_REPEATABLE;

        fn is_owed(text: &String) -> bool {
            text == "owed"
        }

        async fn run(&self, tx: &mut Tx, parts: &[String]) -> Result<Vec<usize>, StorageError> {
            let runs = self.runs.fetch_add(1, Ordering::SeqCst);
            let mut words = Vec::new();
            for text in parts {
                on_tx!(tx, c => sqlx::query("INSERT INTO notes VALUES ($1)").bind(text).execute(c).await.map(|_| ()))?;
                words.push(text.len());
            }
            if let (0, Some(Db::Postgres(others)), Tx::Postgres(inner)) = (runs, &self.cuts, tx) {
                let pid: i32 =
                    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **inner).await.unwrap();
                sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(pid).execute(others).await.unwrap();
            }
            Ok(words)
        }
    }

    type Written = JoinHandle<Result<usize, StorageError>>;

    /// A database, and several who write.
    struct World {
        db: Arc<Db>,
        together: Arc<Together<Notes<true>>>,
    }

    async fn execute(db: &Db, sql: &'static str) {
        let mut tx = db.begin().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
    }

    async fn notes(db: &Db) -> Vec<String> {
        let mut tx = db.read().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query_scalar("SELECT text FROM notes").fetch_all(c).await).unwrap()
    }

    impl World {
        async fn new(db: Db) -> Self {
            execute(&db, "CREATE TABLE notes (text TEXT NOT NULL)").await;
            Self { db: Arc::new(db), together: Arc::new(Together::new(Notes::default())) }
        }

        fn write(&self, text: &str) -> Written {
            let (db, together, text) = (Arc::clone(&self.db), Arc::clone(&self.together), text.to_owned());
            tokio::spawn(async move { together.join(&db, text).await })
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

    async fn all_who_write_at_once_are_written_once(db: Db) {
        let world = World::new(db).await;
        let writers: Vec<_> = (0..200).map(|i| world.write(&"x".repeat(i))).collect();
        for (i, writer) in writers.into_iter().enumerate() {
            assert_eq!(writer.await.unwrap().unwrap(), i, "everybody hears of their own");
        }
        let mut lengths: Vec<_> = notes(&world.db).await.iter().map(String::len).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, (0..200).collect::<Vec<_>>());
        assert!(world.together.joint().runs.load(Ordering::SeqCst) < 100, "a commit for each");
    }
    on_both_databases!(at_once, super::all_who_write_at_once_are_written_once);

    #[tokio::test]
    async fn a_commit_takes_the_oldest_who_still_wait_as_many_as_it_may() {
        let world = World::new(sqlite().await).await;
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
        let world = World::new(db).await;
        execute(&world.db, "ALTER TABLE notes RENAME TO elsewhere").await;
        let turn = Arc::clone(&world.together.turn).lock_owned().await;
        let bad = [world.write("one"), world.write("another")];
        world.until_so_many_wait(2).await;
        drop(turn);
        for writer in bad {
            assert!(writer.await.unwrap().is_err());
        }
        execute(&world.db, "ALTER TABLE elsewhere RENAME TO notes").await;
        world.write("later").await.unwrap().unwrap();
        let text = notes(&world.db).await.join("\n");
        assert!(text.contains("later") && !text.contains("another"));
    }
    on_both_databases!(failure, super::a_failure_reaches_all_who_were_part_of_it_and_nobody_else);

    async fn one_who_goes_away_with_the_turn_takes_nobody_along(db: Db) {
        let world = World::new(db).await;
        let lock = block_writers(&world.db, "notes").await;
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
        assert!(notes(&world.db).await.contains(&"stayed".to_owned()));
    }
    on_both_databases!(gone, super::one_who_goes_away_with_the_turn_takes_nobody_along);

    async fn a_database_that_hangs_is_given_up_and_what_was_given_up_is_not_written(db: Db) {
        let world = World::new(db).await;
        let lock = block_writers(&world.db, "notes").await;
        let first = world.write("first");
        world.until_one_commits().await;
        let waiting: Vec<_> = (0..QUEUE).map(|i| world.write(&format!("second-{i}"))).collect();
        world.until_so_many_wait(QUEUE).await;
        assert!(world.write("one too many").await.unwrap().is_err());
        let owed = world.write("owed");
        world.until_so_many_wait(QUEUE + 1).await;
        assert!(first.await.unwrap().is_err());
        for writer in waiting.into_iter().chain([owed]) {
            assert!(writer.await.unwrap().is_err());
        }
        drop(lock);
        world.write("third").await.unwrap().unwrap();
        let text = notes(&world.db).await.join("\n");
        assert!(text.contains("third") && !text.contains("too many"));
        // But for those whose turn came in the last moment.
        let late = text.matches("second").count();
        assert!(late <= MOST, "{late} entries of acts that were given up");
    }
    on_both_databases!(hangs, super::a_database_that_hangs_is_given_up_and_what_was_given_up_is_not_written);

    async fn when_cut<const IS_REPEATABLE: bool>() -> (bool, usize) {
        let db = postgres().await;
        execute(&db, "CREATE TABLE notes (text TEXT NOT NULL)").await;
        let notes = Notes::<IS_REPEATABLE> { cuts: Some(db.clone()), ..Notes::default() };
        let together = Together::new(notes);
        let is_written = together.join(&db, "one".to_owned()).await.is_ok();
        (is_written, together.joint().runs.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_may_have_been_committed_is_done_again_only_where_that_does_no_harm() {
        assert_eq!(when_cut::<true>().await, (true, 2));
        assert_eq!(when_cut::<false>().await, (false, 1));
    }
}
