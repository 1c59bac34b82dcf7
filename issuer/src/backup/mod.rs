//! A copy of the whole database, of one moment, that either database can be made from again.
//!
//! ```text
//! {"margrave_backup":1,"schema":6,"at":…}            what it is, and the last migration that it has
//! {"table":"merchants","columns":[["id","text"],…]}   then its rows
//! ["0f…","Shop",{"bytes":"…"},null,1800000000000]
//! …
//! {"end":true,"rows":1234,"proof":"…"}                HMAC-SHA-256 of every line before, under the master key
//! ```

mod file;
mod restore;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use restore::restore;
pub(crate) use write::write_backup;

/// Why a backup cannot be made, or not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The file.
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
    /// The file is no backup, was changed, or is not whole.
    #[error("line {0} of the backup: {1}")]
    NotABackup(usize, &'static str),
    /// Its proof is of another master key, or of other lines.
    #[error(
        "the backup was changed, or made with another master key; it is restored with the one it was made with"
    )]
    NotProven,
    /// It is newer than this program.
    #[error(
        "the backup has schema {0}, and this margrave knows {1}: restore it with the release that made it, or a later one"
    )]
    TooNew(i64, i64),
    /// The database is further than the backup.
    #[error(
        "the database has schema {0} already, and the backup {1}: restore into a new one, which margrave brings up to date"
    )]
    Further(i64, i64),
    /// There is something already.
    #[error("the database is not empty ({0} has rows): restore into a new one")]
    NotEmpty(String),
    /// The database.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
}
