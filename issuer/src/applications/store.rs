//! The applications' SQL.

use super::{Application, Class};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{ClientId, MerchantId};
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO applications (id, merchant_id, name, class, created_at) VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT id, merchant_id, class FROM applications WHERE id = $1 AND disabled_at IS NULL";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND];

pub(super) async fn insert_application(
    tx: &mut Tx,
    application: &Application,
    name: &str,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(application.id.as_str())
        .bind(application.merchant_id.as_str())
        .bind(name)
        .bind(application.class.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// An application that is not disabled.
pub(crate) async fn find_application(
    tx: &mut Tx,
    id: &ClientId,
) -> Result<Option<Application>, StorageError> {
    let row: Option<(String, String, String)> =
        on_tx!(tx, c => sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(c).await)?;
    let corrupt = |column| StorageError::Corrupt { table: "applications", column };
    row.map(|(id, merchant_id, class)| {
        Ok(Application {
            id: ClientId::parse(&id).map_err(|_| corrupt("id"))?,
            merchant_id: MerchantId::parse(&merchant_id).map_err(|_| corrupt("merchant_id"))?,
            class: Class::parse(&class).ok_or(corrupt("class"))?,
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
