//! What can go wrong with the database.

/// A storage failure. Nothing of it is shown to a client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// A unique value is there already.
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
    /// What was committed together with others was not.
    #[error("the transaction that this was a part of failed")]
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
        use sqlx::Error as E;
        match &error {
            E::Database(inner) if inner.is_unique_violation() => Self::Conflict,
            // SQLite: busy 5, read-only 8, I/O 10, full 13; PostgreSQL: classes 08, 53, 57 and read-only 25006.
            E::Database(inner)
                if inner.code().is_some_and(|code| {
                    matches!(
                        code.as_ref(),
                        "5" | "8" | "10" | "13" | "517" | "261" | "25006" | "40001" | "40P01"
                    ) || ["08", "53", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                }) =>
            {
                Self::Unavailable(error)
            }
            E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) => {
                Self::Unavailable(error)
            }
            _ => Self::Driver(error),
        }
    }
}
