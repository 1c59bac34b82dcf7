//! The resets' SQL.

use super::{IssuedReset, Reset};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::account_reset::ResetReason;
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::permission::{parse_scope, print_scope};
use margrave_shared::secret::{SecretText, secret_hash};
use margrave_shared::time::UnixMs;

// A new one takes the place of the one before, whose token is worth nothing then.
const PUT: &str = "INSERT INTO account_resets
    (account_id, token_hash, started_by, scope, starter_generation, reason, started_at, usable_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (account_id) DO UPDATE SET token_hash = excluded.token_hash, started_by = excluded.started_by,
    scope = excluded.scope, starter_generation = excluded.starter_generation, reason = excluded.reason, started_at = excluded.started_at, usable_at = excluded.usable_at,
    expires_at = excluded.expires_at";
const FIND: &str = "SELECT started_by, scope, starter_generation, reason, started_at, usable_at, expires_at FROM account_resets
    WHERE account_id = $1";
const FIND_ACCOUNT: &str = "SELECT account_id FROM account_resets WHERE token_hash = $1";
const DELETE_OF: &str =
    "DELETE FROM account_resets WHERE account_id IN (SELECT id FROM accounts WHERE merchant_id = $1)";
const DELETE: &str = "DELETE FROM account_resets WHERE account_id = $1";
const DELETE_DEAD: &str = "DELETE FROM account_resets WHERE account_id IN
    (SELECT account_id FROM account_resets WHERE expires_at < $1 ORDER BY expires_at LIMIT $2) AND expires_at < $1";

#[cfg(test)]
const ALL: &[&str] = &[PUT, FIND, FIND_ACCOUNT, DELETE_OF, DELETE, DELETE_DEAD];

#[derive(sqlx::FromRow)]
struct Row {
    started_by: String,
    scope: String,
    starter_generation: Option<i64>,
    reason: String,
    started_at: i64,
    usable_at: i64,
    expires_at: i64,
}

impl TryFrom<Row> for Reset {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "account_resets", column };
        Ok(Self {
            started_by: row.started_by,
            scope: parse_scope(&row.scope).map_err(|_| corrupt("scope"))?,
            starter_generation: row.starter_generation,
            reason: ResetReason::parse(&row.reason).ok_or(corrupt("reason"))?,
            started_at: UnixMs(row.started_at),
            usable_at: UnixMs(row.usable_at),
            expires_at: UnixMs(row.expires_at),
        })
    }
}

pub(super) async fn put_reset(
    tx: &mut Tx,
    account: &AccountId,
    issued: &IssuedReset,
) -> Result<(), StorageError> {
    let IssuedReset { token, reset } = issued;
    on_tx!(tx, c => sqlx::query(PUT)
        .bind(account.as_str())
        .bind(secret_hash(token.expose()).as_slice())
        .bind(&reset.started_by)
        .bind(print_scope(&reset.scope))
        .bind(reset.starter_generation)
        .bind(reset.reason.as_str())
        .bind(reset.started_at.0)
        .bind(reset.usable_at.0)
        .bind(reset.expires_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// An account's reset, whether it counts or not.
pub(crate) async fn find_reset(tx: &mut Tx, account: &AccountId) -> Result<Option<Reset>, StorageError> {
    let row: Option<Row> =
        on_tx!(tx, c => sqlx::query_as(FIND).bind(account.as_str()).fetch_optional(c).await)?;
    row.map(Reset::try_from).transpose()
}

/// Whose reset a token is of.
pub(super) async fn find_account_of(
    tx: &mut Tx,
    token: &SecretText,
) -> Result<Option<AccountId>, StorageError> {
    let hash = secret_hash(token.expose());
    let id: Option<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_ACCOUNT).bind(hash.as_slice()).fetch_optional(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "account_resets", column: "account_id" };
    id.map(|id| AccountId::parse(&id).map_err(corrupt)).transpose()
}

/// Takes an account's reset away; `false` where there is none. Whoever locks the account as well does so first.
pub(crate) async fn delete_reset(tx: &mut Tx, account: &AccountId) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE)
        .bind(account.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Takes the resets of all of a merchant's accounts away.
pub(crate) async fn delete_resets_of(tx: &mut Tx, merchant: &MerchantId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_OF).bind(merchant.as_str()).execute(c).await.map(|_| ()))
}

/// Takes those away that expired before a time; gives how many.
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
