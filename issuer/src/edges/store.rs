//! The edges' SQL.

use super::{Edge, EdgeFacts};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::EdgeId;
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO edges (id, name, public_key, merchants, created_at, push_url, next_public_key)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const FIND: &str =
    "SELECT id, name, public_key, next_public_key, next_key_used_at, merchants, push_url, created_at, version
    FROM edges WHERE id = $1 AND disabled_at IS NULL";
const FIND_ALL: &str =
    "SELECT id, name, public_key, next_public_key, next_key_used_at, merchants, push_url, created_at, version
    FROM edges WHERE disabled_at IS NULL ORDER BY name";
const UPDATE: &str =
    "UPDATE edges SET public_key = $2, next_public_key = $3, merchants = $4, push_url = $5, name = $6,
    next_key_used_at = CASE WHEN next_public_key = $3 THEN next_key_used_at END, version = version + 1
    WHERE id = $1 AND version = $7 AND disabled_at IS NULL";
const NOTE_NEXT_KEY: &str = "UPDATE edges SET next_key_used_at = $3 WHERE id = $1 AND next_public_key = $2 AND next_key_used_at IS NULL";
const DISABLE: &str =
    "UPDATE edges SET disabled_at = $2, version = version + 1 WHERE id = $1 AND disabled_at IS NULL";
const PUT_LETTER: &str = "INSERT INTO dead_letters (edge_id, from_seq, to_seq, at, attempts, error)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (edge_id, from_seq) DO UPDATE SET to_seq = excluded.to_seq,
    at = excluded.at, attempts = excluded.attempts, error = excluded.error";
const DELETE_OLD_LETTERS: &str = "DELETE FROM dead_letters WHERE at < $1";
const FIND_STANDING: &str = "SELECT id FROM edges WHERE disabled_at IS NULL OR disabled_at > $1";
const FIND_LETTERS: &str =
    "SELECT edge_id, from_seq, to_seq, at, attempts, error FROM dead_letters ORDER BY at DESC LIMIT $1";

#[cfg(test)]
const ALL: &[&str] = &[
    INSERT,
    FIND,
    FIND_ALL,
    UPDATE,
    NOTE_NEXT_KEY,
    DISABLE,
    PUT_LETTER,
    DELETE_OLD_LETTERS,
    FIND_LETTERS,
    FIND_STANDING,
];

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    public_key: Vec<u8>,
    next_public_key: Option<Vec<u8>>,
    next_key_used_at: Option<i64>,
    merchants: String,
    push_url: Option<String>,
    created_at: i64,
    version: i64,
}

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

impl TryFrom<Row> for Edge {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "edges", column };
        let next = row.next_public_key.map(TryInto::try_into).transpose();
        Ok(Self {
            id: EdgeId::parse(&row.id).map_err(|_| corrupt("id"))?,
            created_at: UnixMs(row.created_at),
            version: row.version,
            next_key_used_at: row.next_key_used_at.map(UnixMs),
            facts: EdgeFacts {
                name: row.name,
                public_key: row.public_key.try_into().map_err(|_| corrupt("public_key"))?,
                next_public_key: next.map_err(|_| corrupt("next_public_key"))?,
                merchants: row.merchants.split(' ').map(str::to_owned).collect(),
                push_url: row.push_url,
            },
        })
    }
}

pub(super) async fn insert_edge(tx: &mut Tx, edge: &Edge) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(edge.id.as_str())
        .bind(&edge.name)
        .bind(edge.public_key.as_slice())
        .bind(edge.merchants.join(" "))
        .bind(edge.created_at.0)
        .bind(edge.push_url.as_deref())
        .bind(edge.next_public_key.as_ref().map(<[u8; 32]>::as_slice))
        .execute(c)
        .await
        .map(|_| ()))
}

/// Changes an edge; `false` when it is of another version or disabled.
pub(super) async fn update_edge(tx: &mut Tx, edge: &Edge, version: i64) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE)
        .bind(edge.id.as_str())
        .bind(edge.public_key.as_slice())
        .bind(edge.next_public_key.as_ref().map(<[u8; 32]>::as_slice))
        .bind(edge.merchants.join(" "))
        .bind(edge.push_url.as_deref())
        .bind(&edge.name)
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Notes that an edge has signed with its next key.
pub(super) async fn note_next_key(
    tx: &mut Tx,
    id: &EdgeId,
    key: &[u8; 32],
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(NOTE_NEXT_KEY)
        .bind(id.as_str())
        .bind(key.as_slice())
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// An edge that is not disabled.
pub(crate) async fn find_edge(tx: &mut Tx, id: &EdgeId) -> Result<Option<Edge>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(c).await)?;
    row.map(Edge::try_from).transpose()
}

pub(super) async fn update_disabled(tx: &mut Tx, id: &EdgeId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DISABLE)
        .bind(id.as_str())
        .bind(now.0)
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
    rows.into_iter().map(Edge::try_from).collect()
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
