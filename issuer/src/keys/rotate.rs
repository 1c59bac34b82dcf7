//! Rotation: applies the steps that the shared schedule says are due. Several processes may do it at once; every
//! step is a compare-and-set.

use super::seal::seal;
use super::store;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use ed25519_dalek::SigningKey;
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::{KeyState, Rotation, ScheduledKey, Step, due_steps};
use margrave_shared::time::UnixMs;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How often a process looks whether a step is due or another process has taken one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// Another key signs now.
    Promoted,
    /// The standby has not been published long enough.
    NotYet,
}

/// Applies what is due and reloads the ring.
pub(crate) async fn rotate(
    app: &App,
    rotation: Rotation,
    actor: &str,
    caller: &Caller,
) -> Result<Rotated, Failure> {
    let now = app.clock.now();
    let policy = app.keys_config.policy(app.token_config.longest_s());
    let mut tx = app.db.begin().await?;
    let keys: Vec<ScheduledKey> = store::find_all(&mut tx).await?.into_iter().map(|row| row.key).collect();
    let steps = due_steps(&keys, &policy, rotation, now);
    let mut rotated = Rotated::NotYet;
    for step in &steps {
        let (act, kid) = match step {
            Step::CreateActive => ("signing_key.create", create(app, &mut tx, KeyState::Active, now).await?),
            Step::CreateStandby => {
                ("signing_key.create", create(app, &mut tx, KeyState::Standby, now).await?)
            }
            Step::Promote { standby } => {
                for key in keys.iter().filter(|key| key.state == KeyState::Active) {
                    store::update_state(&mut tx, &key.kid, KeyState::Active, KeyState::Retiring, now).await?;
                }
                let done =
                    store::update_state(&mut tx, standby, KeyState::Standby, KeyState::Active, now).await?;
                if !done {
                    // Somebody took the standby away meanwhile. Nothing of this happens; the next look sees their work.
                    return Ok(Rotated::NotYet);
                }
                rotated = Rotated::Promoted;
                ("signing_key.promote", Some(standby.clone()))
            }
            Step::Retire { kid } => {
                let done =
                    store::update_state(&mut tx, kid, KeyState::Retiring, KeyState::Retired, now).await?;
                ("signing_key.retire", done.then(|| kid.clone()))
            }
        };
        if let Some(kid) = kid {
            let entry = Entry::done(act).actor(actor).subject(kid.as_str());
            app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
        }
    }
    tx.commit().await?;
    app.keyring.reload(&app.db).await?;
    Ok(rotated)
}

pub(super) async fn create(
    app: &App,
    tx: &mut Tx,
    state: KeyState,
    now: UnixMs,
) -> Result<Option<Kid>, Failure> {
    let seed = Zeroizing::new(app.entropy.bytes::<32>());
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let kid = Kid::from_random(app.entropy.bytes());
    let sealed = seal(&app.sealing_key, &super::purpose(&kid), seed.as_slice(), app.entropy.bytes());
    Ok(store::insert_key(tx, &kid, state, &public, &sealed, now).await?.then_some(kid))
}

/// Rotates on schedule until the process ends.
pub(crate) async fn run_rotation(app: Arc<App>) {
    let caller = Caller::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = rotate_if_due(&app, &caller).await {
            tracing::error!(%error, "signing keys could not be rotated; the present ones stay");
        }
    }
}

/// Looks with a read first: the write lock is taken only when something is due.
async fn rotate_if_due(app: &App, caller: &Caller) -> Result<(), Failure> {
    let keys = super::list(&app.db).await?;
    let policy = app.keys_config.policy(app.token_config.longest_s());
    if due_steps(&keys, &policy, Rotation::OnSchedule, app.clock.now()).is_empty() {
        app.keyring.reload(&app.db).await?;
    } else {
        rotate(app, Rotation::OnSchedule, "schedule", caller).await?;
    }
    Ok(())
}
