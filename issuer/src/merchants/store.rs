//! The SQL of merchants, services and keys: one file, since a key is found with its merchant and its services, and the rows of all
//! three are read by the same few conversions.

use super::{AuthenticatedKey, Merchant, MerchantKey, MerchantSettings, Service};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::{Permission, parse_scope, print_scope};
use margrave_shared::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const INSERT_MERCHANT: &str =
    "INSERT INTO merchants (id, name, settings, created_at, platform_at) VALUES ($1, $2, $3, $4, $5)";
const FIND_MERCHANT: &str = "SELECT id, name, settings, created_at, platform_at, disabled_at, version, import_hash FROM merchants WHERE id = $1";
const FIND_MERCHANTS: &str =
    "SELECT id, name, settings, created_at, platform_at, disabled_at, version, import_hash FROM merchants
    WHERE id > $1 AND ($3 < 0 OR (disabled_at IS NOT NULL) = ($3 = 1)) ORDER BY id LIMIT $2";
const CHANGE_MERCHANT: &str =
    "UPDATE merchants SET name = $2, settings = $3, version = version + 1 WHERE id = $1 AND version = $4";
const PUT_IMPORT_HASH: &str = "UPDATE merchants SET import_hash = $2 WHERE id = $1";
const TOUCH_MERCHANT: &str = "UPDATE merchants SET version = version + 1 WHERE id = $1 AND version = $2";
const DELETE_SERVICES: &str = "DELETE FROM services WHERE merchant_id = $1";
const FIND_KEYS_AFTER: &str = "SELECT id, merchant_id, permissions, created_at, expires_at, last_used_at,
    revoked_at FROM merchant_keys WHERE merchant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const FIND_PLATFORMS: &str =
    "SELECT id, name, settings, created_at, platform_at, disabled_at, version, import_hash FROM merchants
    WHERE platform_at IS NOT NULL ORDER BY created_at, id";
const DISABLE_MERCHANT: &str = "UPDATE merchants SET disabled_at = $2, version = version + 1 WHERE id = $1 AND disabled_at IS NULL AND platform_at IS NULL";
const ENABLE_MERCHANT: &str = "UPDATE merchants SET disabled_at = NULL, version = version + 1 WHERE id = $1 AND disabled_at IS NOT NULL";
const PUT_RESET: &str = "UPDATE merchants SET reset_at = $2 WHERE id = $1";
const FIND_RESET: &str = "SELECT MAX(reset_at) FROM merchants WHERE platform_at IS NOT NULL";
const COUNT_PREDECESSORS: &str =
    "SELECT COUNT(*) FROM merchant_keys k JOIN merchant_keys p ON p.id = k.rotated_from
    WHERE k.id = $1 AND p.revoked_at IS NULL AND (p.expires_at IS NULL OR p.expires_at > $2)";
const INSERT_SERVICE: &str = "INSERT INTO services (merchant_id, audience, permissions) VALUES ($1, $2, $3)";
const FIND_SERVICES: &str =
    "SELECT audience, permissions FROM services WHERE merchant_id = $1 ORDER BY audience";
const INSERT_KEY: &str = "INSERT INTO merchant_keys
    (id, merchant_id, secret_hash, permissions, created_at, expires_at, rotated_from)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const FIND_KEY: &str = "SELECT id, merchant_id, permissions, created_at, expires_at, last_used_at,
    revoked_at FROM merchant_keys WHERE id = $1";
const FIND_EACH_KEY_SQLITE: &str =
    "SELECT k.id AS key_id, k.merchant_id, k.secret_hash, k.permissions, k.created_at AS key_created_at,
    k.expires_at, k.last_used_at, k.revoked_at, m.id, m.name, m.settings, m.created_at, m.platform_at, m.disabled_at, m.version, m.import_hash,
    s.audience, s.permissions AS service_permissions
    FROM merchant_keys k JOIN merchants m ON m.id = k.merchant_id LEFT JOIN services s ON s.merchant_id = m.id
    WHERE k.id IN (SELECT value FROM json_each($1)) ORDER BY k.id, s.audience";
// Joined and not `= ANY`: for an array of unknown length PostgreSQL would plan it anew each time.
const FIND_EACH_KEY_POSTGRES: &str =
    "SELECT k.id AS key_id, k.merchant_id, k.secret_hash, k.permissions, k.created_at AS key_created_at,
    k.expires_at, k.last_used_at, k.revoked_at, m.id, m.name, m.settings, m.created_at, m.platform_at, m.disabled_at, m.version, m.import_hash,
    s.audience, s.permissions AS service_permissions
    FROM UNNEST($1::TEXT[]) AS wanted (id) JOIN merchant_keys k ON k.id = wanted.id
    JOIN merchants m ON m.id = k.merchant_id LEFT JOIN services s ON s.merchant_id = m.id ORDER BY k.id, s.audience";
const FIND_KEYS: &str = "SELECT id, merchant_id, permissions, created_at, expires_at, last_used_at,
    revoked_at FROM merchant_keys WHERE merchant_id = $1 ORDER BY created_at, id";
const TOUCH_KEY: &str = "UPDATE merchant_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)";
const REVOKE_KEY: &str =
    "UPDATE merchant_keys SET revoked_at = $3 WHERE id = $1 AND merchant_id = $2 AND revoked_at IS NULL";
const SHORTEN_KEY: &str = "UPDATE merchant_keys SET expires_at = $3
    WHERE id = $1 AND merchant_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)";
// An update that changes nothing locks on either database.
const LOCK_KEY: &str = "UPDATE merchant_keys SET revoked_at = revoked_at WHERE id = $1";
const COUNT_SUCCESSORS: &str = "SELECT COUNT(*) FROM merchant_keys
    WHERE rotated_from = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

#[cfg(test)]
const ALL: &[&str] = &[
    INSERT_MERCHANT,
    FIND_MERCHANT,
    FIND_MERCHANTS,
    FIND_PLATFORMS,
    CHANGE_MERCHANT,
    PUT_IMPORT_HASH,
    TOUCH_MERCHANT,
    DELETE_SERVICES,
    FIND_KEYS_AFTER,
    DISABLE_MERCHANT,
    ENABLE_MERCHANT,
    PUT_RESET,
    FIND_RESET,
    COUNT_PREDECESSORS,
    INSERT_SERVICE,
    FIND_SERVICES,
    INSERT_KEY,
    FIND_KEY,
    FIND_KEYS,
    TOUCH_KEY,
    REVOKE_KEY,
    SHORTEN_KEY,
    LOCK_KEY,
    COUNT_SUCCESSORS,
];

#[derive(Debug, Clone, sqlx::FromRow)]
struct MerchantRow {
    id: String,
    name: String,
    settings: String,
    created_at: i64,
    platform_at: Option<i64>,
    disabled_at: Option<i64>,
    version: i64,
    import_hash: Option<String>,
}

impl TryFrom<MerchantRow> for Merchant {
    type Error = StorageError;
    fn try_from(row: MerchantRow) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "merchants", column };
        Ok(Self {
            id: MerchantId::parse(&row.id).map_err(|_| corrupt("id"))?,
            name: row.name,
            settings: serde_json::from_str(&row.settings).map_err(|_| corrupt("settings"))?,
            version: row.version,
            import_hash: row.import_hash,
            created_at: UnixMs(row.created_at),
            platform_at: row.platform_at.map(UnixMs),
            disabled_at: row.disabled_at.map(UnixMs),
        })
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    merchant_id: String,
    permissions: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

/// A key, its merchant and one of its services; columns that two of them have are renamed.
#[derive(Clone, sqlx::FromRow)]
struct KeyWithAllRow {
    key_id: String,
    merchant_id: String,
    secret_hash: Vec<u8>,
    permissions: String,
    key_created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
    #[sqlx(flatten)]
    merchant: MerchantRow,
    audience: Option<String>,
    service_permissions: Option<String>,
}

impl TryFrom<KeyRow> for MerchantKey {
    type Error = StorageError;
    fn try_from(row: KeyRow) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "merchant_keys", column };
        Ok(Self {
            key_id: KeyId::parse(&row.id).map_err(|_| corrupt("id"))?,
            merchant_id: MerchantId::parse(&row.merchant_id).map_err(|_| corrupt("merchant_id"))?,
            permissions: parse_scope(&row.permissions).map_err(|_| corrupt("permissions"))?,
            created_at: UnixMs(row.created_at),
            expires_at: row.expires_at.map(UnixMs),
            last_used_at: row.last_used_at.map(UnixMs),
            revoked_at: row.revoked_at.map(UnixMs),
        })
    }
}

pub(super) async fn insert_merchant(tx: &mut Tx, merchant: &Merchant) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_MERCHANT)
        .bind(merchant.id.as_str())
        .bind(&merchant.name)
        .bind(text_of(&merchant.settings))
        .bind(merchant.created_at.0)
        .bind(merchant.platform_at.map(|at| at.0))
        .execute(c)
        .await
        .map(|_| ()))
}

/// A merchant by its id.
pub(crate) async fn find_merchant(tx: &mut Tx, id: &MerchantId) -> Result<Option<Merchant>, StorageError> {
    let row: Option<MerchantRow> =
        on_tx!(tx, c => sqlx::query_as(FIND_MERCHANT).bind(id.as_str()).fetch_optional(c).await)?;
    row.map(Merchant::try_from).transpose()
}

/// Merchants after an id, in the order of their ids; only disabled ones or only others, where that is asked for.
pub(crate) async fn find_merchants(
    tx: &mut Tx,
    disabled: Option<bool>,
    after: &str,
    limit: i64,
) -> Result<Vec<Merchant>, StorageError> {
    let rows: Vec<MerchantRow> = on_tx!(tx, c => sqlx::query_as(FIND_MERCHANTS)
        .bind(after)
        .bind(limit)
        .bind(disabled.map_or(-1, i64::from))
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(Merchant::try_from).collect()
}

/// Changes a merchant; `false` when it is of another version.
pub(super) async fn update_merchant(
    tx: &mut Tx,
    id: &MerchantId,
    name: &str,
    settings: &MerchantSettings,
    version: i64,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CHANGE_MERCHANT)
        .bind(id.as_str())
        .bind(name)
        .bind(text_of(settings))
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Raises a merchant's version; `false` when it is of another one.
pub(super) async fn update_version(tx: &mut Tx, id: &MerchantId, version: i64) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(TOUCH_MERCHANT)
        .bind(id.as_str())
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Says what checking an imported password costs, or that none is left.
pub(crate) async fn update_import_hash(
    tx: &mut Tx,
    id: &MerchantId,
    hash: Option<&str>,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT_IMPORT_HASH).bind(id.as_str()).bind(hash).execute(c).await.map(|_| ()))
}

/// Takes all of a merchant's services away.
pub(super) async fn delete_services(tx: &mut Tx, id: &MerchantId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_SERVICES).bind(id.as_str()).execute(c).await.map(|_| ()))
}

fn text_of(settings: &MerchantSettings) -> String {
    serde_json::to_string(settings).unwrap_or_else(|_| "{}".to_owned())
}

/// The merchants that run the system.
pub(super) async fn find_platforms(tx: &mut Tx) -> Result<Vec<Merchant>, StorageError> {
    let rows: Vec<MerchantRow> = on_tx!(tx, c => sqlx::query_as(FIND_PLATFORMS).fetch_all(c).await)?;
    rows.into_iter().map(Merchant::try_from).collect()
}

/// Marks a merchant disabled; gives whether it was not, and does not run the system.
pub(crate) async fn update_disabled(tx: &mut Tx, id: &MerchantId, now: UnixMs) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DISABLE_MERCHANT)
        .bind(id.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Marks a merchant enabled; gives whether it was not.
pub(crate) async fn update_enabled(tx: &mut Tx, id: &MerchantId) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(ENABLE_MERCHANT)
        .bind(id.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Notes that a merchant was reset.
pub(super) async fn update_reset(tx: &mut Tx, id: &MerchantId, now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT_RESET).bind(id.as_str()).bind(now.0).execute(c).await.map(|_| ()))
}

/// When a merchant that runs the system was last reset.
pub(crate) async fn find_last_reset(tx: &mut Tx) -> Result<Option<UnixMs>, StorageError> {
    let at: Option<i64> = on_tx!(tx, c => sqlx::query_scalar(FIND_RESET).fetch_one(c).await)?;
    Ok(at.map(UnixMs))
}

pub(super) async fn insert_service(
    tx: &mut Tx,
    merchant: &MerchantId,
    service: &Service,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_SERVICE)
        .bind(merchant.as_str())
        .bind(&service.audience)
        .bind(print_scope(&service.permissions))
        .execute(c)
        .await
        .map(|_| ()))
}

/// A merchant's services in the order of their audiences.
pub(crate) async fn find_services(tx: &mut Tx, merchant: &MerchantId) -> Result<Vec<Service>, StorageError> {
    let rows: Vec<(String, String)> =
        on_tx!(tx, c => sqlx::query_as(FIND_SERVICES).bind(merchant.as_str()).fetch_all(c).await)?;
    rows.into_iter().map(|(audience, permissions)| service(audience, &permissions)).collect()
}

fn service(audience: String, permissions: &str) -> Result<Service, StorageError> {
    let permissions = parse_scope(permissions)
        .map_err(|_| StorageError::Corrupt { table: "services", column: "permissions" })?;
    Ok(Service { audience, permissions })
}

pub(super) struct KeyToInsert<'a> {
    pub(super) id: &'a KeyId,
    pub(super) merchant: &'a MerchantId,
    pub(super) secret_hash: &'a [u8],
    pub(super) permissions: &'a BTreeSet<Permission>,
    pub(super) expires_at: Option<UnixMs>,
    pub(super) rotated_from: Option<&'a KeyId>,
}

pub(super) async fn insert_key(tx: &mut Tx, key: &KeyToInsert<'_>, now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_KEY)
        .bind(key.id.as_str())
        .bind(key.merchant.as_str())
        .bind(key.secret_hash)
        .bind(print_scope(key.permissions))
        .bind(now.0)
        .bind(key.expires_at.map(|at| at.0))
        .bind(key.rotated_from.map(|id| id.as_str()))
        .execute(c)
        .await
        .map(|_| ()))
}

/// A key by its id.
pub(crate) async fn find_key(tx: &mut Tx, id: &KeyId) -> Result<Option<MerchantKey>, StorageError> {
    let row: Option<KeyRow> =
        on_tx!(tx, c => sqlx::query_as(FIND_KEY).bind(id.as_str()).fetch_optional(c).await)?;
    row.map(MerchantKey::try_from).transpose()
}

/// A key as it is stored, with its merchant and the merchant's services.
#[derive(Clone)]
pub(crate) struct FoundKey(KeyWithAllRow, Vec<(Option<String>, Option<String>)>);

impl fmt::Debug for FoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FoundKey").field(&self.0.key_id).finish_non_exhaustive()
    }
}

impl FoundKey {
    /// What the secret must hash to.
    pub(super) fn secret_hash(&self) -> &[u8] {
        &self.0.secret_hash
    }

    /// Reads it, which is work that only who knows the secret can cause.
    pub(super) fn read(self) -> Result<AuthenticatedKey, StorageError> {
        let Self(row, services) = self;
        let key = KeyRow {
            id: row.key_id,
            merchant_id: row.merchant_id,
            permissions: row.permissions,
            created_at: row.key_created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        };
        let services = services.into_iter().filter_map(|(audience, permissions)| audience.zip(permissions));
        Ok(AuthenticatedKey {
            key: key.try_into()?,
            merchant: row.merchant.try_into()?,
            services: services.map(|(audience, text)| service(audience, &text)).collect::<Result<_, _>>()?,
        })
    }
}

/// A key by its id, with its merchant and the merchant's services in the order of their audiences.
pub(super) async fn find_key_with_all(tx: &mut Tx, id: &KeyId) -> Result<Option<FoundKey>, StorageError> {
    Ok(find_each_key_with_all(tx, &BTreeSet::from([id.as_str()])).await?.remove(id.as_str()))
}

/// The same of several keys, by their ids.
pub(super) async fn find_each_key_with_all(
    tx: &mut Tx,
    ids: &BTreeSet<&str>,
) -> Result<BTreeMap<String, FoundKey>, StorageError> {
    let rows: Vec<KeyWithAllRow> = match tx {
        Tx::Sqlite(inner) => {
            let ids = serde_json::to_string(ids).unwrap_or_default();
            sqlx::query_as(FIND_EACH_KEY_SQLITE).bind(ids).fetch_all(&mut **inner).await?
        }
        Tx::Postgres(inner) => {
            let ids: Vec<_> = ids.iter().copied().collect();
            sqlx::query_as(FIND_EACH_KEY_POSTGRES).bind(ids).fetch_all(&mut **inner).await?
        }
    };
    let mut found = BTreeMap::new();
    for mut row in rows {
        let service = (row.audience.take(), row.service_permissions.take());
        found.entry(row.key_id.clone()).or_insert_with(|| FoundKey(row, Vec::new())).1.push(service);
    }
    Ok(found)
}

/// A merchant's keys, oldest first.
pub(crate) async fn find_keys(tx: &mut Tx, merchant: &MerchantId) -> Result<Vec<MerchantKey>, StorageError> {
    let rows: Vec<KeyRow> =
        on_tx!(tx, c => sqlx::query_as(FIND_KEYS).bind(merchant.as_str()).fetch_all(c).await)?;
    rows.into_iter().map(MerchantKey::try_from).collect()
}

/// A merchant's keys after an id, in the order of their ids.
pub(crate) async fn find_keys_after(
    tx: &mut Tx,
    merchant: &MerchantId,
    after: &str,
    limit: i64,
) -> Result<Vec<MerchantKey>, StorageError> {
    let rows: Vec<KeyRow> = on_tx!(tx, c => sqlx::query_as(FIND_KEYS_AFTER)
        .bind(merchant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(MerchantKey::try_from).collect()
}

/// Remembers a use, unless one of the last minute is remembered already.
pub(crate) async fn update_last_used(tx: &mut Tx, id: &KeyId, now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(TOUCH_KEY)
        .bind(id.as_str())
        .bind(now.0)
        .bind(now.plus_seconds(-60).0)
        .execute(c)
        .await
        .map(|_| ()))
}

pub(super) async fn update_revoked(
    tx: &mut Tx,
    id: &KeyId,
    merchant: &MerchantId,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(REVOKE_KEY)
        .bind(id.as_str())
        .bind(merchant.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn update_expiry(
    tx: &mut Tx,
    id: &KeyId,
    merchant: &MerchantId,
    at: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(SHORTEN_KEY)
        .bind(id.as_str())
        .bind(merchant.as_str())
        .bind(at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Locks a key until the transaction ends.
pub(super) async fn lock_key(tx: &mut Tx, id: &KeyId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(LOCK_KEY).bind(id.as_str()).execute(c).await.map(|_| ()))
}

/// How many live keys a key was made from by rotation: one, for as long as they overlap.
pub(super) async fn count_predecessors(tx: &mut Tx, id: &KeyId, now: UnixMs) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(COUNT_PREDECESSORS).bind(id.as_str()).bind(now.0).fetch_one(c).await)
}

/// How many live keys were rotated from this one.
pub(super) async fn count_successors(tx: &mut Tx, id: &KeyId, now: UnixMs) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(COUNT_SUCCESSORS).bind(id.as_str()).bind(now.0).fetch_one(c).await)
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
