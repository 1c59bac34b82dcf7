//! Known devices: the account's device generation. What an edge remembers of a device counts only while it is of this one.

use super::{Account, find_account, forget_devices};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use margrave_shared::wire::device::DeviceStanding;

/// How an account stands, for the edge; with its logins, which make a device known, after a completed login only.
pub(crate) fn device_standing(account: &Account) -> DeviceStanding {
    let logins = vec![account.username.clone(), account.x_address.to_string()];
    DeviceStanding { account: account.id.clone(), generation: account.device_generation, logins }
}

/// "That was not me": every device that was known is a stranger from now on. Sessions go on; ending those is another act.
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
