//! The edges' SQL.

use super::Edge;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::EdgeId;
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO edges (id, name, public_key, merchants, created_at) VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT id, name, public_key, merchants FROM edges WHERE id = $1 AND disabled_at IS NULL";
const FIND_ALL: &str =
    "SELECT id, name, public_key, merchants FROM edges WHERE disabled_at IS NULL ORDER BY name";

const DISABLE: &str = "UPDATE edges SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, FIND_ALL, DISABLE];

type Row = (String, String, Vec<u8>, String);

fn edge((id, name, public_key, merchants): Row) -> Result<Edge, StorageError> {
    let corrupt = |column| StorageError::Corrupt { table: "edges", column };
    Ok(Edge {
        id: EdgeId::parse(&id).map_err(|_| corrupt("id"))?,
        name,
        public_key: public_key.try_into().map_err(|_| corrupt("public_key"))?,
        merchants: merchants.split(' ').map(str::to_owned).collect(),
    })
}

pub(super) async fn insert_edge(tx: &mut Tx, edge: &Edge, now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(edge.id.as_str())
        .bind(&edge.name)
        .bind(edge.public_key.as_slice())
        .bind(edge.merchants.join(" "))
        .bind(now.0)
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
