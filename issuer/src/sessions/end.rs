//! Ending sessions: the row, the feed, the audit.

use super::{Session, find_by_account, find_session, store};
use crate::accounts::raise_generation;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::revocations;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::{AccountId, MerchantId, SessionId};
use margrave_shared::session::Ending;
use margrave_shared::time::UnixMs;

/// Ends a session in a transaction: the row and the feed. `false` when it had ended.
pub(crate) async fn end(
    app: &App,
    tx: &mut Tx,
    sid: &SessionId,
    ending: Ending,
    now: UnixMs,
) -> Result<bool, Failure> {
    let ended = store::update_ended(tx, sid, ending, now).await?;
    if ended {
        revocations::publish(app, tx, &Ended::Session { sid: sid.clone() }, now).await?;
    }
    Ok(ended)
}

/// Ends one session of an account.
///
/// # Errors
/// `not_found` for a session that is another's or unknown; ending one twice is no error.
pub(crate) async fn end_session(
    app: &App,
    account: &AccountId,
    sid: &SessionId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let session: Option<Session> = find_session(&mut tx, sid).await?.filter(|s| s.account_id == *account);
    let session = session.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_session"))?;
    if end(app, &mut tx, sid, Ending::Revoked, now).await? {
        let entry = Entry::done("session.end")
            .merchant(&session.merchant_id)
            .actor(actor)
            .subject(format!("session:{sid}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

/// Ends everything of an account: its sessions, and every token by a new generation.
pub(crate) async fn end_all(
    app: &App,
    tx: &mut Tx,
    merchant: &MerchantId,
    account: &AccountId,
    actor: &str,
    caller: &Caller,
    now: UnixMs,
) -> Result<(), Failure> {
    // Rows are locked in one order everywhere: account, sessions by id, the feed's counter last. Otherwise two endings
    // that cross would wait for each other.
    let generation = raise_generation(tx, account).await?;
    for session in find_by_account(tx, account).await? {
        store::update_ended(tx, &session.sid, Ending::Revoked, now).await?;
    }
    revocations::publish(app, tx, &Ended::Account { id: account.clone(), generation }, now).await?;
    let entry =
        Entry::done("account.end_all").merchant(merchant).actor(actor).subject(format!("account:{account}"));
    Ok(app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?)
}
