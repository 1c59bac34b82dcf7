//! Changing one's password: with the current one, and every session ends.

use crate::accounts::{Account, MAX_FAILURES_WITH_SESSION, add_failure, find_account, reset_failures};
use crate::app::App;
use crate::audit::Entry;
use crate::devices::forget_devices;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::passwords::{Verdict, find_hash, replace_hash};
use crate::recovery::call_off_reset;
use crate::sessions::end_all;
use margrave_shared::error::ErrorCode;
use margrave_shared::password::policy::check_new;
use margrave_shared::secret::SecretText;

/// Changes a password. All tokens and sessions of the account end, the present one too, and its known devices are
/// forgotten: whoever knew the old password is out. Gives the account as it is now.
///
/// # Errors
/// `authentication_failed` when the current password is wrong, `invalid_password`, `overloaded`.
pub(crate) async fn change_password(
    app: &App,
    account: &Account,
    current: &SecretText,
    new: &SecretText,
    caller: &Caller,
) -> Result<Account, Failure> {
    let normal = check_new(new, app.min_password_chars)
        .map_err(|problem| Failure::explained(ErrorCode::InvalidPassword, problem.to_string()))?;
    let mut tx = app.db.read().await?;
    let stored = find_hash(&mut tx, &account.id).await?;
    drop(tx);
    let verdict = app.kdf.verify(current, stored.clone(), None, caller.address, app.entropy.bytes()).await?;
    let hash = app.kdf.hash(normal, caller.address, app.entropy.bytes()).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let subject = format!("account:{}", account.id);
    let entry = |entry: Entry| entry.actor(subject.clone()).subject(subject.clone()).person(account.person());
    // Counted before the verdict counts, as at a login; and what was true before hashing must still be.
    let counted = add_failure(&mut tx, &account.id, MAX_FAILURES_WITH_SESSION).await?;
    let present = find_account(&mut tx, &account.id).await?;
    let present =
        present.is_some_and(|now| now.disabled_at.is_none() && now.generation == account.generation);
    let right = counted && present && verdict != Verdict::Wrong;
    let replaced = match &stored {
        Some(old) if right => replace_hash(&mut tx, &account.id, old, &hash, now).await?,
        _ => false,
    };
    if !replaced {
        let reason = if counted { "wrong_password" } else { "too_many_failures" };
        let refused = entry(Entry::refused("password.change", reason));
        app.audit.write(&mut tx, refused, caller, now, app.entropy.bytes()).await?;
        tx.commit().await?;
        return Err(Failure::denied(ErrorCode::AuthenticationFailed, reason));
    }
    reset_failures(&mut tx, &account.id).await?;
    // Its owner is in: nobody else is to be let in.
    call_off_reset(app, &mut tx, account, "password_changed", &subject, caller).await?;
    // Whoever knew the old password may have made a device known.
    forget_devices(&mut tx, &account.id).await?;
    end_all(app, &mut tx, &account.merchant_id, &account.id, &subject, caller, now).await?;
    app.audit.write(&mut tx, entry(Entry::done("password.change")), caller, now, app.entropy.bytes()).await?;
    let account = find_account(&mut tx, &account.id).await?.unwrap_or_else(|| account.clone());
    tx.commit().await?;
    app.feed.notify();
    Ok(account)
}
