//! Writing one.

use super::BackupError;
use super::file::{Header, Writer};
use super::store::{read_rows, schema, tables};
use super::tables::Value;
use crate::storage::Tx;
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use std::path::Path;

/// Writes everything that a snapshot sees into a new file, while the issuer goes on. `told` hears of every ten thousand rows.
///
/// # Errors
/// [`BackupError`]; the file is not there then.
pub(crate) async fn write_backup(
    tx: &mut Tx,
    key: &SecretKey,
    path: &Path,
    now: UnixMs,
    mut told: impl FnMut(u64),
) -> Result<u64, BackupError> {
    let header = Header { margrave_backup: 1, schema: schema(tx).await?, at: now.0 };
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&part);
    if path.exists() {
        let there = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is there already");
        return Err(BackupError::File(path.display().to_string(), there));
    }
    let mut writer = Writer::create(part, key, header)?;
    let written = async {
        let mut rows = 0;
        for table in tables(tx).await? {
            writer.table(&table)?;
            let each = |row: &[Value]| {
                rows += 1;
                if rows % 10_000 == 0 {
                    told(rows);
                }
                writer.row(row)
            };
            read_rows(tx, &table, each).await?;
        }
        Ok::<_, BackupError>(())
    };
    let whole = match written.await {
        Ok(()) => writer.end(),
        Err(error) => Err(error),
    };
    let failed = |error| BackupError::File(path.display().to_string(), error);
    match whole {
        Ok(rows) => std::fs::rename(part, path).map_err(failed).map(|()| rows),
        Err(error) => {
            let _ = std::fs::remove_file(part);
            Err(error)
        }
    }
}
