//! The SQL of whole tables, as the database itself describes them.

use super::BackupError;
use super::tables::{Kind, Table, Value};
use crate::storage::{StorageError, Tx, on_tx};
use futures_util::TryStreamExt as _;
use margrave_shared::base64;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};
use std::collections::BTreeMap;

/// What others refer to comes before them.
const FIRST: [&str; 6] = ["merchants", "x_addresses", "roles", "accounts", "edges", "organizations"];

/// What does not come back: places of tokens in status lists, which live for minutes; resets, which may have been used since, and notices,
/// which were sent.
const LEFT_OUT: [&str; 3] = ["token_statuses", "account_resets", "notices"];

const COLUMNS_OF_SQLITE: &str = "SELECT m.name, p.name, p.type FROM sqlite_master m
    JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '_sqlx%'
    ORDER BY m.name, p.cid";
const COLUMNS_OF_POSTGRES: &str = "SELECT table_name::text, c.column_name::text, c.data_type::text
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND table_name NOT LIKE '\\_sqlx%'
    ORDER BY table_name, c.ordinal_position";

fn kind_of(declared: &str) -> Option<Kind> {
    Some(match declared.to_ascii_lowercase().as_str() {
        "text" => Kind::Text,
        "integer" | "bigint" => Kind::Number,
        "blob" | "bytea" => Kind::Bytes,
        _ => return None,
    })
}

/// Every table that is copied, in the order in which they can be filled.
pub(super) async fn tables(tx: &mut Tx) -> Result<Vec<Table>, StorageError> {
    let sql = match tx {
        Tx::Sqlite(_) => COLUMNS_OF_SQLITE,
        Tx::Postgres(_) => COLUMNS_OF_POSTGRES,
    };
    let rows: Vec<(String, String, String)> = on_tx!(tx, c => sqlx::query_as(sql).fetch_all(c).await)?;
    let mut by_name: BTreeMap<String, Vec<(String, Kind)>> = BTreeMap::new();
    for (table, column, declared) in rows {
        let kind = kind_of(&declared).ok_or(StorageError::Corrupt { table: "schema", column: "type" })?;
        by_name.entry(table).or_default().push((column, kind));
    }
    for name in LEFT_OUT {
        by_name.remove(name);
    }
    let mut all: Vec<Table> = by_name.into_iter().map(|(name, columns)| Table { name, columns }).collect();
    all.sort_by_key(|table| FIRST.iter().position(|first| *first == table.name).unwrap_or(FIRST.len()));
    Ok(all)
}

/// The number of the last migration that has been applied.
pub(super) async fn schema(tx: &mut Tx) -> Result<i64, StorageError> {
    const LAST: &str = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";
    on_tx!(tx, c => sqlx::query_scalar(LAST).fetch_one(c).await)
}

/// Whether a table holds anything.
pub(super) async fn is_filled(tx: &mut Tx, table: &Table) -> Result<bool, StorageError> {
    // Names out of the schema, which are ours; so in the other statements.
    let sql = format!("SELECT COUNT(*) FROM {}", table.name);
    let rows: i64 = on_tx!(tx, c => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c).await)?;
    Ok(rows > 0)
}

/// Gives the restored feed an epoch of its own.
pub(super) async fn update_epoch(tx: &mut Tx, epoch: &str) -> Result<(), StorageError> {
    const RENEW: &str = "UPDATE feed SET epoch = $1 WHERE id = 1";
    on_tx!(tx, c => sqlx::query(RENEW).bind(epoch).execute(c).await.map(|_| ()))
}

/// Gives every row of a table to `each`.
pub(super) async fn read_rows(
    tx: &mut Tx,
    table: &Table,
    mut each: impl FnMut(&[Value]) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
    let mut failed = None;
    on_tx!(tx, c => async {
        let mut found = sqlx::query(AssertSqlSafe(sql)).fetch(c);
        while let Some(row) = found.try_next().await? {
            let values: Result<Vec<Value>, sqlx::Error> = table
                .columns
                .iter()
                .enumerate()
                .map(|(place, (_, kind))| {
                    Ok(match kind {
                        Kind::Text => row.try_get::<Option<String>, _>(place)?.map_or(Value::Null, Value::Text),
                        Kind::Number => row.try_get::<Option<i64>, _>(place)?.map_or(Value::Null, Value::Number),
                        Kind::Bytes => row
                            .try_get::<Option<Vec<u8>>, _>(place)?
                            .map_or(Value::Null, |bytes| Value::Bytes { bytes: base64::encode_url(&bytes) }),
                    })
                })
                .collect();
            if let Err(error) = each(&values?) {
                failed = Some(error);
                break;
            }
        }
        Ok::<_, sqlx::Error>(())
    }
    .await)?;
    failed.map_or(Ok(()), Err)
}

/// The most parameters of one statement: what both databases take.
const MOST_PARAMETERS: usize = 30_000;

/// How many rows of a table go into one statement.
pub(super) fn most_rows(table: &Table) -> usize {
    500.min(MOST_PARAMETERS / table.columns.len().max(1))
}

/// Inserts rows; at most [`most_rows`] of them.
pub(super) async fn insert_rows(
    tx: &mut Tx,
    table: &Table,
    rows: Vec<Vec<Value>>,
) -> Result<(), BackupError> {
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    let begin = format!("INSERT INTO {} ({}) ", table.name, names.join(", "));
    let unfit = || BackupError::NotABackup(0, "a value is not of its column's kind");
    let rows: Vec<Vec<Typed>> = rows
        .into_iter()
        .map(|row| {
            row.into_iter().zip(&table.columns).map(|(value, (_, kind))| typed(value, *kind)).collect()
        })
        .collect::<Option<_>>()
        .ok_or_else(unfit)?;
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new(begin);
        query.push_values(&rows, |mut values, row| {
            for value in row {
                match value {
                    Typed::Text(text) => values.push_bind(text.as_deref()),
                    Typed::Number(number) => values.push_bind(*number),
                    Typed::Bytes(bytes) => values.push_bind(bytes.as_deref()),
                };
            }
        });
        // Not kept: each number of rows is a statement of its own.
        query.build().persistent(false).execute(c).await.map(|_| ())
    })
    .map_err(|error: StorageError| error.into())
}

/// A value of its column's kind; PostgreSQL tells nothing of one kind from nothing of another.
enum Typed {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

fn typed(value: Value, kind: Kind) -> Option<Typed> {
    Some(match (kind, value) {
        (Kind::Text, Value::Null) => Typed::Text(None),
        (Kind::Text, Value::Text(text)) => Typed::Text(Some(text)),
        (Kind::Number, Value::Null) => Typed::Number(None),
        (Kind::Number, Value::Number(number)) => Typed::Number(Some(number)),
        (Kind::Bytes, Value::Null) => Typed::Bytes(None),
        (Kind::Bytes, Value::Bytes { bytes }) => Typed::Bytes(Some(base64::decode_url(&bytes).ok()?)),
        _ => return None,
    })
}
