//! The notices' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::time::UnixMs;

// Of one thing one notice waits: whoever repeats it does not fill anybody's inbox.
const INSERT: &str =
    "INSERT INTO notices (id, about, urgency, sealed_text, created_at, next_at, tries, expires_at)
    VALUES ($1, $2, $3, $4, $5, $5, 0, $6) ON CONFLICT (about) DO NOTHING";
const FIND_DUE: &str = "SELECT id, sealed_text, next_at, tries FROM notices
    WHERE next_at <= $1 AND expires_at > $1 ORDER BY urgency DESC, next_at LIMIT $2";
// Of several processes that have found it one gets it.
const CLAIM: &str = "UPDATE notices SET next_at = $3, tries = tries + 1 WHERE id = $1 AND next_at = $2";
const DELETE: &str = "DELETE FROM notices WHERE id = $1";
const COUNT: &str = "SELECT COUNT(*) FROM notices";
const DELETE_DEAD: &str = "DELETE FROM notices WHERE id IN
    (SELECT id FROM notices WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND_DUE, CLAIM, DELETE, COUNT, DELETE_DEAD];

/// A notice whose turn it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Due {
    /// Its id.
    pub(super) id: String,
    /// A mail, sealed.
    pub(super) sealed_text: Vec<u8>,
    next_at: i64,
    /// How often it was tried before.
    pub(super) tries: i64,
}

pub(super) async fn insert_notice(
    tx: &mut Tx,
    id: &str,
    (about, urgency): (&str, i64),
    sealed: &[u8],
    now: UnixMs,
    expires_at: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(id)
        .bind(about)
        .bind(urgency)
        .bind(sealed)
        .bind(now.0)
        .bind(expires_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Those whose turn it is, the most urgent and the oldest first.
pub(super) async fn find_due(tx: &mut Tx, now: UnixMs, most: i64) -> Result<Vec<Due>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND_DUE).bind(now.0).bind(most).fetch_all(c).await)
}

/// Takes one, until `until` for oneself; `false` where somebody else was faster.
pub(super) async fn claim(tx: &mut Tx, due: &Due, until: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CLAIM)
        .bind(&due.id)
        .bind(due.next_at)
        .bind(until.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Takes one away: it was sent, or never will be.
pub(super) async fn delete_notice(tx: &mut Tx, id: &str) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE).bind(id).execute(c).await.map(|_| ()))
}

/// How many wait.
pub(crate) async fn count_waiting(tx: &mut Tx) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(COUNT).fetch_one(c).await)
}

/// Takes those away that nobody could be told in time; gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, before: UnixMs, most: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(before.0)
        .bind(most)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
