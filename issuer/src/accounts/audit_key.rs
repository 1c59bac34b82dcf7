//! The audit keys of accounts that are older than these keys.

use super::store;
use crate::app::App;
use crate::storage::{StorageError, Tx};
use margrave_shared::id::AccountId;

/// Gives a key to accounts that have none; at most `limit`, gives how many.
pub(crate) async fn give_audit_keys(app: &App, tx: &mut Tx, limit: i64) -> Result<u64, StorageError> {
    let mut given = 0;
    for id in store::find_without_audit_key(tx, limit).await? {
        let id =
            AccountId::parse(&id).map_err(|_| StorageError::Corrupt { table: "accounts", column: "id" })?;
        store::update_audit_key(tx, &id, &app.audit.personal().make(&id, app.entropy.bytes())).await?;
        given += 1;
    }
    Ok(given)
}
