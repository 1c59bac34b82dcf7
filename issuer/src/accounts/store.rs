//! The accounts' SQL.

use super::Account;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::login::{Login, Username};
use margrave_shared::time::UnixMs;
use margrave_shared::x_address::XAddress;

const INSERT_ADDRESS: &str =
    "INSERT INTO x_addresses (address, kind, account_id, created_at) VALUES ($1, 'personal', $2, $3)";
const INSERT: &str = "INSERT INTO accounts
    (id, merchant_id, username, username_key, x_address, generation, failures, created_at, audit_key)
    VALUES ($1, $2, $3, $4, $5, 0, 0, $6, $7)";
const FIND: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at
    FROM accounts WHERE id = $1";
const FIND_BY_USERNAME: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at
    FROM accounts WHERE username_key = $1";
const FIND_BY_X_ADDRESS: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at
    FROM accounts WHERE x_address = $1";
const FIND_BY_MERCHANT: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at
    FROM accounts WHERE merchant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const ADD_FAILURE: &str = "UPDATE accounts SET failures = failures + 1 WHERE id = $1 AND failures < $2";
const RESET_FAILURES: &str = "UPDATE accounts SET failures = 0 WHERE id = $1 AND failures > 0";
const RAISE_GENERATION: &str =
    "UPDATE accounts SET generation = generation + 1 WHERE id = $1 RETURNING generation";
const FORGET_DEVICES: &str = "UPDATE accounts SET device_generation = device_generation + 1 WHERE id = $1";
const DISABLE: &str = "UPDATE accounts SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";

const FIND_AUDIT_KEY: &str = "SELECT audit_key FROM accounts WHERE id = $1";
const FIND_WITHOUT_AUDIT_KEY: &str = "SELECT id FROM accounts WHERE audit_key IS NULL LIMIT $1";
const GIVE_AUDIT_KEY: &str = "UPDATE accounts SET audit_key = $2 WHERE id = $1 AND audit_key IS NULL";

const FIND_USERNAME_KEY: &str = "SELECT username_key FROM accounts WHERE id = $1";
const FIND_ERASED_NAME: &str = "SELECT erased_at FROM erased_names WHERE tag = $1";
const INSERT_ERASED_NAME: &str =
    "INSERT INTO erased_names (tag, erased_at) VALUES ($1, $2) ON CONFLICT (tag) DO NOTHING";
// An empty key is one that was destroyed. No username has an `@`.
const ERASE: &str = "UPDATE accounts SET username = '', username_key = '@' || id, audit_key = $3,
    erased_at = $2, disabled_at = COALESCE(disabled_at, $2) WHERE id = $1";
const UNLINK_ADDRESS: &str = "UPDATE x_addresses SET account_id = NULL WHERE account_id = $1";

#[cfg(test)]
const ALL: &[&str] = &[
    INSERT_ADDRESS,
    INSERT,
    FIND,
    FIND_BY_USERNAME,
    FIND_BY_X_ADDRESS,
    FIND_BY_MERCHANT,
    ADD_FAILURE,
    RESET_FAILURES,
    RAISE_GENERATION,
    FORGET_DEVICES,
    DISABLE,
    FIND_AUDIT_KEY,
    FIND_WITHOUT_AUDIT_KEY,
    GIVE_AUDIT_KEY,
    FIND_USERNAME_KEY,
    FIND_ERASED_NAME,
    INSERT_ERASED_NAME,
    ERASE,
    UNLINK_ADDRESS,
];

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    merchant_id: String,
    username: String,
    x_address: String,
    generation: i64,
    device_generation: i64,
    created_at: i64,
    disabled_at: Option<i64>,
    audit_key: Option<Vec<u8>>,
    erased_at: Option<i64>,
}

impl TryFrom<Row> for Account {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "accounts", column };
        Ok(Self {
            id: AccountId::parse(&row.id).map_err(|_| corrupt("id"))?,
            merchant_id: MerchantId::parse(&row.merchant_id).map_err(|_| corrupt("merchant_id"))?,
            username: row.username,
            x_address: XAddress::parse(&row.x_address).map_err(|_| corrupt("x_address"))?,
            generation: row.generation,
            device_generation: row.device_generation,
            created_at: UnixMs(row.created_at),
            disabled_at: row.disabled_at.map(UnixMs),
            audit_key: row.audit_key,
            erased_at: row.erased_at.map(UnixMs),
        })
    }
}

/// Inserts an account with its personal cabinet's address.
///
/// # Errors
/// [`StorageError::Conflict`] when the username or the address is taken.
pub(super) async fn insert_account(
    tx: &mut Tx,
    id: &AccountId,
    merchant: &MerchantId,
    username: &Username,
    address: &XAddress,
    audit_key: &[u8],
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_ADDRESS)
        .bind(address.as_str())
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))?;
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(id.as_str())
        .bind(merchant.as_str())
        .bind(username.display())
        .bind(username.key())
        .bind(address.as_str())
        .bind(now.0)
        .bind(audit_key)
        .execute(c)
        .await
        .map(|_| ()))
}

async fn find(tx: &mut Tx, sql: &'static str, value: &str) -> Result<Option<Account>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(sql).bind(value).fetch_optional(c).await)?;
    row.map(Account::try_from).transpose()
}

/// An account by its id.
pub(crate) async fn find_account(tx: &mut Tx, id: &AccountId) -> Result<Option<Account>, StorageError> {
    find(tx, FIND, id.as_str()).await
}

/// An account by what was typed as its login.
pub(crate) async fn find_by_login(tx: &mut Tx, login: &Login) -> Result<Option<Account>, StorageError> {
    match login {
        Login::Username(key) => find(tx, FIND_BY_USERNAME, key).await,
        Login::XAddress(address) => find(tx, FIND_BY_X_ADDRESS, address.as_str()).await,
    }
}

/// A merchant's accounts after an id.
pub(crate) async fn find_by_merchant(
    tx: &mut Tx,
    merchant: &MerchantId,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_BY_MERCHANT)
        .bind(merchant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(Account::try_from).collect()
}

/// Counts one more consecutive wrong password and locks the row; `false` when there were so many already.
pub(crate) async fn add_failure(tx: &mut Tx, id: &AccountId, most: i64) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(ADD_FAILURE)
        .bind(id.as_str())
        .bind(most)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// The password was right, or an operator says so.
pub(crate) async fn reset_failures(tx: &mut Tx, id: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(RESET_FAILURES).bind(id.as_str()).execute(c).await.map(|_| ()))
}

/// Raises the generation: no token of an earlier one counts. Gives the new one.
pub(crate) async fn raise_generation(tx: &mut Tx, id: &AccountId) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(RAISE_GENERATION).bind(id.as_str()).fetch_one(c).await)
}

/// Raises the device generation: no device that was known counts.
pub(crate) async fn forget_devices(tx: &mut Tx, id: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(FORGET_DEVICES).bind(id.as_str()).execute(c).await.map(|_| ()))
}

/// Disables an account; `false` when it was already.
pub(crate) async fn disable_account(tx: &mut Tx, id: &AccountId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DISABLE)
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// What seals the personal part of an account's audit entries, sealed.
pub(crate) async fn find_audit_key(tx: &mut Tx, id: &AccountId) -> Result<Option<Vec<u8>>, StorageError> {
    let found: Option<Option<Vec<u8>>> = on_tx!(tx, c => sqlx::query_scalar(FIND_AUDIT_KEY)
        .bind(id.as_str())
        .fetch_optional(c)
        .await)?;
    Ok(found.flatten())
}

/// Accounts that have no such key yet, since they are older than these keys.
pub(super) async fn find_without_audit_key(tx: &mut Tx, limit: i64) -> Result<Vec<String>, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(FIND_WITHOUT_AUDIT_KEY).bind(limit).fetch_all(c).await)
}

/// Gives an account its key; one that it has stays.
pub(super) async fn update_audit_key(tx: &mut Tx, id: &AccountId, key: &[u8]) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(GIVE_AUDIT_KEY).bind(id.as_str()).bind(key).execute(c).await.map(|_| ()))
}

/// A username in its normal form.
pub(super) async fn find_username_key(tx: &mut Tx, id: &AccountId) -> Result<Option<String>, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(FIND_USERNAME_KEY).bind(id.as_str()).fetch_optional(c).await)
}

/// Whether the keyed hash is that of an erased name.
pub(super) async fn find_erased_name(tx: &mut Tx, tag: &[u8; 32]) -> Result<bool, StorageError> {
    let found: Option<i64> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_ERASED_NAME).bind(tag.as_slice()).fetch_optional(c).await)?;
    Ok(found.is_some())
}

/// Remembers a name.
pub(super) async fn insert_erased_name(tx: &mut Tx, tag: &[u8; 32], now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_ERASED_NAME)
        .bind(tag.as_slice())
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Takes away what is personal.
pub(super) async fn update_erased(tx: &mut Tx, id: &AccountId, now: UnixMs) -> Result<(), StorageError> {
    let destroyed: &[u8] = &[];
    on_tx!(tx, c => sqlx::query(ERASE)
        .bind(id.as_str())
        .bind(now.0)
        .bind(destroyed)
        .execute(c)
        .await
        .map(|_| ()))?;
    on_tx!(tx, c => sqlx::query(UNLINK_ADDRESS).bind(id.as_str()).execute(c).await.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
