//! What roles and grants give an account.

use super::store;
use crate::accounts::Account;
use crate::storage::{StorageError, Tx};
use margrave_shared::permission::Permission;
use std::collections::BTreeSet;

/// Every permission that an account has by its roles or by itself.
///
/// # Errors
/// The database's.
pub(crate) async fn find_held(tx: &mut Tx, account: &Account) -> Result<BTreeSet<Permission>, StorageError> {
    let mut held = account.settings.permissions.clone();
    for role in store::find_roles_of(tx, &account.id).await? {
        held.extend(role.permissions);
    }
    Ok(held)
}
