//! The organisations' SQL.

use super::{Organization, OrganizationFacts};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId, OrganizationId};
use margrave_shared::time::UnixMs;
use margrave_shared::x_address::XAddress;
use std::collections::BTreeSet;

const INSERT: &str = "INSERT INTO organizations (id, merchant_id, name, x_address, created_at, version)
    VALUES ($1, $2, $3, $4, $5, 0)";
const FIND: &str = "SELECT id, merchant_id, name, x_address, created_at, disabled_at, version FROM organizations WHERE id = $1";
const FIND_ALL: &str =
    "SELECT id, merchant_id, name, x_address, created_at, disabled_at, version FROM organizations
    WHERE merchant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
const FIND_HEADS: &str =
    "SELECT account_id FROM organization_heads WHERE organization_id = $1 ORDER BY account_id";
const UPDATE: &str =
    "UPDATE organizations SET name = $2, version = version + 1 WHERE id = $1 AND version = $3";
const DISABLE: &str = "UPDATE organizations SET disabled_at = $2, version = version + 1
    WHERE id = $1 AND disabled_at IS NULL";
const ENABLE: &str = "UPDATE organizations SET disabled_at = NULL, version = version + 1
    WHERE id = $1 AND disabled_at IS NOT NULL";
const INSERT_HEAD: &str =
    "INSERT INTO organization_heads (organization_id, account_id, since) VALUES ($1, $2, $3)
    ON CONFLICT (organization_id, account_id) DO NOTHING";
const DELETE_ONE_HEAD: &str = "DELETE FROM organization_heads WHERE organization_id = $1 AND account_id = $2";
const FIND_HEADED: &str =
    "SELECT organization_id FROM organization_heads WHERE account_id = $1 ORDER BY organization_id";
const DELETE_HEAD: &str = "DELETE FROM organization_heads WHERE account_id = $1";

#[cfg(test)]
const ALL: &[&str] = &[
    INSERT,
    FIND,
    FIND_ALL,
    FIND_HEADS,
    UPDATE,
    DISABLE,
    ENABLE,
    INSERT_HEAD,
    DELETE_ONE_HEAD,
    FIND_HEADED,
    DELETE_HEAD,
];

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    merchant_id: String,
    name: String,
    x_address: String,
    created_at: i64,
    disabled_at: Option<i64>,
    version: i64,
}

async fn whole(tx: &mut Tx, row: Row) -> Result<Organization, StorageError> {
    let corrupt = |column| StorageError::Corrupt { table: "organizations", column };
    let id = OrganizationId::parse(&row.id).map_err(|_| corrupt("id"))?;
    let heads = find_heads(tx, &id).await?;
    Ok(Organization {
        id,
        merchant_id: MerchantId::parse(&row.merchant_id).map_err(|_| corrupt("merchant_id"))?,
        facts: OrganizationFacts { name: row.name, heads },
        x_address: XAddress::parse(&row.x_address).map_err(|_| corrupt("x_address"))?,
        created_at: UnixMs(row.created_at),
        disabled_at: row.disabled_at.map(UnixMs),
        version: row.version,
    })
}

async fn find_heads(tx: &mut Tx, id: &OrganizationId) -> Result<BTreeSet<AccountId>, StorageError> {
    let heads: Vec<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_HEADS).bind(id.as_str()).fetch_all(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "organization_heads", column: "account_id" };
    heads.iter().map(|head| AccountId::parse(head).map_err(corrupt)).collect()
}

pub(super) async fn insert_organization(
    tx: &mut Tx,
    organization: &Organization,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(organization.id.as_str())
        .bind(organization.merchant_id.as_str())
        .bind(&organization.facts.name)
        .bind(organization.x_address.as_str())
        .bind(organization.created_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// An organisation, disabled or not.
pub(crate) async fn find_organization(
    tx: &mut Tx,
    id: &OrganizationId,
) -> Result<Option<Organization>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(c).await)?;
    match row {
        Some(row) => Ok(Some(whole(tx, row).await?)),
        None => Ok(None),
    }
}

/// A merchant's organisations after an id, in their order.
pub(crate) async fn find_organizations(
    tx: &mut Tx,
    merchant: &MerchantId,
    after: &str,
    limit: i64,
) -> Result<Vec<Organization>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_ALL)
        .bind(merchant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(whole(tx, row).await?);
    }
    Ok(found)
}

/// Changes an organisation's name; `false` when it is of another version.
pub(super) async fn update_organization(
    tx: &mut Tx,
    id: &OrganizationId,
    name: &str,
    version: i64,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE)
        .bind(id.as_str())
        .bind(name)
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Disables an organisation, or enables it; `false` when it was so already.
pub(super) async fn update_disabled(
    tx: &mut Tx,
    id: &OrganizationId,
    since: Option<UnixMs>,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => {
        let query = match since {
            Some(since) => sqlx::query(DISABLE).bind(id.as_str()).bind(since.0),
            None => sqlx::query(ENABLE).bind(id.as_str()),
        };
        query.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Gives an organisation these heads and no others. Whoever was one before stays so since then.
pub(super) async fn put_heads(
    tx: &mut Tx,
    id: &OrganizationId,
    heads: &BTreeSet<AccountId>,
    now: UnixMs,
) -> Result<(), StorageError> {
    for gone in find_heads(tx, id).await?.difference(heads) {
        on_tx!(tx, c => sqlx::query(DELETE_ONE_HEAD).bind(id.as_str()).bind(gone.as_str()).execute(c).await.map(|_| ()))?;
    }
    for head in heads {
        on_tx!(tx, c => sqlx::query(INSERT_HEAD)
            .bind(id.as_str())
            .bind(head.as_str())
            .bind(now.0)
            .execute(c)
            .await
            .map(|_| ()))?;
    }
    Ok(())
}

/// The organisations that an account heads.
pub(crate) async fn find_headed(tx: &mut Tx, account: &AccountId) -> Result<Vec<String>, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(FIND_HEADED).bind(account.as_str()).fetch_all(c).await)
}

/// Takes an account away from whatever it heads.
pub(crate) async fn delete_head(tx: &mut Tx, account: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_HEAD).bind(account.as_str()).execute(c).await.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
