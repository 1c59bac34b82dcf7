//! The accounts' SQL. It is long since an account is found in several ways and changed in many, by one list of columns and one
//! conversion of its row.

use super::{Account, AccountSettings};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::login::{Login, Username};
use margrave_shared::time::UnixMs;
use margrave_shared::x_address::XAddress;
use sqlx::QueryBuilder;

const INSERT_ADDRESS: &str =
    "INSERT INTO x_addresses (address, kind, account_id, created_at) VALUES ($1, 'personal', $2, $3)";
const INSERT_OFFICE: &str =
    "INSERT INTO x_addresses (address, kind, account_id, created_at) VALUES ($1, 'office', NULL, $2)";
const INSERT: &str = "INSERT INTO accounts
    (id, merchant_id, username, username_key, x_address, generation, failures, created_at, audit_key)
    VALUES ($1, $2, $3, $4, $5, 0, 0, $6, $7)";
const FIND: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at, settings, version
    FROM accounts WHERE id = $1";
const FIND_BY_USERNAME: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at, settings, version
    FROM accounts WHERE username_key = $1";
const FIND_BY_X_ADDRESS: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at, settings, version
    FROM accounts WHERE x_address = $1";
const LOCK_SQLITE: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at, settings, version,
    failures FROM accounts WHERE id = $1";
const LOCK_POSTGRES: &str =
    "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, audit_key, erased_at, settings, version,
    failures FROM accounts WHERE id = $1 FOR NO KEY UPDATE";
const ADD_FAILURE: &str = "UPDATE accounts SET failures = failures + 1 WHERE id = $1 AND failures < $2";
const RESET_FAILURES: &str = "UPDATE accounts SET failures = 0 WHERE id = $1 AND failures > 0";
const RAISE_GENERATION: &str =
    "UPDATE accounts SET generation = generation + 1 WHERE id = $1 RETURNING generation";
const RAISE_DEVICE_GENERATION: &str =
    "UPDATE accounts SET device_generation = device_generation + 1 WHERE id = $1";
const DISABLE: &str = "UPDATE accounts SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";
const ENABLE: &str =
    "UPDATE accounts SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL AND erased_at IS NULL";
const CHANGE_SETTINGS: &str =
    "UPDATE accounts SET settings = $2, version = version + 1 WHERE id = $1 AND version = $3";

const FIND_AUDIT_KEY: &str = "SELECT audit_key FROM accounts WHERE id = $1";
const FIND_WITHOUT_AUDIT_KEY: &str = "SELECT id FROM accounts WHERE audit_key IS NULL LIMIT $1";
const GIVE_AUDIT_KEY: &str = "UPDATE accounts SET audit_key = $2 WHERE id = $1 AND audit_key IS NULL";

const FIND_USERNAME_KEY: &str = "SELECT username_key FROM accounts WHERE id = $1";
const FIND_ERASED_NAME: &str = "SELECT erased_at FROM erased_names WHERE tag = $1";
const INSERT_ERASED_NAME: &str =
    "INSERT INTO erased_names (tag, erased_at) VALUES ($1, $2) ON CONFLICT (tag) DO NOTHING";
// An empty key is one that was destroyed. No username has an `@`.
const ERASE: &str =
    "UPDATE accounts SET username = '', username_key = '@' || id, audit_key = $3, settings = '{}',
    erased_at = $2, disabled_at = COALESCE(disabled_at, $2), version = version + 1 WHERE id = $1";
const UNLINK_ADDRESS: &str = "UPDATE x_addresses SET account_id = NULL WHERE account_id = $1";

#[cfg(test)]
const ALL: &[&str] = &[
    INSERT_ADDRESS,
    INSERT,
    FIND,
    FIND_BY_USERNAME,
    FIND_BY_X_ADDRESS,
    LOCK_SQLITE,
    ADD_FAILURE,
    RESET_FAILURES,
    RAISE_GENERATION,
    RAISE_DEVICE_GENERATION,
    INSERT_OFFICE,
    DISABLE,
    ENABLE,
    CHANGE_SETTINGS,
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
    settings: String,
    version: i64,
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
            settings: serde_json::from_str(&row.settings).map_err(|_| corrupt("settings"))?,
            version: row.version,
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

/// An account with the number of its consecutive failures, locked until the transaction ends: as many as wait for it are judged one
/// after another.
pub(crate) async fn lock_account(
    tx: &mut Tx,
    id: &AccountId,
) -> Result<Option<(Account, i64)>, StorageError> {
    #[derive(sqlx::FromRow)]
    struct Locked {
        #[sqlx(flatten)]
        row: Row,
        failures: i64,
    }
    // SQLite has one writer.
    let sql = match tx {
        Tx::Sqlite(_) => LOCK_SQLITE,
        Tx::Postgres(_) => LOCK_POSTGRES,
    };
    let locked: Option<Locked> =
        on_tx!(tx, c => sqlx::query_as(sql).bind(id.as_str()).fetch_optional(c).await)?;
    locked.map(|Locked { row, failures }| Ok((Account::try_from(row)?, failures))).transpose()
}

/// An account by what was typed as its login.
pub(crate) async fn find_by_login(tx: &mut Tx, login: &Login) -> Result<Option<Account>, StorageError> {
    match login {
        // PostgreSQL has no text with a NUL, and nobody has such a name.
        Login::Username(key) if key.contains('\0') => Ok(None),
        Login::Username(key) => find(tx, FIND_BY_USERNAME, key).await,
        Login::XAddress(address) => find(tx, FIND_BY_X_ADDRESS, address.as_str()).await,
    }
}

/// Which of a merchant's accounts are looked for; what is not set is any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// A username in its normal form.
    pub(crate) username_key: Option<String>,
    /// An X-address.
    pub(crate) x_address: Option<String>,
    /// Whether it is disabled.
    pub(crate) disabled: Option<bool>,
    /// A role that it has.
    pub(crate) role: Option<String>,
}

/// A merchant's accounts after an id.
pub(crate) async fn find_by_merchant(
    tx: &mut Tx,
    merchant: &MerchantId,
    filter: &Filter,
    after: &str,
    limit: i64,
) -> Result<Vec<Account>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => {
        let mut query = QueryBuilder::new(
            "SELECT id, merchant_id, username, x_address, generation, device_generation, created_at, disabled_at, \
             audit_key, erased_at, settings, version FROM accounts WHERE merchant_id = ",
        );
        query.push_bind(merchant.as_str()).push(" AND id > ").push_bind(after);
        let texts = [
            (" AND username_key = ", filter.username_key.as_deref()),
            (" AND x_address = ", filter.x_address.as_deref()),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        match filter.disabled {
            Some(true) => { query.push(" AND disabled_at IS NOT NULL"); }
            Some(false) => { query.push(" AND disabled_at IS NULL"); }
            None => {}
        }
        if let Some(role) = filter.role.as_deref() {
            query
                .push(" AND id IN (SELECT account_id FROM account_roles WHERE merchant_id = ")
                .push_bind(merchant.as_str())
                .push(" AND role = ")
                .push_bind(role)
                .push(")");
        }
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as().fetch_all(c).await
    })?;
    rows.into_iter().map(Account::try_from).collect()
}

/// Locks accounts in the order of their ids until the transaction ends, so that who locks several never waits in a circle. On
/// SQLite a transaction that writes is alone.
pub(crate) async fn lock_accounts(tx: &mut Tx, ids: &[AccountId]) -> Result<(), StorageError> {
    let Tx::Postgres(inner) = tx else { return Ok(()) };
    let mut query = QueryBuilder::new("SELECT id FROM accounts WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.as_str());
    }
    query.push(") ORDER BY id FOR UPDATE");
    query.build().persistent(false).execute(&mut **inner).await?;
    Ok(())
}

/// Raises the version of many.
pub(crate) async fn raise_versions(tx: &mut Tx, ids: &[AccountId]) -> Result<(), StorageError> {
    for some in ids.chunks(500) {
        on_tx!(tx, c => {
            let mut query = QueryBuilder::new("UPDATE accounts SET version = version + 1 WHERE id IN (");
            let mut list = query.separated(", ");
            for id in some {
                list.push_bind(id.as_str());
            }
            query.push(")");
            query.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Raises the generation of many; gives the new ones.
pub(crate) async fn raise_generations(
    tx: &mut Tx,
    ids: &[AccountId],
) -> Result<Vec<(AccountId, i64)>, StorageError> {
    let rows: Vec<(String, i64)> = on_tx!(tx, c => {
        let mut query = QueryBuilder::new("UPDATE accounts SET generation = generation + 1 WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id.as_str());
        }
        query.push(") RETURNING id, generation");
        query.build_query_as().persistent(false).fetch_all(c).await
    })?;
    let corrupt = |_| StorageError::Corrupt { table: "accounts", column: "id" };
    rows.into_iter()
        .map(|(id, generation)| Ok((AccountId::parse(&id).map_err(corrupt)?, generation)))
        .collect()
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

/// Takes an address for the office of an organisation, for ever.
pub(crate) async fn insert_office_address(
    tx: &mut Tx,
    address: &XAddress,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_OFFICE).bind(address.as_str()).bind(now.0).execute(c).await.map(|_| ()))
}

/// Raises the device generation: no device that was known counts.
pub(crate) async fn raise_device_generation(tx: &mut Tx, id: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(RAISE_DEVICE_GENERATION).bind(id.as_str()).execute(c).await.map(|_| ()))
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

/// Opens a disabled account; `false` when it is not, or is erased.
pub(crate) async fn enable_account(tx: &mut Tx, id: &AccountId) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(ENABLE)
        .bind(id.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Changes an account's settings; `false` when it is of another version.
pub(crate) async fn update_settings(
    tx: &mut Tx,
    id: &AccountId,
    settings: &AccountSettings,
    version: i64,
) -> Result<bool, StorageError> {
    let text = serde_json::to_string(settings).unwrap_or_else(|_| "{}".to_owned());
    on_tx!(tx, c => sqlx::query(CHANGE_SETTINGS)
        .bind(id.as_str())
        .bind(text)
        .bind(version)
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
