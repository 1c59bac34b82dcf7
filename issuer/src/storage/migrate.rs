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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a release that runs beside the one that has migrated does not notice a statement. `added` are the columns that the
    /// migration has added before it, as `TABLE.COLUMN`.
    fn only_adds(statement: &str, added: &mut Vec<String>) -> bool {
        let spaced = statement.replace('(', " ( ").replace(')', " ) ").replace(',', " ").to_ascii_uppercase();
        let words: Vec<_> = spaced.split_whitespace().collect();
        match words.as_slice() {
            ["CREATE", "TABLE" | "INDEX", ..] => true,
            // Of what it does not write nothing is refused.
            ["CREATE", "UNIQUE", "INDEX", _, "ON", table, "(", columns @ ..] => columns
                .iter()
                .take_while(|word| **word != ")")
                .all(|column| added.contains(&format!("{table}.{column}"))),
            // What it writes without the new column must still be let in.
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column, _, rest @ ..] => {
                added.push(format!("{table}.{column}"));
                !rest.contains(&"UNIQUE") && (!rest.contains(&"NOT") || rest.contains(&"DEFAULT"))
            }
            _ => false,
        }
    }

    #[test]
    fn what_only_adds_is_told_from_what_takes_away() {
        for (statement, only) in [
            ("CREATE TABLE a (b TEXT NOT NULL)", true),
            ("CREATE INDEX a_by_b ON a (b)", true),
            ("ALTER TABLE a ADD COLUMN b TEXT", true),
            ("ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT ''", true),
            ("CREATE UNIQUE INDEX a_by_b ON a (b) WHERE b IS NOT NULL", true),
            ("CREATE UNIQUE INDEX a_by_c ON a (b, c)", false),
            ("ALTER TABLE a ADD COLUMN d TEXT NOT NULL", false),
            ("ALTER TABLE a ADD COLUMN e TEXT UNIQUE", false),
            ("ALTER TABLE a DROP COLUMN b", false),
            ("ALTER TABLE a RENAME TO c", false),
            ("DROP TABLE a", false),
            ("UPDATE a SET b = ''", false),
        ] {
            let mut added = vec!["A.B".to_owned()];
            assert_eq!(only_adds(statement, &mut added), only, "{statement}");
        }
    }

    #[test]
    fn every_migration_but_the_first_only_adds_and_both_databases_have_the_same() {
        let kinds = [&*SQLITE, &*POSTGRES].map(|migrator| {
            let mut seen = Vec::new();
            for migration in migrator.iter().filter(|migration| migration.version > 1) {
                let without_comments = |line: &str| line.split("--").next().unwrap().to_owned();
                let sql: Vec<_> = migration.sql.as_str().lines().map(without_comments).collect();
                let (sql, mut added) = (sql.join(" "), Vec::new());
                for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
                    assert!(only_adds(statement, &mut added), "{}: {statement}", migration.version);
                }
                seen.push((migration.version, migration.description.clone()));
            }
            seen
        });
        assert_eq!(kinds[0], kinds[1]);
    }
}
