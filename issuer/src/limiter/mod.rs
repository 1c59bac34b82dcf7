//! Attempts of clients that come without an edge: counted in the database, exactly, however many issuers there are, by the
//! rule that edges count by. What an edge passes on it has counted already.

mod memory;
mod refused;
mod rows;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use refused::{run as run_refusals, write_refusals};
pub(crate) use store::delete_full;

use crate::app::App;
use crate::audit::Entry;
use crate::clock::Clock;
use crate::http::context::Caller;
use crate::http::error::ApiError;
use crate::merchants::find_merchant;
use crate::storage::{StorageError, Together};
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::drawing::{Aim, Buckets, Draw};
use margrave_shared::limiter::limits::Limits;
use margrave_shared::secret::SecretKey;
use memory::Memory;
use refused::Refused;
use rows::{Counter, Part, Word};
use std::net::IpAddr;

/// The limiter.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    key: SecretKey,
    together: Together<Counter>,
}

impl Limiter {
    /// With the operator's limits; `key` hashes what is counted by.
    pub(crate) fn new(limits: Limits, key: SecretKey, clock: Clock) -> Self {
        let counter = Counter { clock, memory: Memory::default(), refused: Refused::default() };
        Self { limits, key, together: Together::new(counter) }
    }

    const fn buckets(&self, client: Option<IpAddr>) -> Buckets<'_> {
        Buckets { limits: &self.limits, key: &self.key, client }
    }

    fn memory(&self) -> &Memory {
        &self.together.joint().memory
    }

    fn refused(&self) -> &Refused {
        &self.together.joint().refused
    }
}

/// An attempt under way.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    taken: Vec<Draw>,
}

/// Takes an attempt of a direct client; what an edge has signed takes nothing here.
///
/// # Errors
/// `too_many_attempts`; `state_unavailable` and the database's.
pub(crate) async fn take(app: &App, aim: Aim<'_>, caller: &Caller) -> Result<Attempt, ApiError> {
    if caller.edge.is_some() {
        return Ok(Attempt::default());
    }
    let limiter = &app.limiter;
    let mut drawing = limiter.buckets(caller.address).of(aim);
    // A flood that is refused does not get as far as the database.
    if let Some((draw, retry_after_ms)) = limiter.memory().is_empty(&drawing.buckets, app.clock.now()) {
        limiter.refused().note(&draw);
        return Err(ApiError::too_many_attempts(retry_after_ms));
    }
    // Names of merchants come from bodies that anybody writes: those that are none have no bucket.
    if let Some((merchant, _)) = &drawing.merchant
        && find_merchant(&mut app.db.glance().await?, merchant).await?.is_none()
    {
        drawing.merchant = None;
    }
    let Word { taken, suspected } = limiter.together.join(&app.db, Part::Take(drawing)).await?;
    if let Some(merchant) = suspected {
        tell_of_spraying(app, &merchant, caller).await?;
    }
    let taken = taken.map_err(|empty| ApiError::too_many_attempts(empty.retry_after_ms))?;
    Ok(Attempt { taken })
}

/// Gives an attempt back. Should that fail, it is lost to its owner, never won by an attacker.
pub(crate) async fn give_back(app: &App, attempt: Attempt) {
    if attempt.taken.is_empty() {
        return;
    }
    match app.limiter.together.join(&app.db, Part::GiveBack(attempt.taken.clone())).await {
        Ok(_) => app.limiter.memory().forget_empty(&attempt.taken),
        Err(error) => tracing::warn!(%error, "a right attempt was not given back"),
    }
}

/// One password tried on many logins: whoever runs the issuer is told, and the audit.
async fn tell_of_spraying(app: &App, merchant: &MerchantId, caller: &Caller) -> Result<(), StorageError> {
    tracing::warn!(
        %merchant,
        "ALARM: many wrong passwords on the logins of a merchant; addresses have fewer attempts meanwhile"
    );
    let entry = Entry::done("issuer.many_wrong_passwords").merchant(merchant);
    app.audit.write_alone(&app.db, entry, caller, app.clock.now(), app.entropy.bytes()).await
}
