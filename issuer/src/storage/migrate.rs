//! Migrations: numbered files, forward only, applied once and never edited. sqlx keeps the list in
//! `_sqlx_migrations` with a checksum of each file and holds an advisory lock while it applies them.

use super::{Db, StorageError};
use sqlx::Executor as _;
use sqlx::migrate::{MigrateError, Migrator};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

fn storage(error: MigrateError) -> StorageError {
    match error {
        MigrateError::Execute(inner) => inner.into(),
        other => StorageError::Driver(sqlx::Error::Migrate(Box::new(other))),
    }
}

/// Applies what is missing. Safe to run from several processes.
pub(crate) async fn migrate(db: &Db) -> Result<(), StorageError> {
    match db {
        Db::Sqlite { writer, .. } => SQLITE.run(writer).await,
        Db::Postgres(pool) => {
            // Whoever comes second waits for the first as long as it takes.
            let mut connection = pool.acquire().await?;
            connection.execute("SET lock_timeout = 0").await?;
            let done = POSTGRES.run(&mut *connection).await;
            connection.execute("RESET lock_timeout").await?;
            done
        }
    }
    .map_err(storage)
}

/// Whether nothing is missing.
pub(crate) async fn is_current(db: &Db) -> Result<bool, StorageError> {
    const COUNT: &str = "SELECT COUNT(*) FROM _sqlx_migrations WHERE success";
    let mut tx = db.read().await?;
    let applied: Result<i64, StorageError> =
        super::on_tx!(&mut tx, c => sqlx::query_scalar(COUNT).fetch_one(c).await);
    match applied {
        Ok(applied) => Ok(applied == SQLITE.iter().count() as i64),
        // The table is made by the first migration.
        Err(StorageError::Driver(sqlx::Error::Database(_))) => Ok(false),
        Err(error) => Err(error),
    }
}
