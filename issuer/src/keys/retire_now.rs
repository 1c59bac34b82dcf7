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
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let keys: Vec<_> = store::find_all(&mut tx).await?.into_iter().map(|row| row.key).collect();
    let key = keys.iter().find(|key| key.kid == *kid);
    let key = key.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_key"))?;
    if !store::update_state(&mut tx, kid, key.state, KeyState::Retired, now).await?
        || !key.state.is_published()
    {
        return Err(Failure::denied(ErrorCode::Conflict, "already_retired"));
    }
    match key.state {
        KeyState::Active => {
            if let Some(standby) = keys.iter().find(|key| key.state == KeyState::Standby) {
                store::update_state(&mut tx, &standby.kid, KeyState::Standby, KeyState::Active, now).await?;
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
    app.keyring.reload(&app.db).await?;
    app.feed.notify();
    Ok(())
}
