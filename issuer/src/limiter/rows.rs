//! Buckets as rows. A row is locked by its first act in a transaction; all attempts lock in one order, the address before the
//! login before the merchant, and so none waits for another that waits for it.

use super::{Limiter, store};
use crate::clock::Clock;
use crate::storage::{StorageError, Tx};
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::drawing::{Draw, Keeper, Refusal};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::pair::{Act, Counting, Pair};
use margrave_shared::time::UnixMs;

/// The buckets that one transaction draws from.
pub(super) struct Rows<'a> {
    tx: &'a mut Tx,
    clock: &'a Clock,
    limiter: &'a Limiter,
    /// Whether the database failed in between: then nothing of the transaction counts.
    pub(super) failed: bool,
    /// Whether a bucket owed more than there is to owe, which has been put right.
    pub(super) has_bounded: bool,
    /// The merchant whose logins are being tried, where that is to be told.
    pub(super) suspected: Option<MerchantId>,
}

impl<'a> Rows<'a> {
    pub(super) const fn new(tx: &'a mut Tx, clock: &'a Clock, limiter: &'a Limiter) -> Self {
        Self { tx, clock, limiter, failed: false, has_bounded: false, suspected: None }
    }

    async fn try_apply(&mut self, draw: &Draw, act: Act) -> Result<Result<Pair, Empty>, StorageError> {
        let (counting, window_s) = (draw.counting, draw.counting.limit.window_s);
        let full = counting.write(counting.read(None));
        let locked = store::lock(self.tx, &draw.key, full, window_s).await?;
        let now = self.clock.or_of_database(locked.now);
        let read = counting.read(Some(locked.pair));
        // Another issuer may still count by a longer window: what is owed by that one is not beyond the bound.
        let before = with_window(counting, window_s.max(locked.window_s)).bounded(read, now);
        let applied = counting.apply(before, act, now);
        // Where it is refused, too: otherwise what is owed beyond the bound would move along with the clock.
        let after = applied.unwrap_or(before);
        self.has_bounded |= before != read;
        if after != read {
            let full_at = counting.full_at(after);
            store::update(self.tx, &draw.key, counting.write(after), window_s, full_at).await?;
        }
        Ok(applied)
    }

    fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

fn with_window(counting: Counting, window_s: i64) -> Counting {
    let longer = |limit: Limit| Limit { window_s, ..limit };
    Counting {
        limit: longer(counting.limit),
        tight: counting.tight.map(longer),
        all: counting.all.map(longer),
    }
}

impl Keeper for Rows<'_> {
    type Failed = StorageError;

    async fn apply(&mut self, draw: &Draw, act: Act) -> Result<(), Refusal<StorageError>> {
        match self.try_apply(draw, act).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(empty)) => {
                // What is empty by the tight limit is not for attempts on other merchants.
                if matches!(act, Act::Take | Act::Tighten) {
                    self.limiter.refused.note(draw);
                }
                if act == Act::Take {
                    self.limiter.memory.note_empty(draw.key, empty.retry_after_ms, self.now());
                }
                Err(Refusal::Empty(empty))
            }
            Err(error) => {
                self.failed = true;
                Err(Refusal::Failed(error))
            }
        }
    }

    fn is_suspected(&self, merchant: &MerchantId) -> bool {
        self.limiter.memory.is_suspected(merchant, self.now())
    }

    fn suspect(&mut self, merchant: &MerchantId) {
        if self.limiter.memory.suspect(merchant, self.now()) {
            self.suspected = Some(merchant.clone());
        }
    }
}
