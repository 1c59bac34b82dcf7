//! Buckets as rows. Whoever comes at once draws in one transaction, which locks all their rows in one order, those of the lowest keys
//! first, and so waits for no other issuer's that waits for it.

use super::memory::Memory;
use super::refused::Refused;
use super::store::{self, Bucket, Buckets};
use crate::clock::Clock;
use crate::storage::{Joint, StorageError, Tx};
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::drawing::{Draw, Drawing, Keeper, Refusal, draw};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::pair::{Act, Counting};
use margrave_shared::time::UnixMs;
use std::convert::Infallible;

/// What somebody does to buckets.
#[derive(Debug)]
pub(super) enum Part {
    /// Take an attempt from them.
    Take(Drawing),
    /// Give one back to them.
    GiveBack(Vec<Draw>),
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Word {
    /// What was drawn from; nothing where one was empty.
    pub(super) taken: Result<Vec<Draw>, Empty>,
    /// The merchant whose logins are being tried, where that is to be told.
    pub(super) suspected: Option<MerchantId>,
}

/// What counts attempts.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) clock: Clock,
    pub(super) memory: Memory,
    pub(super) refused: Refused,
}

impl Joint for Counter {
    type Part = Part;
    type Word = Word;
    const NAME: &'static str = "attempts";
    // An attempt that was given back twice would be one too many.
    const IS_REPEATABLE: bool = false;

    async fn run(&self, tx: &mut Tx, parts: &[Part]) -> Result<Vec<Word>, StorageError> {
        let mut wanted = Buckets::new();
        for draw in parts.iter().flat_map(Part::draws) {
            let (counting, window_s) = (draw.counting, draw.counting.limit.window_s);
            let full = Bucket { pair: counting.write(counting.read(None)), window_s, at: UnixMs(0) };
            wanted.entry(draw.key).or_insert(full);
        }
        let locked = store::lock(tx, &wanted).await?;
        let mut rows = Rows { counter: self, locked, changed: Buckets::new(), suspected: None };
        let mut words = Vec::new();
        for part in parts {
            words.push(rows.run(part).await);
        }
        store::update(tx, &rows.changed).await?;
        Ok(words)
    }
}

impl Part {
    /// All that it may draw from.
    fn draws(&self) -> impl Iterator<Item = &Draw> {
        let (draws, merchant) = match self {
            Self::Take(Drawing { buckets, merchant, .. }) => (buckets, merchant.as_ref()),
            Self::GiveBack(draws) => (draws, None),
        };
        draws.iter().chain(merchant.map(|(_, draw)| draw))
    }
}

/// The buckets that one transaction draws from.
struct Rows<'a> {
    counter: &'a Counter,
    /// As they are, with the database's time of after the wait for each.
    locked: Buckets,
    /// As they are to be stored, with the moment from which they are full.
    changed: Buckets,
    suspected: Option<MerchantId>,
}

impl Rows<'_> {
    async fn run(&mut self, part: &Part) -> Word {
        let mut taken = Vec::new();
        let drawn = match part {
            Part::Take(drawing) => draw(self, drawing, &mut taken).await,
            Part::GiveBack(draws) => {
                self.undo(draws, Act::GiveBack);
                Ok(())
            }
        };
        let taken = match drawn {
            Ok(()) => Ok(taken),
            Err(Refusal::Empty(empty)) => {
                // Refused by one bucket, an attempt consumes from none.
                self.undo(&taken, Act::Untake);
                Err(empty)
            }
            Err(Refusal::Failed(never)) => match never {},
        };
        Word { taken, suspected: self.suspected.take() }
    }

    fn undo(&mut self, draws: &[Draw], act: Act) {
        for draw in draws {
            // Giving back is never refused.
            let _ = self.change(draw, act);
        }
    }

    fn change(&mut self, draw: &Draw, act: Act) -> Result<(), Empty> {
        let counting = draw.counting;
        let Some(bucket) = self.locked.get_mut(&draw.key) else {
            // All that a part draws from has been locked: an attempt on anything else is let through nowhere.
            return Err(Empty { retry_after_ms: counting.limit.window_s * 1000 });
        };
        let now = self.counter.clock.or_of_database(bucket.at);
        let read = counting.read(Some(bucket.pair));
        // Another issuer may still count by a longer window: what is owed by that one is not beyond the bound.
        let before = with_window(counting, counting.limit.window_s.max(bucket.window_s)).bounded(read, now);
        let applied = counting.apply(before, act, now);
        // Where it is refused, too: otherwise what is owed beyond the bound would move along with the clock.
        let after = applied.unwrap_or(before);
        if after != read {
            (bucket.pair, bucket.window_s) = (counting.write(after), counting.limit.window_s);
            self.changed.insert(draw.key, Bucket { at: counting.full_at(after), ..*bucket });
        }
        applied.map(|_| ())
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
    type Failed = Infallible;

    async fn apply(&mut self, draw: &Draw, act: Act) -> Result<(), Refusal<Infallible>> {
        self.change(draw, act).map_err(|empty| {
            // What is empty by the tight limit is not for attempts on other merchants.
            if matches!(act, Act::Take | Act::Tighten) {
                self.counter.refused.note(draw);
            }
            if act == Act::Take {
                self.counter.memory.note_empty(draw.key, empty.retry_after_ms, self.counter.clock.now());
            }
            Refusal::Empty(empty)
        })
    }

    fn is_suspected(&self, merchant: &MerchantId) -> bool {
        self.counter.memory.is_suspected(merchant, self.counter.clock.now())
    }

    fn suspect(&mut self, merchant: &MerchantId) {
        if self.counter.memory.suspect(merchant, self.counter.clock.now()) {
            self.suspected = Some(merchant.clone());
        }
    }
}
