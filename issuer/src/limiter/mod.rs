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
use crate::audit::{Chain, Entry};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::find_merchant;
use crate::storage::{StorageError, Together};
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::LimiterKeys;
use margrave_shared::limiter::drawing::{Aim, Buckets, Draw, Drawing};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::limits::Limits;
use margrave_shared::limiter::rule::Outcome;
use margrave_shared::secret::SecretKey;
use memory::Memory;
use refused::Refused;
use rows::{Counter, Part, Word};
use std::net::IpAddr;
use std::sync::Arc;

/// The limiter.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    keys: LimiterKeys,
    together: Together<Counter>,
}

impl Limiter {
    /// With the operator's limits; `key` hashes what is counted by, and entries of attempts get their places in the chain.
    pub(crate) fn new(limits: Limits, key: SecretKey, clock: Clock, chain: Arc<Chain>) -> Self {
        let counter = Counter { clock, memory: Memory::default(), refused: Refused::default(), chain };
        Self { limits, keys: key.into(), together: Together::new(counter) }
    }

    const fn buckets(&self, client: Option<IpAddr>) -> Buckets<'_> {
        Buckets { limits: &self.limits, keys: &self.keys, client }
    }

    fn memory(&self) -> &Memory {
        &self.together.joint().memory
    }

    fn refused(&self) -> &Refused {
        &self.together.joint().refused
    }
}

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    aim: Aim<'a>,
    caller: &'a Caller,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is to be drawn: an edge has counted it, or all is settled.
    Counted,
    /// To be drawn.
    Open(Drawing),
    /// Drawn, and not given back.
    Taken(Vec<Draw>),
}

impl<'a> Attempt<'a> {
    /// Begins an attempt of a direct client; of one that an edge has signed nothing is counted here. Nothing is drawn yet: a flood
    /// that is refused does not get as far as the database.
    ///
    /// # Errors
    /// [`Failure::TooManyAttempts`]; the database's.
    pub(crate) async fn begin(app: &App, aim: Aim<'a>, caller: &'a Caller) -> Result<Self, Failure> {
        if caller.edge.is_some() {
            return Ok(Self { aim, caller, stage: Stage::Counted });
        }
        let limiter = &app.limiter;
        let mut drawing = limiter.buckets(caller.address).of(aim);
        if let Some((draw, retry_after_ms)) = limiter.memory().is_empty(&drawing.buckets, app.clock.now()) {
            limiter.refused().note(&draw);
            return Err(Failure::TooManyAttempts { retry_after_ms });
        }
        // Names of merchants come from bodies that anybody writes: those that are none have no bucket.
        if let Some((merchant, _)) = &drawing.merchant
            && !Box::pin(is_there(app, merchant)).await?
        {
            drawing.merchant = None;
        }
        Ok(Self { aim, caller, stage: Stage::Open(drawing) })
    }

    /// Draws, before the secret is looked at.
    ///
    /// # Errors
    /// [`Failure::TooManyAttempts`]; the database's.
    pub(crate) async fn take(&mut self, app: &App) -> Result<(), Failure> {
        if let Stage::Open(drawing) = self.proceed() {
            self.stage = Stage::Taken(self.draw(app, Part::Take(drawing)).await?);
        }
        Ok(())
    }

    /// Writes what became of an attempt. What was not drawn yet is drawn with it: whoever is refused by that learns nothing of what
    /// became of it, and nothing of it is written. That is for secrets that nobody guesses and that cost next to nothing to check.
    ///
    /// # Errors
    /// [`Failure::TooManyAttempts`]; the database's.
    pub(crate) async fn settle(&mut self, app: &App, outcome: Outcome, entry: Entry) -> Result<(), Failure> {
        let (now, random) = (app.clock.now(), app.entropy.bytes());
        if !matches!(self.stage, Stage::Open(_)) {
            return Ok(app.audit.write_alone(&app.db, entry, self.caller, now, random).await?);
        }
        if let Stage::Open(drawing) = self.proceed() {
            let entry = Some(Box::new(app.audit.prepare(entry, self.caller, now, random)));
            self.draw(app, Part::Settle { drawing, comes_back: self.aim.gives_back(outcome), entry }).await?;
        }
        Ok(())
    }

    /// Ends an attempt: it is drawn, if that was not done yet, and given back where its outcome says so. Should giving back
    /// fail, it is lost to its owner, never won by an attacker.
    ///
    /// # Errors
    /// [`Failure::TooManyAttempts`]; the database's.
    pub(crate) async fn end(mut self, app: &App, outcome: Outcome) -> Result<(), Failure> {
        let comes_back = self.aim.gives_back(outcome);
        match self.proceed() {
            Stage::Open(drawing) => {
                self.draw(app, Part::Settle { drawing, comes_back, entry: None }).await?;
            }
            Stage::Taken(taken) if comes_back => {
                match Box::pin(app.limiter.together.join(&app.db, Part::GiveBack(taken.clone()))).await {
                    Ok(_) => app.limiter.memory().forget_empty(&taken),
                    Err(error) => tracing::warn!(%error, "a right attempt was not given back"),
                }
            }
            Stage::Taken(_) | Stage::Counted => {}
        }
        Ok(())
    }

    /// The stage, which is over.
    const fn proceed(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Counted)
    }

    async fn draw(&self, app: &App, part: Part) -> Result<Vec<Draw>, Failure> {
        // Boxed: a request holds several of these, one after another, and is moved about with them.
        let Word { taken, suspected } = Box::pin(app.limiter.together.join(&app.db, part)).await?;
        if let Some(merchant) = suspected {
            Box::pin(tell_of_spraying(app, &merchant, self.caller)).await?;
        }
        taken.map_err(|Empty { retry_after_ms }| Failure::TooManyAttempts { retry_after_ms })
    }
}

async fn is_there(app: &App, merchant: &MerchantId) -> Result<bool, StorageError> {
    Ok(find_merchant(&mut app.db.glance().await?, merchant).await?.is_some())
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
