//! The roles' SQL.

use super::Role;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::permission::{parse_scope, print_scope};
use margrave_shared::role::RoleName;
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;

const INSERT: &str =
    "INSERT INTO roles (merchant_id, name, permissions, created_at, version) VALUES ($1, $2, $3, $4, $5)";
const FIND: &str =
    "SELECT name, permissions, created_at, version FROM roles WHERE merchant_id = $1 AND name = $2";
const FIND_ALL: &str = "SELECT name, permissions, created_at, version FROM roles
    WHERE merchant_id = $1 AND name > $2 ORDER BY name LIMIT $3";
const UPDATE: &str = "UPDATE roles SET permissions = $3, version = version + 1
    WHERE merchant_id = $1 AND name = $2 AND version = $4";
const DELETE: &str = "DELETE FROM roles WHERE merchant_id = $1 AND name = $2 AND version = $3";
const FIND_OF_ACCOUNT: &str = "SELECT r.name, r.permissions, r.created_at, r.version FROM account_roles a
    JOIN roles r ON r.merchant_id = a.merchant_id AND r.name = a.role WHERE a.account_id = $1 ORDER BY r.name";
const FIND_HOLDERS: &str =
    "SELECT account_id FROM account_roles WHERE merchant_id = $1 AND role = $2 ORDER BY account_id";
const GRANT: &str =
    "INSERT INTO account_roles (account_id, merchant_id, role, granted_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (account_id, role) DO NOTHING";
const TAKE: &str = "DELETE FROM account_roles WHERE account_id = $1 AND role = $2";
const TAKE_ALL: &str = "DELETE FROM account_roles WHERE account_id = $1";
const TAKE_FROM_ALL: &str = "DELETE FROM account_roles WHERE merchant_id = $1 AND role = $2";

#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    INSERT,
    FIND,
    FIND_ALL,
    UPDATE,
    DELETE,
    FIND_OF_ACCOUNT,
    FIND_HOLDERS,
    GRANT,
    TAKE,
    TAKE_ALL,
    TAKE_FROM_ALL,
];

type Row = (String, String, i64, i64);

fn role((name, permissions, created_at, version): Row) -> Result<Role, StorageError> {
    let corrupt = |column| StorageError::Corrupt { table: "roles", column };
    Ok(Role {
        name: RoleName::parse(&name).map_err(|_| corrupt("name"))?,
        permissions: parse_scope(&permissions).map_err(|_| corrupt("permissions"))?,
        created_at: UnixMs(created_at),
        version,
    })
}

pub(super) async fn insert_role(tx: &mut Tx, merchant: &MerchantId, role: &Role) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(merchant.as_str())
        .bind(role.name.as_str())
        .bind(print_scope(&role.permissions))
        .bind(role.created_at.0)
        .bind(role.version)
        .execute(c)
        .await
        .map(|_| ()))
}

/// How a role is locked until the transaction ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// Nobody changes it; others may lock it so too.
    Share,
    /// Nobody else locks it.
    Alone,
}

/// Locks roles in the order of their names, before any account: who changes a role locks it first, and then those who have it. On
/// SQLite a transaction that writes is alone.
pub(super) async fn lock_roles<'a>(
    tx: &mut Tx,
    merchant: &MerchantId,
    names: impl Iterator<Item = &'a RoleName>,
    lock: Lock,
) -> Result<(), StorageError> {
    let Tx::Postgres(inner) = tx else { return Ok(()) };
    let mut query = QueryBuilder::new("SELECT name FROM roles WHERE merchant_id = ");
    query.push_bind(merchant.as_str()).push(" AND name IN (''");
    for name in names {
        query.push(", ").push_bind(name.as_str());
    }
    query.push(match lock {
        Lock::Share => ") ORDER BY name FOR SHARE",
        Lock::Alone => ") ORDER BY name FOR UPDATE",
    });
    query.build().persistent(false).execute(&mut **inner).await?;
    Ok(())
}

/// A role by its name.
pub(crate) async fn find_role(
    tx: &mut Tx,
    merchant: &MerchantId,
    name: &RoleName,
) -> Result<Option<Role>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND)
        .bind(merchant.as_str())
        .bind(name.as_str())
        .fetch_optional(c)
        .await)?;
    row.map(role).transpose()
}

/// A merchant's roles after a name, in their order.
pub(crate) async fn find_roles(
    tx: &mut Tx,
    merchant: &MerchantId,
    after: &str,
    limit: i64,
) -> Result<Vec<Role>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_ALL)
        .bind(merchant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(role).collect()
}

/// Changes a role; `false` when it is of another version.
pub(super) async fn update_role(
    tx: &mut Tx,
    merchant: &MerchantId,
    role: &Role,
    version: i64,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE)
        .bind(merchant.as_str())
        .bind(role.name.as_str())
        .bind(print_scope(&role.permissions))
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Deletes a role; `false` when it is of another version.
pub(super) async fn delete_role(
    tx: &mut Tx,
    merchant: &MerchantId,
    name: &RoleName,
    version: i64,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE)
        .bind(merchant.as_str())
        .bind(name.as_str())
        .bind(version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// An account's roles.
pub(super) async fn find_roles_of(tx: &mut Tx, account: &AccountId) -> Result<Vec<Role>, StorageError> {
    let rows: Vec<Row> =
        on_tx!(tx, c => sqlx::query_as(FIND_OF_ACCOUNT).bind(account.as_str()).fetch_all(c).await)?;
    rows.into_iter().map(role).collect()
}

/// Who has a role, in the order of their ids.
pub(super) async fn find_holders(
    tx: &mut Tx,
    merchant: &MerchantId,
    name: &RoleName,
) -> Result<Vec<AccountId>, StorageError> {
    let rows: Vec<String> = on_tx!(tx, c => sqlx::query_scalar(FIND_HOLDERS)
        .bind(merchant.as_str())
        .bind(name.as_str())
        .fetch_all(c)
        .await)?;
    let corrupt = |_| StorageError::Corrupt { table: "account_roles", column: "account_id" };
    rows.iter().map(|id| AccountId::parse(id).map_err(corrupt)).collect()
}

pub(super) async fn insert_grant(
    tx: &mut Tx,
    account: &AccountId,
    merchant: &MerchantId,
    name: &RoleName,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(GRANT)
        .bind(account.as_str())
        .bind(merchant.as_str())
        .bind(name.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// Takes a role from everybody.
pub(super) async fn delete_grants(
    tx: &mut Tx,
    merchant: &MerchantId,
    name: &RoleName,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(TAKE_FROM_ALL)
        .bind(merchant.as_str())
        .bind(name.as_str())
        .execute(c)
        .await
        .map(|_| ()))
}

pub(super) async fn delete_grant(
    tx: &mut Tx,
    account: &AccountId,
    name: &RoleName,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(TAKE)
        .bind(account.as_str())
        .bind(name.as_str())
        .execute(c)
        .await
        .map(|_| ()))
}

/// Takes every role from an account.
pub(crate) async fn delete_grants_of(tx: &mut Tx, account: &AccountId) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(TAKE_ALL).bind(account.as_str()).execute(c).await.map(|_| ()))
}
