//! Break-glass: whoever has a shell beside the database and the master key gets into the administration again.

use super::create_key::insert;
use super::{IssuedKey, Merchant, NewKey, all_rights, find_last_reset, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::notify::{Notice, tell_operators};
use crate::revocations;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::MerchantId;
use std::sync::Arc;
use std::time::Duration;

/// What was reset.
#[derive(Debug)]
pub(crate) struct Reset {
    /// The platform's merchant.
    pub(crate) merchant: Merchant,
    /// Its new key.
    pub(crate) key: IssuedKey,
    /// How many other keys were revoked.
    pub(crate) revoked: usize,
}

/// The most characters of a reason.
const MOST_CHARS: usize = 200;

/// Gives the platform's merchant a new key that may do everything, and takes all its others away if that is asked for.
///
/// # Errors
/// `not_found` where there is no platform's merchant, or several and none is named; `invalid_field` without a reason.
pub(crate) async fn reset_platform(
    app: &App,
    merchant: Option<&MerchantId>,
    revoke_others: bool,
    reason: &str,
    caller: &Caller,
) -> Result<Reset, Failure> {
    if reason.trim().is_empty() || reason.chars().count() > MOST_CHARS || reason.contains('\0') {
        let text = format!("say why, in at most {MOST_CHARS} characters: it stands in the audit for good");
        return Err(Failure::explained(ErrorCode::InvalidField, text));
    }
    // Not by the shell's clock: it decides when it is told.
    let (now, reset_at) = (app.clock.now(), app.db.time().await?);
    let mut tx = app.db.begin().await?;
    let platforms = store::find_platforms(&mut tx).await?;
    let found = match merchant {
        Some(id) => platforms.into_iter().find(|found| found.id == *id),
        None if platforms.len() > 1 => {
            let ids: Vec<&str> = platforms.iter().map(|found| found.id.as_str()).collect();
            let text = format!("there are several of them: name one with --merchant: {}", ids.join(", "));
            return Err(Failure::explained(ErrorCode::NotFound, text));
        }
        None => platforms.into_iter().next(),
    };
    let text = "there is no merchant that runs the system: `margrave admin create NAME` makes one";
    let merchant = found.ok_or_else(|| Failure::explained(ErrorCode::NotFound, text))?;
    // Rows first and the feed's counter last, as whatever ends something does.
    let mut revoked = Vec::new();
    if revoke_others {
        for key in store::find_keys(&mut tx, &merchant.id).await? {
            if key.revoked_at.is_none()
                && store::update_revoked(&mut tx, &key.key_id, &merchant.id, now).await?
            {
                revoked.push(key.key_id);
            }
        }
    }
    for key_id in &revoked {
        let entry = Entry::done("key.revoke").merchant(&merchant.id).actor("operator");
        let entry = entry.subject(format!("key:{key_id}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
        revocations::publish(app, &mut tx, &Ended::Key { key_id: key_id.clone() }, now).await?;
    }
    let revoked = revoked.len();
    let new = NewKey { permissions: all_rights(), expires_at: None };
    let key = insert(app, &mut tx, &merchant.id, &new, None, now).await?;
    store::update_reset(&mut tx, &merchant.id, reset_at).await?;
    let subject = format!("key:{} revoked:{revoked} reason:{reason}", key.key_id);
    let entry = Entry::done("admin.reset").merchant(&merchant.id).actor("operator").subject(subject);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let notice =
        Notice::PlatformReset { merchant: &merchant.id, key: &key.key_id, revoked, reason: reason.trim() };
    tell_operators(app, &mut tx, notice, now).await?;
    tx.commit().await?;
    app.feed.notify();
    tracing::warn!(merchant = %merchant.id, key = %key.key_id, revoked, reason, "ADMIN RESET from a shell");
    Ok(Reset { merchant, key, revoked })
}

/// How often it is looked whether somebody has reset.
const LOOKED_EVERY: Duration = Duration::from_secs(5);

/// How long ago a reset is told of by a process that starts after it, in milliseconds.
const TOLD_LATER_MS: i64 = 3_600_000;

/// Tells whoever watches the servers that the break-glass was used: every issuer does, whatever the shell did with its own output.
pub(crate) async fn watch_resets(app: Arc<App>) {
    let mut told = None;
    loop {
        let found = async { find_last_reset(&mut app.db.glance().await?).await };
        // A database that does not answer is told of elsewhere.
        if let Ok(Some(at)) = found.await
            && told != Some(at)
        {
            if told.is_some() || app.clock.now().since(at) < TOLD_LATER_MS {
                tracing::error!(
                    "ALARM: somebody with a shell has made themselves an administrator: `margrave admin reset`"
                );
            }
            told = Some(at);
        }
        tokio::time::sleep(LOOKED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merchants::{MerchantSettings, NewMerchant, authenticate_key, create_key, create_merchant};
    use crate::storage::Db;
    use crate::storage::testing::{dump, on_both_databases};
    use crate::testing::World;
    use margrave_shared::basic::Basic;
    use margrave_shared::permission::parse_scope;

    async fn who_has_a_shell_gets_in_again(db: Db) {
        let world = World::new(db).await;
        let (app, caller) = (&world.app, Caller::operator());
        let reset = async |merchant: Option<&MerchantId>, revoke: bool, reason: &str| {
            reset_platform(app, merchant, revoke, reason, &caller).await
        };
        assert!(reset(None, true, "nobody is there").await.is_err());
        let new = NewMerchant {
            name: "Platform".to_owned(),
            platform: true,
            services: Vec::new(),
            settings: MerchantSettings::default(),
        };
        let platform = create_merchant(app, new.clone(), "operator", &caller).await.unwrap();
        let permissions = parse_scope("platform:read").unwrap();
        let new_key = NewKey { permissions, expires_at: None };
        let lost = create_key(app, &platform.id, &new_key, "operator", &caller).await.unwrap();
        let gets_in = async |key: &IssuedKey| {
            let basic = Basic { id: key.key_id.to_string(), secret: key.secret.clone() };
            let now = app.clock.now();
            authenticate_key(&mut app.db.glance().await.unwrap(), &basic, now).await.is_ok()
        };
        assert!(gets_in(&lost).await);
        for reason in ["", "  ", &"x".repeat(201)] {
            assert!(reset(None, true, reason).await.is_err(), "{reason:?}");
        }
        assert!(reset(Some(&world.merchant.id), true, "not the platform's").await.is_err());
        let kept = reset(None, false, "the key was mislaid").await.unwrap();
        assert!(gets_in(&lost).await && gets_in(&kept.key).await);
        let taken = reset(None, true, "the key was stolen").await.unwrap();
        assert_eq!(taken.revoked, 2);
        assert!(gets_in(&taken.key).await);
        assert!(!gets_in(&lost).await && !gets_in(&kept.key).await);
        let dump = dump(&app.db).await;
        assert!(dump.contains("admin.reset") && dump.contains("reason:the key was stolen"));
        create_merchant(app, new, "operator", &caller).await.unwrap();
        assert!(reset(None, true, "which one").await.is_err());
        assert!(reset(Some(&platform.id), false, "this one").await.is_ok());
    }
    on_both_databases!(reset, super::who_has_a_shell_gets_in_again);
}
