//! Databases for the store suites: a new SQLite file and a new PostgreSQL schema for every test.

use super::{Db, Tx, migrate, on_tx};
use crate::entropy::Entropy;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

/// A new, empty SQLite database.
pub(crate) async fn sqlite() -> Db {
    let db = sqlite_unmigrated().await;
    migrate(&db).await.unwrap();
    db
}

/// One without any table.
pub(crate) async fn sqlite_unmigrated() -> Db {
    let name = format!("margrave-test-{:032x}.db", u128::from_be_bytes(Entropy.bytes()));
    let path = std::env::temp_dir().join(name);
    Db::open(&format!("sqlite:{}", path.display()), 4).await.unwrap()
}

/// A new, empty PostgreSQL database on the server that `TEST_POSTGRES_URL` names. `cargo xtask test` starts one.
pub(crate) async fn postgres() -> Db {
    let db = postgres_unmigrated().await;
    migrate(&db).await.unwrap();
    db
}

/// One without any table.
pub(crate) async fn postgres_unmigrated() -> Db {
    let url =
        std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set: run `cargo xtask test`");
    let name = format!("t{:032x}", u128::from_be_bytes(Entropy.bytes()));
    let Db::Postgres(pool) = Db::open(&url, 1).await.unwrap() else { panic!("not a PostgreSQL URL") };
    pool.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    pool.close().await;
    let (server, _) = url.rsplit_once('/').unwrap();
    Db::open(&format!("{server}/{name}"), 8).await.unwrap()
}

/// Prepares every statement of a store, so that a misspelt column fails here and not in production.
pub(crate) async fn prepare_all(db: &Db, statements: &[&'static str]) {
    let mut tx = db.begin().await.unwrap();
    for statement in statements {
        let prepared = match &mut tx {
            Tx::Sqlite(inner) => (&mut **inner).prepare(statement.into_sql_str()).await.map(|_| ()),
            Tx::Postgres(inner) => (&mut **inner).prepare(statement.into_sql_str()).await.map(|_| ()),
        };
        prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// As long as this is held, nobody writes into a table.
pub(crate) async fn block_writers(db: &Db, table: &str) -> Tx {
    let mut tx = db.begin().await.unwrap();
    if let Tx::Postgres(inner) = &mut tx {
        (&mut **inner).execute(AssertSqlSafe(format!("LOCK TABLE {table} IN SHARE MODE"))).await.unwrap();
    }
    tx
}

/// The tables and columns of a database, for comparing the two migration folders.
pub(crate) async fn columns(db: &Db) -> Vec<String> {
    let sql = match db {
        Db::Sqlite { .. } => {
            "SELECT m.name || '.' || p.name || CASE WHEN p.\"notnull\" > 0 THEN ' NOT NULL' ELSE '' END \
             FROM sqlite_master m JOIN pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '_sqlx%'"
        }
        Db::Postgres(_) => {
            "SELECT table_name || '.' || column_name || CASE WHEN is_nullable = 'NO' THEN ' NOT NULL' ELSE '' END \
             FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'"
        }
    };
    let mut tx = db.read().await.unwrap();
    let mut columns: Vec<String> = on_tx!(&mut tx, c => sqlx::query_scalar(sql).fetch_all(c).await).unwrap();
    columns.sort();
    columns
}

/// Everything that stands in a database, as text.
pub(crate) async fn dump(db: &Db) -> String {
    let tables: Vec<String> = columns(db)
        .await
        .iter()
        .filter_map(|column| column.split_once('.').map(|(table, _)| table.to_owned()))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut text = String::new();
    for table in tables {
        let names: Vec<String> = columns(db)
            .await
            .iter()
            .filter_map(|column| column.strip_prefix(&format!("{table}.")).map(str::to_owned))
            .map(|name| name.trim_end_matches(" NOT NULL").to_owned())
            .collect();
        for name in names {
            // Bytes are read as text where they are text, so that nothing hides in a BLOB.
            let sql = match db {
                Db::Sqlite { .. } => format!("SELECT COALESCE(CAST({name} AS TEXT), '') FROM {table}"),
                Db::Postgres(_) => format!(
                    "SELECT COALESCE(CASE WHEN pg_typeof({name})::text = 'bytea' \
                     THEN encode(CAST(CAST({name} AS TEXT) AS bytea), 'escape') ELSE CAST({name} AS TEXT) END, '') \
                     FROM {table}"
                ),
            };
            let mut tx = db.read().await.unwrap();
            let values: Vec<Vec<u8>> = match &mut tx {
                Tx::Sqlite(inner) => {
                    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(AssertSqlSafe(format!(
                        "SELECT CAST(x AS BLOB) FROM ({})",
                        sql.replace(" FROM", " AS x FROM")
                    )))
                    .fetch_all(&mut **inner)
                    .await
                    .unwrap();
                    rows.into_iter().map(|row| row.0).collect()
                }
                Tx::Postgres(inner) => {
                    let rows: Vec<(String,)> =
                        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut **inner).await.unwrap();
                    rows.into_iter().map(|row| row.0.into_bytes()).collect()
                }
            };
            for value in values {
                text.push_str(&String::from_utf8_lossy(&value));
                text.push('\n');
            }
        }
    }
    text
}

/// Declares one test that runs a suite on both databases.
macro_rules! on_both_databases {
    ($name:ident, $suite:path) => {
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                $suite($crate::storage::testing::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                $suite($crate::storage::testing::postgres().await).await;
            }
        }
    };
}
pub(crate) use on_both_databases;

#[tokio::test]
async fn both_migration_folders_make_the_same_schema() {
    assert_eq!(columns(&sqlite().await).await, columns(&postgres().await).await);
}
