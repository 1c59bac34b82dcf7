//! One handle for both databases, and the macro that runs one statement on either.

use super::StorageError;
use super::checkpoint::{KEPT_LOG_BYTES, LONGEST_LOG_PAGES};
use super::sqlite_writer::{Length, Writer, Writing};
use crate::clock::Stopwatch;
use crate::metrics;
use margrave_shared::time::UnixMs;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::time::Duration;
use tracing::Instrument as _;

/// An open database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// SQLite in WAL mode: many readers, and one writer so that writers of one process queue instead of colliding.
    Sqlite {
        /// For transactions that only read.
        readers: SqlitePool,
        /// For transactions that write.
        writer: Writer,
    },
    /// PostgreSQL.
    Postgres(PgPool),
}

/// An open transaction. Dropped without [`Tx::commit`], nothing of it happened.
pub(crate) enum Tx {
    /// On SQLite.
    Sqlite(OnSqlite),
    /// On PostgreSQL.
    Postgres(OnPostgres),
}

/// A connection to SQLite that is held.
pub(crate) enum OnSqlite {
    /// In a transaction that writes.
    Writing(Writing),
    /// In one that reads.
    Reading(Transaction<'static, Sqlite>),
    /// Without one: each statement is its own.
    Alone(PoolConnection<Sqlite>),
}

/// A connection to PostgreSQL that is held.
pub(crate) enum OnPostgres {
    /// In a transaction.
    InTransaction(Transaction<'static, Postgres>),
    /// Without one: each statement is its own.
    Alone(PoolConnection<Postgres>),
}

impl Deref for OnSqlite {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Writing(inner) => inner,
            Self::Reading(inner) => inner,
            Self::Alone(inner) => inner,
        }
    }
}

impl DerefMut for OnSqlite {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Writing(inner) => inner,
            Self::Reading(inner) => inner,
            Self::Alone(inner) => inner,
        }
    }
}

impl Deref for OnPostgres {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        match self {
            Self::InTransaction(inner) => inner,
            Self::Alone(inner) => inner,
        }
    }
}

impl DerefMut for OnPostgres {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::InTransaction(inner) => inner,
            Self::Alone(inner) => inner,
        }
    }
}

impl OnSqlite {
    async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Writing(inner) => inner.commit().await,
            Self::Reading(inner) => inner.commit().await,
            Self::Alone(_) => Ok(()),
        }
    }
}

impl OnPostgres {
    async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::InTransaction(inner) => inner.commit().await,
            Self::Alone(_) => Ok(()),
        }
    }
}

/// Runs one expression on whichever database the transaction belongs to: `on_tx!(tx, c => query.fetch_one(c).await)`.
macro_rules! on_tx {
    ($tx:expr, $connection:ident => $body:expr) => {
        match $tx {
            $crate::storage::Tx::Sqlite(inner) => {
                let $connection = &mut **inner;
                $body
            }
            $crate::storage::Tx::Postgres(inner) => {
                let $connection = &mut **inner;
                $body
            }
        }
        .map_err($crate::storage::StorageError::from)
    };
}
pub(crate) use on_tx;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for a lock on PostgreSQL, in milliseconds.
const LOCK_TIMEOUT_MS: &str = "5000";

/// How long a transaction may do nothing on PostgreSQL, in milliseconds: what an issuer that is frozen has locked, others wait for.
const IDLE_TIMEOUT_MS: &str = "10000";

/// How long a connection may have rested and be used without being asked first.
const ASKED_AFTER: Duration = Duration::from_secs(1);

impl Db {
    /// Opens `sqlite:path` or `postgres://…`. A SQLite file is made if it is not there.
    ///
    /// # Errors
    /// [`StorageError`] when the URL cannot be read or the database cannot be reached.
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, StorageError> {
        if url.starts_with("postgres") {
            // Who waits for a lock holds a connection: one stuck lock must not take all of them.
            let options = PgConnectOptions::from_str(url)?.application_name("margrave").options([
                ("lock_timeout", LOCK_TIMEOUT_MS),
                ("idle_in_transaction_session_timeout", IDLE_TIMEOUT_MS),
                // A statement is planned once for a connection. What was planned while its table was small would read all of it for
                // as long as that takes to be noticed; and what has no index is not worth compiling.
                ("enable_seqscan", "off"),
                ("jit", "off"),
            ]);
            // The pool would try again until its patience ends, and then say only that it ended.
            let first = PgConnection::connect_with(&options);
            let first =
                tokio::time::timeout(BUSY_TIMEOUT, first).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
            first?.close().await?;
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_TIMEOUT)
                // A connection in steady use is not asked whether it still stands: that is a round trip for each use.
                .test_before_acquire(false)
                .before_acquire(|connection, state| {
                    Box::pin(async move {
                        if state.idle_for > ASKED_AFTER {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .connect_with(options)
                .await?;
            return Ok(Self::Postgres(pool));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A power cut, too, must not bring a spent refresh token back to life.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", LONGEST_LOG_PAGES)
            // Nor is it left in a log that was longer once.
            .pragma("journal_size_limit", KEPT_LOG_BYTES)
            // What is erased is not left in free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // There is no network between, so nothing to ask. A transaction of a reader whose end failed is over for SQLite and not
            // for sqlx, which would begin nothing on this connection any more.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
        let writer = Writer::open(pool.clone(), options.clone(), BUSY_TIMEOUT).await?;
        let readers = pool.max_connections(connections.min(8)).connect_with(options).await?;
        Ok(Self::Sqlite { readers, writer })
    }

    /// Begins a transaction that may write. On SQLite it has the write lock at once, so that no read in it is
    /// outdated when it writes.
    ///
    /// What it reads may be what others have done and not committed yet: whoever answers by that commits first, as who writes does.
    pub(crate) async fn begin(&self) -> Result<Tx, StorageError> {
        self.begin_of(Length::Short).await
    }

    /// The same for many statements at once, which nobody should wait for whose own are done.
    pub(crate) async fn begin_long(&self) -> Result<Tx, StorageError> {
        self.begin_of(Length::Long).await
    }

    async fn begin_of(&self, length: Length) -> Result<Tx, StorageError> {
        let watch = Stopwatch::start();
        let span = tracing::debug_span!("database.begin", otel.kind = "client");
        let tx = match self {
            Self::Sqlite { writer, .. } => {
                Tx::Sqlite(OnSqlite::Writing(writer.begin(length).instrument(span).await?))
            }
            Self::Postgres(pool) => {
                Tx::Postgres(OnPostgres::InTransaction(pool.begin().instrument(span).await?))
            }
        };
        metrics::database("begin", watch);
        Ok(tx)
    }

    /// Begins a transaction that only reads.
    pub(crate) async fn read(&self) -> Result<Tx, StorageError> {
        let watch = Stopwatch::start();
        let tx = match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(OnSqlite::Reading(readers.begin().await?)),
            Self::Postgres(pool) => Tx::Postgres(OnPostgres::InTransaction(pool.begin().await?)),
        };
        metrics::database("read", watch);
        Ok(tx)
    }

    /// Begins a transaction that reads everything as it is at one moment, however long it takes.
    pub(crate) async fn snapshot(&self) -> Result<Tx, StorageError> {
        Ok(match self {
            // A transaction in WAL mode is one already.
            Self::Sqlite { readers, .. } => Tx::Sqlite(OnSqlite::Reading(readers.begin().await?)),
            Self::Postgres(pool) => {
                let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
                // What is read may be written to who is slow.
                sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *tx).await?;
                Tx::Postgres(OnPostgres::InTransaction(tx))
            }
        })
    }

    /// For statements that read and need not agree with each other: no transaction, and so two round trips fewer.
    pub(crate) async fn glance(&self) -> Result<Tx, StorageError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(OnSqlite::Alone(readers.acquire().await?)),
            Self::Postgres(pool) => Tx::Postgres(OnPostgres::Alone(pool.acquire().await?)),
        })
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StorageError> {
        let mut tx = self.glance().await?;
        on_tx!(&mut tx, c => sqlx::query("SELECT 1").execute(c).await.map(|_| ()))
    }

    /// The database's own time.
    pub(crate) async fn time(&self) -> Result<UnixMs, StorageError> {
        let sql = match self {
            Self::Sqlite { .. } => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Self::Postgres(_) => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        };
        let mut tx = self.glance().await?;
        on_tx!(&mut tx, c => sqlx::query_scalar(sql).fetch_one(c).await).map(UnixMs)
    }

    /// Closes all connections, after the running transactions.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes all of it happen.
    pub(crate) async fn commit(self) -> Result<(), StorageError> {
        let watch = Stopwatch::start();
        let span = tracing::debug_span!("database.commit", otel.kind = "client");
        match self {
            Self::Sqlite(tx) => tx.commit().instrument(span).await?,
            Self::Postgres(tx) => tx.commit().instrument(span).await?,
        }
        metrics::database("commit", watch);
        Ok(())
    }
}
