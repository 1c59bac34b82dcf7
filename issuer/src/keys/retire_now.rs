//! The emergency: a key is taken away at once, the standby signs from now on, and the feed says so to every edge.

use super::rotate::create;
use super::store;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::revocations;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::KeyState;

/// Retires a key at once. Every token it has signed is refused as soon as an edge reads the feed; the feed itself is
/// signed by the key that takes over.
///
/// # Errors
/// `not_found` for an unknown key, `conflict` for one that is retired already or cannot be replaced.
pub(crate) async fn retire_now(app: &App, kid: &Kid, actor: &str, caller: &Caller) -> Result<(), Failure> {
    // A rotation may change the key's state between our look and our change; then we look again.
    for _ in 0..5 {
        if try_to_retire(app, kid, actor, caller).await? {
            app.keyring.reload(&app.db).await?;
            app.feed.notify();
            return Ok(());
        }
    }
    Err(Failure::Internal("the signing keys change too quickly"))
}

async fn try_to_retire(app: &App, kid: &Kid, actor: &str, caller: &Caller) -> Result<bool, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let keys: Vec<_> = store::find_all(&mut tx).await?.into_iter().map(|row| row.key).collect();
    let key = keys.iter().find(|key| key.kid == *kid);
    let key = key.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_key"))?;
    if !key.state.is_published() {
        return Err(Failure::denied(ErrorCode::Conflict, "already_retired"));
    }
    if !store::update_state(&mut tx, kid, key.state, KeyState::Retired, now).await? {
        return Ok(false);
    }
    match key.state {
        KeyState::Active => {
            if let Some(standby) = keys.iter().find(|key| key.state == KeyState::Standby) {
                let (from, to) = (KeyState::Standby, KeyState::Active);
                if !store::update_state(&mut tx, &standby.kid, from, to, now).await? {
                    return Ok(false);
                }
            } else {
                create(app, &mut tx, KeyState::Active, now).await?;
            }
            create(app, &mut tx, KeyState::Standby, now).await?;
        }
        KeyState::Standby => {
            create(app, &mut tx, KeyState::Standby, now).await?;
        }
        KeyState::Retiring | KeyState::Retired => {}
    }
    revocations::publish(app, &mut tx, &Ended::SigningKey { kid: kid.clone() }, now).await?;
    let entry = Entry::done("signing_key.retire_now").actor(actor).subject(kid.as_str());
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(true)
}
