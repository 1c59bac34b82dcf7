//! Changing one's password: with the current one, and every session ends.

use crate::accounts::{Account, add_failure, reset_failures};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::passwords::{Verdict, find_hash, put_hash};
use crate::sessions::end_all;
use margrave_shared::error::ErrorCode;
use margrave_shared::password::policy::check_new;
use margrave_shared::secret::SecretText;

/// Changes a password. All tokens and sessions of the account end, the present one too: whoever knew the old
/// password is out.
///
/// # Errors
/// `authentication_failed` when the current password is wrong, `invalid_password`, `overloaded`.
pub(super) async fn change_password(
    app: &App,
    account: &Account,
    current: &SecretText,
    new: &SecretText,
    caller: &Caller,
) -> Result<(), Failure> {
    let normal = check_new(new, app.min_password_chars)
        .map_err(|problem| Failure::explained(ErrorCode::InvalidPassword, problem.to_string()))?;
    let mut tx = app.db.read().await?;
    let stored = find_hash(&mut tx, &account.id).await?;
    drop(tx);
    let verdict = app.kdf.verify(current, stored.clone(), caller.address, app.entropy.bytes()).await?;
    let hash = app.kdf.hash(normal, caller.address, app.entropy.bytes()).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let subject = format!("account:{}", account.id);
    let entry = |entry: Entry<'static>| entry.actor(subject.clone()).subject(subject.clone());
    // The hash must still be the one that was checked.
    let unchanged = find_hash(&mut tx, &account.id).await? == stored;
    if verdict == Verdict::Wrong || !unchanged {
        add_failure(&mut tx, &account.id).await?;
        let refused = entry(Entry::refused("password.change", "wrong_password"));
        app.audit.write(&mut tx, refused, caller, now, app.entropy.bytes()).await?;
        tx.commit().await?;
        return Err(Failure::denied(ErrorCode::AuthenticationFailed, "wrong_password"));
    }
    put_hash(&mut tx, &account.id, &hash, now).await?;
    reset_failures(&mut tx, &account.id).await?;
    end_all(app, &mut tx, &account.merchant_id, &account.id, &subject, caller, now).await?;
    app.audit.write(&mut tx, entry(Entry::done("password.change")), caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}
