//! The edges' SQL.

use super::Edge;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::EdgeId;
use margrave_shared::time::UnixMs;

const INSERT: &str = "INSERT INTO edges (id, name, public_key, merchants, created_at, push_url) VALUES ($1, $2, $3, $4, $5, $6)";
const FIND: &str =
    "SELECT id, name, public_key, merchants, push_url FROM edges WHERE id = $1 AND disabled_at IS NULL";
const FIND_ALL: &str =
    "SELECT id, name, public_key, merchants, push_url FROM edges WHERE disabled_at IS NULL ORDER BY name";
const DISABLE: &str = "UPDATE edges SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";
const SET_PUSH: &str = "UPDATE edges SET push_url = $2 WHERE id = $1 AND disabled_at IS NULL";
const PUT_LETTER: &str = "INSERT INTO dead_letters (edge_id, from_seq, to_seq, at, attempts, error)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (edge_id, from_seq) DO UPDATE SET to_seq = excluded.to_seq,
    at = excluded.at, attempts = excluded.attempts, error = excluded.error";
const DELETE_OLD_LETTERS: &str = "DELETE FROM dead_letters WHERE at < $1";
const FIND_STANDING: &str = "SELECT id FROM edges WHERE disabled_at IS NULL OR disabled_at > $1";
const FIND_LETTERS: &str =
    "SELECT edge_id, from_seq, to_seq, at, attempts, error FROM dead_letters ORDER BY at DESC LIMIT $1";

#[cfg(test)]
const ALL: &[&str] =
    &[INSERT, FIND, FIND_ALL, DISABLE, SET_PUSH, PUT_LETTER, DELETE_OLD_LETTERS, FIND_LETTERS, FIND_STANDING];

type Row = (String, String, Vec<u8>, String, Option<String>);

/// A push that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    /// The edge that did not take it.
    pub(crate) edge_id: EdgeId,
    /// The number after which it began.
    pub(crate) from: i64,
    /// The last number in it.
    pub(crate) to: i64,
    /// When it was given up.
    pub(crate) at: UnixMs,
    /// After how many tries.
    pub(crate) attempts: i64,
    /// What the last one said.
    pub(crate) error: String,
}

fn edge((id, name, public_key, merchants, push_url): Row) -> Result<Edge, StorageError> {
    let corrupt = |column| StorageError::Corrupt { table: "edges", column };
    Ok(Edge {
        id: EdgeId::parse(&id).map_err(|_| corrupt("id"))?,
        name,
        public_key: public_key.try_into().map_err(|_| corrupt("public_key"))?,
        merchants: merchants.split(' ').map(str::to_owned).collect(),
        push_url,
    })
}

pub(super) async fn insert_edge(tx: &mut Tx, edge: &Edge, now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(edge.id.as_str())
        .bind(&edge.name)
        .bind(edge.public_key.as_slice())
        .bind(edge.merchants.join(" "))
        .bind(now.0)
        .bind(edge.push_url.as_deref())
        .execute(c)
        .await
        .map(|_| ()))
}

/// An edge that is not disabled.
pub(crate) async fn find_edge(tx: &mut Tx, id: &EdgeId) -> Result<Option<Edge>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(c).await)?;
    row.map(edge).transpose()
}

pub(super) async fn update_disabled(tx: &mut Tx, id: &EdgeId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DISABLE)
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn update_push_url(
    tx: &mut Tx,
    id: &EdgeId,
    url: Option<&str>,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(SET_PUSH)
        .bind(id.as_str())
        .bind(url)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Keeps a letter: one for each number at which an edge stopped taking pushes.
pub(super) async fn put_dead_letter(tx: &mut Tx, letter: &DeadLetter) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT_LETTER)
        .bind(letter.edge_id.as_str())
        .bind(letter.from)
        .bind(letter.to)
        .bind(letter.at.0)
        .bind(letter.attempts)
        .bind(&letter.error)
        .execute(c)
        .await
        .map(|_| ()))
}

/// The pushes that were given up, newest first.
pub(crate) async fn find_dead_letters(tx: &mut Tx, limit: i64) -> Result<Vec<DeadLetter>, StorageError> {
    let rows: Vec<(String, i64, i64, i64, i64, String)> =
        on_tx!(tx, c => sqlx::query_as(FIND_LETTERS).bind(limit).fetch_all(c).await)?;
    rows.into_iter()
        .map(|(edge_id, from, to, at, attempts, error)| {
            let corrupt = |_| StorageError::Corrupt { table: "dead_letters", column: "edge_id" };
            let edge_id = EdgeId::parse(&edge_id).map_err(corrupt)?;
            Ok(DeadLetter { edge_id, from, to, at: UnixMs(at), attempts, error })
        })
        .collect()
}

/// Deletes letters from before a time; gives how many.
pub(super) async fn delete_old_letters(tx: &mut Tx, before: UnixMs) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_OLD_LETTERS).bind(before.0).execute(c).await.map(|d| d.rows_affected()))
}

/// The edges that are not disabled, or were only after a time.
pub(super) async fn find_standing(tx: &mut Tx, since: UnixMs) -> Result<Vec<EdgeId>, StorageError> {
    let ids: Vec<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_STANDING).bind(since.0).fetch_all(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "edges", column: "id" };
    ids.iter().map(|id| EdgeId::parse(id).map_err(corrupt)).collect()
}

/// All edges that are not disabled, by name.
pub(crate) async fn find_edges(tx: &mut Tx) -> Result<Vec<Edge>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_ALL).fetch_all(c).await)?;
    rows.into_iter().map(edge).collect()
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
