//! "That was not me": every device of an account becomes a stranger. What an edge remembers of one counts only while it is of the account's
//! device generation, and those that were registered are gone.

use super::store::delete_devices;
use crate::accounts::{Account, find_account, raise_device_generation};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;

/// Makes every device of an account a stranger. The act that it belongs to writes the audit.
///
/// # Errors
/// The database's.
pub(crate) async fn forget_devices(tx: &mut Tx, account: &AccountId) -> Result<(), StorageError> {
    raise_device_generation(tx, account).await?;
    delete_devices(tx, account).await
}

/// The same as an act of its own. Sessions go on; ending those is another act. Gives the account as it is now.
///
/// # Errors
/// `not_found`.
pub(crate) async fn forget_account_devices(
    app: &App,
    id: &AccountId,
    actor: &str,
    caller: &Caller,
) -> Result<Account, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    forget_devices(&mut tx, id).await?;
    let account = find_account(&mut tx, id).await?;
    let account = account.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))?;
    let entry = Entry::done("account.forget_devices")
        .merchant(&account.merchant_id)
        .actor(actor)
        .subject(format!("account:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(account)
}
