//! What can go wrong with the database.

use crate::metrics;

/// A storage failure. Nothing of it is shown to a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// A unique value is there already, or what is referred to is not, or is referred to still.
    #[error("conflict")]
    Conflict,
    /// A stored value cannot be read; somebody else wrote it.
    #[error("corrupt value in {table}.{column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// What was to be committed together with others was not.
    #[error("it was not committed with the others, or waited too long for it")]
    Together,
    /// No connection, a full disk, a lock that was never released: later it may work.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Anything else the driver says.
    #[error("database: {0}")]
    Driver(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        let error = Self::of(error);
        match &error {
            Self::Unavailable(_) => metrics::database_failed("unavailable"),
            Self::Driver(_) => metrics::database_failed("driver"),
            Self::Conflict | Self::Corrupt { .. } | Self::Together => {}
        }
        error
    }
}

impl StorageError {
    fn of(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Database(inner) if inner.is_unique_violation() || inner.is_foreign_key_violation() => {
                Self::Conflict
            }
            E::Database(inner) if inner.code().is_some_and(|code| is_passing(&code)) => {
                Self::Unavailable(error)
            }
            E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) => {
                Self::Unavailable(error)
            }
            _ => Self::Driver(error),
        }
    }
}

/// Whether what a database says with this code may be over later.
fn is_passing(code: &str) -> bool {
    match code.len() {
        // PostgreSQL: classes 08 (connection), 53 (resources), 57 (intervention), 58 (system); read-only, a transaction that failed or
        // took too long, serialisation, deadlock, lock.
        5 => {
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || matches!(code, "25006" | "25P02" | "25P03" | "25P04" | "40001" | "40P01" | "55P03")
        }
        // SQLite, whose lowest byte is the class: busy 5, locked 6, read-only 8, I/O 10, full 13, cannot open 14.
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_passing;

    #[test]
    fn what_may_be_over_later_is_told_from_what_stays_wrong() {
        // Busy and its snapshot, I/O while writing, a full disk; no connection, too many, a lock that was not had.
        for code in ["5", "517", "778", "13", "08006", "53300", "57P01", "58030", "25P03", "40001", "55P03"] {
            assert!(is_passing(code), "{code}");
        }
        // A constraint and one of its kinds, no such table; a missing table, a missing right.
        for code in ["19", "2067", "1", "42P01", "42501", ""] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
