//! Ending sessions: the row, the feed, the audit.

use super::{Session, find_by_account, find_session, store};
use crate::accounts::{lock_accounts, raise_generation, raise_generations};
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

/// Ends a session whose time is over, in a transaction; the audit says which time it was.
pub(super) async fn end_in_time(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    ending: Ending,
    now: UnixMs,
) -> Result<(), Failure> {
    if end(app, tx, &session.sid, ending, now).await? {
        write_end_in_time(app, tx, session, ending, now).await?;
    }
    Ok(())
}

/// Writes down that a session's time is over. Nobody has done that, whoever was the first to meet it.
pub(super) async fn write_end_in_time(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    ending: Ending,
    now: UnixMs,
) -> Result<(), Failure> {
    let entry = Entry::done_because("session.end", ending.as_str())
        .merchant(&session.merchant_id)
        .subject(format!("session:{}", session.sid));
    Ok(app.audit.write(tx, entry, &Caller::default(), now, app.entropy.bytes()).await?)
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
    let entry = if end(app, &mut tx, sid, Ending::Revoked, now).await? {
        Entry::done("session.end")
    } else {
        // It changes nothing, and tells that there was such a session.
        Entry::refused("session.end", "already_ended")
    };
    let entry = entry.merchant(&session.merchant_id).actor(actor).subject(format!("session:{sid}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
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
    let accounts = std::slice::from_ref(account);
    store::lock_of(tx, accounts, AT_ONCE).await?;
    store::update_ended_of(tx, accounts, Ending::Revoked, now).await?;
    revocations::publish(app, tx, &Ended::Account { id: account.clone(), generation }, now).await?;
    let entry =
        Entry::done("account.end_all").merchant(merchant).actor(actor).subject(format!("account:{account}"));
    Ok(app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?)
}

/// How many accounts are ended by one statement.
const AT_ONCE: usize = 500;

/// Ends everything of many accounts. The act that it belongs to writes the audit.
pub(crate) async fn end_all_of(
    app: &App,
    tx: &mut Tx,
    accounts: &[AccountId],
    now: UnixMs,
) -> Result<(), Failure> {
    let mut ended = Vec::new();
    // In the same order as above: all accounts, all sessions by their ids, and the counter.
    for some in accounts.chunks(AT_ONCE) {
        lock_accounts(tx, some).await?;
    }
    store::lock_of(tx, accounts, AT_ONCE).await?;
    for some in accounts.chunks(AT_ONCE) {
        let raised = raise_generations(tx, some).await?;
        store::update_ended_of(tx, some, Ending::Revoked, now).await?;
        ended.extend(raised.into_iter().map(|(id, generation)| Ended::Account { id, generation }));
    }
    revocations::publish_all(app, tx, &ended, now).await
}

/// Ends every other session of an account than this one, which was opened in this transaction. Two logins at the same moment are one
/// after the other here: one session is left.
pub(crate) async fn end_others(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    caller: &Caller,
    now: UnixMs,
) -> Result<(), Failure> {
    let actor = format!("account:{}", session.account_id);
    let mut ended = Vec::new();
    for other in find_by_account(tx, &session.account_id).await? {
        if other.sid != session.sid && store::update_ended(tx, &other.sid, Ending::Revoked, now).await? {
            ended.push(Ended::Session { sid: other.sid.clone() });
            let entry = Entry::done("session.replace")
                .merchant(&other.merchant_id)
                .actor(&actor)
                .subject(format!("session:{}", other.sid));
            app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
        }
    }
    // The counter last: whoever holds it waits for no session.
    revocations::publish_all(app, tx, &ended, now).await
}
