//! Making a database from one.

use super::BackupError;
use super::file::{Header, Read, TableLine, read};
use super::store::{insert_rows, is_filled, most_rows, schema, tables, update_epoch};
use super::tables::Table;
use crate::storage::{Db, Tx, latest_schema, migrate, migrate_to};
use margrave_shared::secret::SecretKey;
use std::collections::BTreeSet;
use std::path::Path;
use tokio::sync::mpsc;

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored {
    /// How many rows.
    pub(crate) rows: u64,
    /// Unix milliseconds of the moment that the backup is of.
    pub(crate) at: i64,
}

/// Fills an empty database in one transaction, and brings it up to date. The feed has a new epoch then, so that every edge loads
/// everything anew.
///
/// # Errors
/// [`BackupError`]; the database is empty then, as it was.
pub(crate) async fn restore(
    db: &Db,
    key: &SecretKey,
    path: &Path,
    epoch: &str,
    mut told: impl FnMut(u64),
) -> Result<Restored, BackupError> {
    // Once through before anything is written: it is whole, and of this master key.
    let header: Header = read(path, key, |_| Ok(()))?;
    if header.schema > latest_schema() {
        return Err(BackupError::TooNew(header.schema, latest_schema()));
    }
    // Before its schema is touched.
    expect_empty(&mut db.begin().await?).await?;
    migrate_to(db, header.schema).await?;
    let there = schema(&mut db.glance().await?).await?;
    if there > header.schema {
        return Err(BackupError::Further(there, header.schema));
    }
    let mut tx = db.begin().await?;
    let known = expect_empty(&mut tx).await?;
    let rows = fill(&mut tx, &known, key, path, &mut told).await?;
    update_epoch(&mut tx, epoch).await?;
    tx.commit().await?;
    migrate(db).await?;
    Ok(Restored { rows, at: header.at })
}

/// The tables, of which none holds anything.
async fn expect_empty(tx: &mut Tx) -> Result<Vec<Table>, BackupError> {
    let known = tables(tx).await?;
    for table in &known {
        if is_filled(tx, table).await? {
            return Err(BackupError::NotEmpty(table.name.clone()));
        }
    }
    Ok(known)
}

/// Reads on a thread of its own, since files are read by waiting.
async fn fill(
    tx: &mut Tx,
    known: &[Table],
    key: &SecretKey,
    path: &Path,
    told: &mut impl FnMut(u64),
) -> Result<u64, BackupError> {
    let (sender, mut received) = mpsc::channel(1_000);
    let (key, path) = (key.clone(), path.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        read(&path, &key, |line| {
            sender.blocking_send(line).map_err(|_| BackupError::NotABackup(0, "nobody reads on"))
        })
    });
    let (mut table, mut waiting, mut rows): (Option<Table>, Vec<_>, u64) = (None, Vec::new(), 0);
    let mut missing: BTreeSet<&str> = known.iter().map(|table| table.name.as_str()).collect();
    while let Some(line) = received.recv().await {
        match line {
            Read::Table(TableLine { table: name, columns }) => {
                if let Some(table) = &table {
                    insert_rows(tx, table, std::mem::take(&mut waiting)).await?;
                }
                let next = Table { name, columns };
                let alike = known.iter().any(|known| {
                    known.name == next.name
                        && known.columns.len() == next.columns.len()
                        && next.columns.iter().all(|column| known.columns.contains(column))
                });
                if !alike {
                    return Err(BackupError::NotABackup(0, "a table of it is not of its schema"));
                }
                missing.remove(next.name.as_str());
                table = Some(next);
            }
            Read::Row(row) => {
                waiting.push(row);
                rows += 1;
                if rows % 10_000 == 0 {
                    told(rows);
                }
                if let Some(table) = table.as_ref().filter(|table| waiting.len() >= most_rows(table)) {
                    insert_rows(tx, table, std::mem::take(&mut waiting)).await?;
                }
            }
        }
    }
    if let Some(table) = &table {
        insert_rows(tx, table, waiting).await?;
    }
    if !missing.is_empty() {
        return Err(BackupError::NotABackup(0, "a table of its schema is not in it"));
    }
    // The proof is checked again: the file may have changed since the first time.
    reading.await.map_err(|_| BackupError::NotABackup(0, "it could not be read"))??;
    Ok(rows)
}
