//! SQLite's checkpoints, beside the one who writes. To bring a write-ahead log of four megabytes into its database may take the disk half
//! a second, and by itself SQLite has the writer do it, who holds up everybody. Another connection does it without (SQLite: "Write-Ahead
//! Logging", section 3.4, `PASSIVE`); the writer does so by itself only when the log is many times longer.

use super::{Db, StorageError};
use std::time::Duration;

/// Pages of the log at which the writer does it by itself: 128 MB.
pub(super) const LONGEST_LOG_PAGES: &str = "32768";

/// What is left of the log when it begins anew.
pub(super) const KEPT_LOG_BYTES: &str = "4194304";

/// Pages of a log that somebody keeps from being brought in, by reading for long.
const TOO_LONG_PAGES: i64 = 4 * 32_768;

/// How often it is looked whether there is anything to do.
const EVERY: Duration = Duration::from_millis(250);

/// So many transactions are worth it,
const MANY: usize = 2_000;

/// or any, after so many looks: ten seconds.
const AT_LEAST_EVERY: usize = 40;

/// Checkpoints until the process ends. On PostgreSQL there is nothing to do.
pub(crate) async fn run(db: Db) {
    let mut looks = 0;
    let Db::Sqlite { writer, .. } = &db else { return };
    loop {
        tokio::time::sleep(EVERY).await;
        looks += 1;
        if writer.have_begun(if looks < AT_LEAST_EVERY { MANY } else { 1 }) {
            looks = 0;
            if let Err(error) = checkpoint(&db).await {
                tracing::warn!(%error, "the write-ahead log grows");
            }
        }
    }
}

async fn checkpoint(db: &Db) -> Result<(), StorageError> {
    if let Db::Sqlite { readers, .. } = db {
        let mut connection = readers.acquire().await?;
        let (_, pages, _): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *connection).await?;
        if pages > TOO_LONG_PAGES {
            tracing::warn!(pages, "the write-ahead log cannot be brought in: who reads for so long?");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{KEPT_LOG_BYTES, checkpoint};
    use crate::storage::testing::sqlite;
    use crate::storage::{Db, on_tx};

    async fn write(db: &Db, sql: &'static str) {
        let mut tx = db.begin().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn no_writer_brings_the_log_in_and_what_was_long_once_is_cut() {
        const MANY: &str = "INSERT INTO big SELECT randomblob(1000000) FROM
            (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT i FROM n)";
        let db = sqlite().await;
        let mut tx = db.read().await.unwrap();
        let path: String = on_tx!(&mut tx, c => {
            sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'").fetch_one(c).await
        })
        .unwrap();
        drop(tx);
        let bytes = |of: String| std::fs::metadata(of).unwrap().len();
        let kept: u64 = KEPT_LOG_BYTES.parse().unwrap();
        write(&db, "CREATE TABLE big (blob BLOB NOT NULL)").await;
        write(&db, MANY).await;
        assert!(bytes(format!("{path}-wal")) > 2 * kept);
        assert!(bytes(path.clone()) < kept, "the writer has not done it");
        checkpoint(&db).await.unwrap();
        assert!(bytes(path.clone()) > 2 * kept);
        // The log begins anew with the next who writes.
        write(&db, "DELETE FROM big WHERE rowid > 9").await;
        assert!(bytes(format!("{path}-wal")) <= kept);
    }
}
