//! The SQL of a merchant's limits, and of counting what is limited.

use super::{Limited, MerchantLimits};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::MerchantId;
use margrave_shared::time::UnixMs;

const FIND_LIMITS: &str = "SELECT limits FROM merchants WHERE id = $1";
// An update that changes nothing locks on either database.
const LOCK_LIMITS: &str = "UPDATE merchants SET limits = limits WHERE id = $1 RETURNING limits";
const PUT_LIMITS: &str =
    "UPDATE merchants SET limits = $2, version = version + 1 WHERE id = $1 AND version = $3";
// No further than the limit.
const COUNT_ACCOUNTS: &str = "SELECT COUNT(*) FROM
    (SELECT 1 FROM accounts WHERE merchant_id = $1 AND erased_at IS NULL LIMIT $2) AS counted";
// Those that have a successor are on their way out.
const COUNT_KEYS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM merchant_keys k WHERE k.merchant_id = $1
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $3) AND NOT EXISTS
    (SELECT 1 FROM merchant_keys s WHERE s.rotated_from = k.id AND s.revoked_at IS NULL
    AND (s.expires_at IS NULL OR s.expires_at > $3)) LIMIT $2) AS counted";
const COUNT_APPLICATIONS: &str = "SELECT COUNT(*) FROM
    (SELECT 1 FROM applications WHERE merchant_id = $1 AND disabled_at IS NULL LIMIT $2) AS counted";
const COUNT_ORGANIZATIONS: &str = "SELECT COUNT(*) FROM
    (SELECT 1 FROM organizations WHERE merchant_id = $1 AND disabled_at IS NULL LIMIT $2) AS counted";

#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    FIND_LIMITS,
    LOCK_LIMITS,
    PUT_LIMITS,
    COUNT_ACCOUNTS,
    COUNT_KEYS,
    COUNT_APPLICATIONS,
    COUNT_ORGANIZATIONS,
];

fn limits_of(row: Option<String>) -> Result<MerchantLimits, StorageError> {
    let corrupt = |_| StorageError::Corrupt { table: "merchants", column: "limits" };
    row.map_or(Ok(MerchantLimits::default()), |text| serde_json::from_str(&text).map_err(corrupt))
}

/// A merchant's limits; of one that is not there, none.
pub(crate) async fn find_limits(tx: &mut Tx, id: &MerchantId) -> Result<MerchantLimits, StorageError> {
    limits_of(on_tx!(tx, c => sqlx::query_scalar(FIND_LIMITS).bind(id.as_str()).fetch_optional(c).await)?)
}

/// The same, and nobody else makes anything that is limited until this transaction ends.
pub(super) async fn lock_limits(tx: &mut Tx, id: &MerchantId) -> Result<MerchantLimits, StorageError> {
    limits_of(on_tx!(tx, c => sqlx::query_scalar(LOCK_LIMITS).bind(id.as_str()).fetch_optional(c).await)?)
}

/// Changes a merchant's limits; `false` when it is of another version.
pub(super) async fn update_limits(
    tx: &mut Tx,
    id: &MerchantId,
    limits: &MerchantLimits,
    version: i64,
) -> Result<bool, StorageError> {
    let text = serde_json::to_string(limits).unwrap_or_else(|_| "{}".to_owned());
    on_tx!(tx, c => sqlx::query(PUT_LIMITS)
        .bind(id.as_str())
        .bind(text)
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// How many of these a merchant has, up to `most`.
pub(super) async fn count_limited(
    tx: &mut Tx,
    merchant: &MerchantId,
    what: Limited,
    most: u32,
    now: UnixMs,
) -> Result<i64, StorageError> {
    let sql = match what {
        Limited::Accounts => COUNT_ACCOUNTS,
        Limited::Keys => COUNT_KEYS,
        Limited::Applications => COUNT_APPLICATIONS,
        Limited::Organizations => COUNT_ORGANIZATIONS,
    };
    on_tx!(tx, c => {
        let mut query = sqlx::query_scalar(sql).bind(merchant.as_str()).bind(i64::from(most));
        if what == Limited::Keys {
            query = query.bind(now.0);
        }
        query.fetch_one(c).await
    })
}
