//! Migrations: numbered files, forward only, applied once and never edited. sqlx keeps the list in
//! `_sqlx_migrations` with a checksum of each file and holds an advisory lock while it applies them.
//!
//! A migration only adds what the release before can do without, so that both run beside each other during an upgrade; what
//! nothing needs any more is taken away by a later release. So a database that is further than this program is good.

use super::{Db, StorageError};
use sqlx::Executor as _;
use sqlx::migrate::{MigrateError, Migrator};
use std::sync::LazyLock;

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| and_later(sqlx::migrate!("migrations/sqlite")));
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| and_later(sqlx::migrate!("migrations/postgres")));

fn and_later(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

fn storage(error: MigrateError) -> StorageError {
    match error {
        MigrateError::Execute(inner) => inner.into(),
        other => StorageError::Driver(sqlx::Error::Migrate(Box::new(other))),
    }
}

/// Applies what is missing. Safe to run from several processes.
pub(crate) async fn migrate(db: &Db) -> Result<(), StorageError> {
    migrate_to(db, latest_schema()).await
}

/// Applies what is missing up to a migration.
pub(crate) async fn migrate_to(db: &Db, version: i64) -> Result<(), StorageError> {
    match db {
        Db::Sqlite { writer, .. } => SQLITE.run_to(version, writer.pool()).await,
        Db::Postgres(pool) => {
            // Whoever comes second waits for the first as long as it takes.
            let mut connection = pool.acquire().await?;
            connection.execute("SET lock_timeout = 0").await?;
            let done = POSTGRES.run_to(version, &mut *connection).await;
            connection.execute("RESET lock_timeout").await?;
            done
        }
    }
    .map_err(storage)
}

/// The number of the last migration that this program has.
pub(crate) fn latest_schema() -> i64 {
    SQLITE.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Whether nothing is missing.
pub(crate) async fn is_current(db: &Db) -> Result<bool, StorageError> {
    const LAST: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations WHERE success";
    let mut tx = db.read().await?;
    let applied: Result<i64, StorageError> =
        super::on_tx!(&mut tx, c => sqlx::query_scalar(LAST).fetch_one(c).await);
    match applied {
        Ok(applied) => Ok(applied >= latest_schema()),
        // The table is made by the first migration.
        Err(StorageError::Driver(sqlx::Error::Database(_))) => Ok(false),
        Err(error) => Err(error),
    }
}
