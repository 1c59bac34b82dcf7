//! The SSO secrets' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::MerchantId;
use margrave_shared::time::UnixMs;

// What was there becomes what was before, in the same statement: of two at once the second finds what the first has set.
const PUT: &str = "INSERT INTO sso_secrets (merchant_id, sealed, created_at) VALUES ($1, $2, $3)
    ON CONFLICT (merchant_id) DO UPDATE SET previous_sealed = CASE WHEN $4 > 0 THEN sso_secrets.sealed END,
    previous_until = CASE WHEN $4 > 0 THEN $4 END, sealed = excluded.sealed, created_at = excluded.created_at
    RETURNING previous_until";
const FIND: &str =
    "SELECT sealed, created_at, previous_sealed, previous_until FROM sso_secrets WHERE merchant_id = $1";
const DELETE: &str = "DELETE FROM sso_secrets WHERE merchant_id = $1";

#[cfg(test)]
const ALL: &[&str] = &[PUT, FIND, DELETE];

/// A merchant's secrets, sealed.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) sealed: Vec<u8>,
    pub(super) created_at: i64,
    pub(super) previous_sealed: Option<Vec<u8>>,
    pub(super) previous_until: Option<i64>,
}

/// Sets a secret. What was there, if anything was, counts until `previous_until`, or not any more; gives until when.
pub(super) async fn put_secret(
    tx: &mut Tx,
    merchant: &MerchantId,
    sealed: &[u8],
    now: UnixMs,
    previous_until: Option<UnixMs>,
) -> Result<Option<UnixMs>, StorageError> {
    let until: Option<i64> = on_tx!(tx, c => sqlx::query_scalar(PUT)
        .bind(merchant.as_str())
        .bind(sealed)
        .bind(now.0)
        .bind(previous_until.map_or(0, |at| at.0))
        .fetch_one(c)
        .await)?;
    Ok(until.map(UnixMs))
}

pub(super) async fn find_row(tx: &mut Tx, merchant: &MerchantId) -> Result<Option<Row>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND).bind(merchant.as_str()).fetch_optional(c).await)
}

/// Takes them away; `false` where there are none.
pub(super) async fn delete_row(tx: &mut Tx, merchant: &MerchantId) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE)
        .bind(merchant.as_str())
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
