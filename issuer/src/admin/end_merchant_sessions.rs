//! Ending everything that the people of a merchant have: after a break-in, say.

use crate::app::App;
use crate::audit::Entry;
use crate::factors::find_accounts_proven;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::find_merchant;
use crate::sessions::{end_all_of, find_accounts_in_session};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::time::UnixMs;
use std::collections::BTreeSet;

/// Ends every session of a merchant's accounts, with their tokens and whatever was proven to open another one. In one transaction: all
/// of it or nothing. Gives how many accounts there were.
///
/// # Errors
/// `not_found`.
pub(crate) async fn end_merchant_sessions(
    app: &App,
    id: &MerchantId,
    actor: &str,
    caller: &Caller,
) -> Result<usize, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    if find_merchant(&mut tx, id).await?.is_none() {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_merchant"));
    }
    let count = end_everything_of(app, &mut tx, id, now).await?;
    let entry = Entry::done("merchant.end_all")
        .merchant(id)
        .actor(actor)
        .subject(format!("merchant:{id} count:{count}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(count)
}

/// Ends what a merchant's people have, in a transaction of the caller's; gives how many accounts there were.
///
/// # Errors
/// The database's.
pub(super) async fn end_everything_of(
    app: &App,
    tx: &mut Tx,
    id: &MerchantId,
    now: UnixMs,
) -> Result<usize, Failure> {
    // Proofs first: one that is spent between the two questions has become a session that the second one sees.
    let mut accounts: BTreeSet<AccountId> = find_accounts_proven(tx, id, now).await?.into_iter().collect();
    accounts.extend(find_accounts_in_session(tx, id).await?);
    let accounts: Vec<AccountId> = accounts.into_iter().collect();
    end_all_of(app, tx, &accounts, now).await?;
    Ok(accounts.len())
}
