//! Making, changing and deleting roles.

use super::store::{self, Lock};
use super::{Giver, Role, narrows};
use crate::accounts::raise_versions;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::sessions::end_all_of;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::Permission;
use margrave_shared::role::RoleName;
use std::collections::BTreeSet;

fn entry(act: &'static str, merchant: &MerchantId, actor: &str, name: &RoleName) -> Entry {
    Entry::done(act).merchant(merchant).actor(actor).subject(format!("role:{name}"))
}

/// Makes a role.
///
/// # Errors
/// `conflict` for a name that is taken; what [`Giver::check`] refuses.
pub(crate) async fn create_role(
    app: &App,
    tx: &mut Tx,
    merchant: &MerchantId,
    name: RoleName,
    permissions: BTreeSet<Permission>,
    giver: Giver<'_>,
    caller: &Caller,
) -> Result<Role, Failure> {
    giver.check(&BTreeSet::new(), &permissions)?;
    let now = app.clock.now();
    // Not from zero: a role that is made anew under an old name is not taken for the one that was read.
    let role = Role { name, permissions, created_at: now, version: now.0 };
    store::insert_role(tx, merchant, &role).await.map_err(|error| match error {
        StorageError::Conflict => {
            Failure::explained(ErrorCode::Conflict, "there is a role of this name already")
        }
        other => other.into(),
    })?;
    let entry = entry("role.create", merchant, giver.actor, &role.name);
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(role)
}

/// Locks a role that is of this version: whoever is given it, or loses it, has been waited for.
async fn standing(
    tx: &mut Tx,
    merchant: &MerchantId,
    name: &RoleName,
    version: i64,
) -> Result<Role, Failure> {
    store::lock_roles(tx, merchant, std::iter::once(name), Lock::Alone).await?;
    let role = store::find_role(tx, merchant, name).await?;
    let role = role.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_role"))?;
    if role.version == version { Ok(role) } else { Err(changed()) }
}

fn changed() -> Failure {
    Failure::denied(ErrorCode::PreconditionFailed, "another_version")
}

/// Changes what a role permits. Where it permits less than before, the tokens of all who have it end.
///
/// # Errors
/// `not_found`, `precondition_failed` where it is not of this version; what [`Giver::check`] refuses.
pub(crate) async fn change_role(
    app: &App,
    merchant: &MerchantId,
    name: &RoleName,
    permissions: BTreeSet<Permission>,
    version: i64,
    giver: Giver<'_>,
    caller: &Caller,
) -> Result<Role, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    let before = standing(&mut tx, merchant, name, version).await?;
    giver.check(&before.permissions, &permissions)?;
    let after = Role { permissions, version: version + 1, ..before.clone() };
    if !store::update_role(&mut tx, merchant, &after, version).await? {
        return Err(changed());
    }
    if narrows(&before.permissions, &after.permissions) {
        let holders = store::find_holders(&mut tx, merchant, name).await?;
        end_all_of(app, &mut tx, &holders, now).await?;
    }
    let entry = entry("role.change", merchant, giver.actor, name);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(after)
}

/// Deletes a role. Whoever had it has it no more, and the tokens of those end.
///
/// # Errors
/// `not_found`, `precondition_failed` where it is not of this version.
pub(crate) async fn delete_role(
    app: &App,
    merchant: &MerchantId,
    name: &RoleName,
    version: i64,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    standing(&mut tx, merchant, name, version).await?;
    let holders = store::find_holders(&mut tx, merchant, name).await?;
    // Accounts before their grants, as whoever changes an account's rights does. What was read of them counts no more.
    end_all_of(app, &mut tx, &holders, now).await?;
    raise_versions(&mut tx, &holders).await?;
    store::delete_grants(&mut tx, merchant, name).await?;
    if !store::delete_role(&mut tx, merchant, name, version).await? {
        return Err(changed());
    }
    let entry = entry("role.delete", merchant, actor, name);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}
