//! The applications' SQL.

use super::{Application, Class};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{ClientId, MerchantId};
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO applications (id, merchant_id, name, class, created_at) VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT id, merchant_id, name, class, created_at, disabled_at, version FROM applications
    WHERE id = $1";
const FIND_ALL: &str =
    "SELECT id, merchant_id, name, class, created_at, disabled_at, version FROM applications
    WHERE merchant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const UPDATE: &str =
    "UPDATE applications SET name = $2, class = $3, version = version + 1 WHERE id = $1 AND version = $4";
const DISABLE: &str = "UPDATE applications SET disabled_at = $2, version = version + 1
    WHERE id = $1 AND disabled_at IS NULL";
const ENABLE: &str = "UPDATE applications SET disabled_at = NULL, version = version + 1
    WHERE id = $1 AND disabled_at IS NOT NULL";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, FIND_ALL, UPDATE, DISABLE, ENABLE];

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    merchant_id: String,
    name: String,
    class: String,
    created_at: i64,
    disabled_at: Option<i64>,
    version: i64,
}

impl TryFrom<Row> for Application {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "applications", column };
        Ok(Self {
            id: ClientId::parse(&row.id).map_err(|_| corrupt("id"))?,
            merchant_id: MerchantId::parse(&row.merchant_id).map_err(|_| corrupt("merchant_id"))?,
            name: row.name,
            class: Class::parse(&row.class).ok_or(corrupt("class"))?,
            created_at: UnixMs(row.created_at),
            disabled_at: row.disabled_at.map(UnixMs),
            version: row.version,
        })
    }
}

pub(super) async fn insert_application(tx: &mut Tx, application: &Application) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(application.id.as_str())
        .bind(application.merchant_id.as_str())
        .bind(&application.name)
        .bind(application.class.as_str())
        .bind(application.created_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// An application, disabled or not.
pub(crate) async fn find_any_application(
    tx: &mut Tx,
    id: &ClientId,
) -> Result<Option<Application>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(c).await)?;
    row.map(Application::try_from).transpose()
}

/// An application that is not disabled.
pub(crate) async fn find_application(
    tx: &mut Tx,
    id: &ClientId,
) -> Result<Option<Application>, StorageError> {
    Ok(find_any_application(tx, id).await?.filter(|found| found.disabled_at.is_none()))
}

/// A merchant's applications after an id, in their order.
pub(crate) async fn find_applications(
    tx: &mut Tx,
    merchant: &MerchantId,
    after: &str,
    limit: i64,
) -> Result<Vec<Application>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_ALL)
        .bind(merchant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(Application::try_from).collect()
}

/// Changes an application; `false` when it is of another version.
pub(super) async fn update_application(
    tx: &mut Tx,
    id: &ClientId,
    name: &str,
    class: Class,
    version: i64,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE)
        .bind(id.as_str())
        .bind(name)
        .bind(class.as_str())
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Disables an application; `false` when it was already.
pub(super) async fn update_disabled(tx: &mut Tx, id: &ClientId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DISABLE)
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Marks an application enabled; gives whether it was not.
pub(super) async fn update_enabled(tx: &mut Tx, id: &ClientId) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(ENABLE)
        .bind(id.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
