//! An account's rights and what else of it an administrator sets.

use super::Giver;
use super::store::{self, Lock};
use crate::accounts::{Account, AccountSettings, find_account, update_settings};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::sessions::end_all;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use margrave_shared::permission::Permission;
use margrave_shared::role::RoleName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What an administrator sets for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountRights {
    /// Its roles.
    #[schemars(length(max = 100))]
    pub(crate) roles: BTreeSet<RoleName>,
    /// Everything else.
    #[serde(default)]
    pub(crate) settings: AccountSettings,
}

/// The most roles of one account.
const MAX_ROLES: usize = 100;

/// An account's rights.
///
/// # Errors
/// The database's.
pub(crate) async fn find_rights(tx: &mut Tx, account: &Account) -> Result<AccountRights, StorageError> {
    let roles = store::find_roles_of(tx, &account.id).await?.into_iter().map(|role| role.name).collect();
    Ok(AccountRights { roles, settings: account.settings.clone() })
}

/// Changes an account's rights. Where anything changes of what it may do, its tokens end: the next login brings what is right.
/// Gives the account as it is now.
///
/// # Errors
/// `not_found`; `precondition_failed` where the account is of another version; `invalid_field` for a role that is not there or
/// limits beyond all measure; what [`Giver::check`] refuses.
pub(crate) async fn change_rights(
    app: &App,
    id: &AccountId,
    rights: &AccountRights,
    version: i64,
    giver: Giver<'_>,
    caller: &Caller,
) -> Result<Account, Failure> {
    if let Err(problem) = rights.settings.check() {
        return Err(Failure::explained(ErrorCode::InvalidField, problem));
    }
    if rights.roles.len() > MAX_ROLES {
        return Err(Failure::explained(ErrorCode::InvalidField, format!("at most {MAX_ROLES} roles")));
    }
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let account = find_account(&mut tx, id).await?.filter(|account| account.erased_at.is_none());
    let account = account.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))?;
    // What is read here decides what may be given: it must be what is changed below.
    if account.version != version {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    // Roles before accounts, as who changes a role does: it is as it is read here until this is committed, and who narrows it
    // afterwards finds this account among those who have it.
    store::lock_roles(&mut tx, &account.merchant_id, rights.roles.iter(), Lock::Share).await?;
    // Locks the account: who logs in meanwhile has read it before, and its token ends with the others.
    if !update_settings(&mut tx, id, &rights.settings, version).await? {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    let roles_before = store::find_roles_of(&mut tx, id).await?;
    let mut roles_after = Vec::new();
    for name in &rights.roles {
        let role = store::find_role(&mut tx, &account.merchant_id, name).await?;
        let unknown = || Failure::explained(ErrorCode::InvalidField, format!("there is no role `{name}`"));
        roles_after.push(role.ok_or_else(unknown)?);
    }
    let all = |own: &BTreeSet<Permission>, roles: &[super::Role]| -> BTreeSet<Permission> {
        own.iter().chain(roles.iter().flat_map(|role| &role.permissions)).cloned().collect()
    };
    let before = all(&account.settings.permissions, &roles_before);
    let after = all(&rights.settings.permissions, &roles_after);
    giver.check(&before, &after)?;
    for role in roles_before.iter().filter(|role| !rights.roles.contains(&role.name)) {
        store::delete_grant(&mut tx, id, &role.name).await?;
    }
    for role in &roles_after {
        store::insert_grant(&mut tx, id, &account.merchant_id, &role.name, now).await?;
    }
    if before != after {
        end_all(app, &mut tx, &account.merchant_id, id, giver.actor, caller, now).await?;
    }
    let entry = Entry::done("account.change_rights")
        .merchant(&account.merchant_id)
        .actor(giver.actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let account = find_account(&mut tx, id).await?.ok_or(Failure::Internal("an account went away"))?;
    tx.commit().await?;
    app.feed.notify();
    Ok(account)
}
