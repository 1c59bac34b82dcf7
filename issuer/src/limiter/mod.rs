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
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::http::error::ApiError;
use crate::merchants::find_merchant;
use crate::storage::StorageError;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::drawing::{Aim, Buckets, Draw, Keeper, Refusal, draw};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::limits::Limits;
use margrave_shared::limiter::pair::Act;
use margrave_shared::secret::SecretKey;
use memory::Memory;
use refused::Refused;
use rows::Rows;
use std::net::IpAddr;

/// The limiter.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    key: SecretKey,
    memory: Memory,
    refused: Refused,
}

impl Limiter {
    /// With the operator's limits; `key` hashes what is counted by.
    pub(crate) fn new(limits: Limits, key: SecretKey) -> Self {
        Self { limits, key, memory: Memory::default(), refused: Refused::default() }
    }

    const fn buckets(&self, client: Option<IpAddr>) -> Buckets<'_> {
        Buckets { limits: &self.limits, key: &self.key, client }
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
    let mut attempt = Attempt::default();
    if caller.edge.is_some() {
        return Ok(attempt);
    }
    let (limiter, now) = (&app.limiter, app.clock.now());
    let buckets = limiter.buckets(caller.address);
    // A flood that is refused does not get as far as the database.
    if let Some((draw, retry_after_ms)) = limiter.memory.is_empty(&buckets.of(aim), now) {
        limiter.refused.note(&draw);
        return Err(ApiError::too_many_attempts(retry_after_ms));
    }
    let mut tx = app.db.begin().await?;
    let aim = match aim {
        // Names of merchants come from bodies that anybody writes: those that are none have no bucket.
        Aim::Login { login, merchant: Some(merchant) } => {
            let merchant = find_merchant(&mut tx, merchant).await?.is_some().then_some(merchant);
            Aim::Login { login, merchant }
        }
        aim => aim,
    };
    let mut rows = Rows::new(&mut tx, &app.clock, limiter);
    let drawn = draw(&mut rows, &buckets, aim, &mut attempt.taken).await;
    if rows.failed {
        // The rule goes on without a merchant's bucket that is silent. Here it is one transaction with the others, and would
        // commit nothing.
        return Err(ApiError::new(ErrorCode::StateUnavailable));
    }
    let refused = match drawn {
        Ok(()) => None,
        Err(Refusal::Failed(error)) => return Err(error.into()),
        Err(Refusal::Empty(empty)) => {
            // Refused by one bucket, an attempt consumes from none. Not by rolling back: what a bucket owed beyond its bound
            // has been put right, and stays so.
            undo(&mut rows, &attempt, Act::Untake).await?;
            Some(empty)
        }
    };
    let (worth_writing, suspected) = (refused.is_none() || rows.has_bounded, rows.suspected.take());
    if worth_writing {
        tx.commit().await?;
    }
    if let Some(merchant) = suspected {
        tell_of_spraying(app, &merchant, caller).await?;
    }
    match refused {
        None => Ok(attempt),
        Some(Empty { retry_after_ms }) => Err(ApiError::too_many_attempts(retry_after_ms)),
    }
}

/// Gives an attempt back. Should that fail, it is lost to its owner, never won by an attacker.
pub(crate) async fn give_back(app: &App, attempt: Attempt) {
    if attempt.taken.is_empty() {
        return;
    }
    let given_back = async {
        let mut tx = app.db.begin().await?;
        undo(&mut Rows::new(&mut tx, &app.clock, &app.limiter), &attempt, Act::GiveBack).await?;
        tx.commit().await?;
        Ok::<_, Failure>(())
    };
    match given_back.await {
        Ok(()) => app.limiter.memory.forget_empty(&attempt.taken),
        Err(error) => tracing::warn!(%error, "a right attempt was not given back"),
    }
}

async fn undo(rows: &mut Rows<'_>, attempt: &Attempt, act: Act) -> Result<(), StorageError> {
    for draw in &attempt.taken {
        match rows.apply(draw, act).await {
            // Giving back is never refused.
            Ok(()) | Err(Refusal::Empty(_)) => {}
            Err(Refusal::Failed(error)) => return Err(error),
        }
    }
    Ok(())
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
