//! Buckets as rows. Whoever comes at once draws in one transaction, which locks all their rows in one order, those of the lowest keys
//! first, and so waits for no other issuer's that waits for it.

use super::memory::Memory;
use super::refused::Refused;
use super::store::{self, Bucket, Buckets};
use crate::audit::{Chain, PreparedEntry, insert_prepared};
use crate::clock::Clock;
use crate::storage::{Joint, StorageError, Tx};
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::drawing::{Draw, Drawing, Keeper, Refusal, draw};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::pair::{Act, Counting, Pair};
use margrave_shared::time::UnixMs;
use std::convert::Infallible;
use std::sync::Arc;

/// What somebody does to buckets.
#[derive(Debug)]
pub(super) enum Part {
    /// Take an attempt from them.
    Take(Drawing),
    /// Give one back to them.
    GiveBack(Vec<Draw>),
    /// Take an attempt whose outcome is known: where they give it, it may come back at once, and its entry is written.
    Settle {
        /// What it draws from.
        drawing: Drawing,
        /// Whether it comes back.
        comes_back: bool,
        /// What became of it.
        entry: Option<Box<PreparedEntry>>,
    },
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
    /// Where the entries of attempts get their places.
    pub(super) chain: Arc<Chain>,
}

impl Joint for Counter {
    type Part = Part;
    type Word = Word;
    const NAME: &'static str = "attempts";
    const IS_WRITTEN: bool = true;
    // An attempt that was given back twice would be one too many.
    const IS_REPEATABLE: bool = false;

    fn is_owed(part: &Part) -> bool {
        matches!(part, Part::GiveBack(_))
    }

    async fn run(&self, tx: &mut Tx, parts: &[Part]) -> Result<Vec<Word>, StorageError> {
        // A bucket may have been found empty since these began: what is refused by that locks and writes nothing.
        let refused: Vec<_> = parts.iter().map(|part| self.is_refused(part)).collect();
        let mut wanted = Buckets::new();
        let open = parts.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        for draw in open.flat_map(|(part, _)| part.draws()) {
            let (counting, window_s) = (draw.counting, draw.counting.limit.window_s);
            let full = Bucket { pair: counting.write(counting.read(None)), window_s, at: UnixMs(0) };
            wanted.entry(draw.key).or_insert(full);
        }
        let locked = store::lock(tx, &wanted).await?;
        let mut rows = Rows { counter: self, locked, changed: Buckets::new(), noted: Noted::default() };
        let (mut words, mut entries) = (Vec::new(), Vec::new());
        for (part, refused) in parts.iter().zip(refused) {
            let taken = match refused {
                Some(empty) => Err(empty),
                None => rows.run(part).await,
            };
            if let (Part::Settle { entry: Some(entry), .. }, Ok(_)) = (part, &taken) {
                entries.push(&**entry);
            }
            words.push(Word { taken, suspected: rows.noted.suspected.take() });
        }
        store::update(tx, &rows.changed).await?;
        insert_prepared(tx, &self.chain, &entries).await?;
        // Only now: what failed before this may be done again.
        self.remember(&rows.noted, &mut words);
        Ok(words)
    }
}

impl Counter {
    /// Whether a bucket that an attempt draws from is known to be empty.
    fn is_refused(&self, part: &Part) -> Option<Empty> {
        let (Part::Take(drawing) | Part::Settle { drawing, .. }) = part else { return None };
        let (draw, retry_after_ms) = self.memory.is_empty(&drawing.buckets, self.clock.now())?;
        self.refused.note(&draw);
        Some(Empty { retry_after_ms })
    }

    /// Remembers what was found; a merchant that is suspected is told of once a while.
    fn remember(&self, noted: &Noted, words: &mut [Word]) {
        let now = self.clock.now();
        for draw in &noted.refused {
            self.refused.note(draw);
        }
        for (key, retry_after_ms) in &noted.empty {
            self.memory.note_empty(*key, *retry_after_ms, now);
        }
        for word in words {
            word.suspected = word.suspected.take().filter(|merchant| self.memory.suspect(merchant, now));
        }
    }
}

impl Part {
    /// All that it may draw from.
    fn draws(&self) -> impl Iterator<Item = &Draw> {
        let (draws, merchant) = match self {
            Self::Take(drawing) | Self::Settle { drawing, .. } => {
                (&drawing.buckets, drawing.merchant.as_ref())
            }
            Self::GiveBack(draws) => (draws, None),
        };
        draws.iter().chain(merchant.into_iter().flat_map(|(_, draws)| draws))
    }
}

/// What was found while drawing.
#[derive(Debug, Default)]
struct Noted {
    /// Buckets that refused.
    refused: Vec<Draw>,
    /// Buckets that have no attempt, and how long they have none.
    empty: Vec<([u8; 16], i64)>,
    /// The merchant whose logins are being tried, of the part that is drawn.
    suspected: Option<MerchantId>,
}

/// The buckets that one transaction draws from.
struct Rows<'a> {
    counter: &'a Counter,
    /// As they are, with the database's time of after the wait for each.
    locked: Buckets,
    /// As they are to be stored, with the moment from which they are full.
    changed: Buckets,
    noted: Noted,
}

impl Rows<'_> {
    /// What was drawn from.
    async fn run(&mut self, part: &Part) -> Result<Vec<Draw>, Empty> {
        let mut taken = Vec::new();
        let drawn = match part {
            Part::Take(drawing) | Part::Settle { drawing, .. } => draw(self, drawing, &mut taken).await,
            Part::GiveBack(draws) => {
                self.undo(draws, Act::GiveBack);
                Ok(())
            }
        };
        match drawn {
            Ok(()) => {
                if matches!(part, Part::Settle { comes_back: true, .. }) {
                    self.undo(&taken, Act::GiveBack);
                }
                Ok(taken)
            }
            Err(Refusal::Empty(empty)) => {
                // Refused by one bucket, an attempt consumes from none.
                self.undo(&taken, Act::Untake);
                Err(empty)
            }
            Err(Refusal::Failed(never)) => match never {},
        }
    }

    fn undo(&mut self, draws: &[Draw], act: Act) {
        for draw in draws {
            // Giving back is never refused.
            let _ = self.change(draw, act, Pair::FULL);
        }
    }

    fn change(&mut self, draw: &Draw, act: Act, at_most: Pair) -> Result<Pair, Empty> {
        let counting = draw.counting;
        let Some(bucket) = self.locked.get_mut(&draw.key) else {
            // All that a part draws from has been locked: an attempt on anything else is let through nowhere.
            return Err(Empty { retry_after_ms: counting.limit.window_s * 1000 });
        };
        let now = self.counter.clock.or_of_database(bucket.at);
        let read = counting.read(Some(bucket.pair));
        // Another issuer may still count by a longer window: what is owed by that one is not beyond the bound.
        let before = with_window(counting, counting.limit.window_s.max(bucket.window_s))
            .bounded(read, now)
            .at_most(at_most);
        let applied = counting.apply(before, act, now);
        // Where it is refused, too: otherwise what is owed beyond the bound would move along with the clock.
        let after = applied.unwrap_or(before);
        if after != read {
            (bucket.pair, bucket.window_s) = (counting.write(after), counting.limit.window_s);
            self.changed.insert(draw.key, Bucket { at: counting.full_at(after), ..*bucket });
        }
        applied.map(|_| before)
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

    async fn apply(&mut self, draw: &Draw, act: Act, at_most: Pair) -> Result<Pair, Refusal<Infallible>> {
        self.change(draw, act, at_most).map_err(|empty| {
            // What is empty by the tight limit is not for attempts on other merchants.
            if matches!(act, Act::Take | Act::Tighten) {
                self.noted.refused.push(*draw);
            }
            if act == Act::Take {
                self.noted.empty.push((draw.key, empty.retry_after_ms));
            }
            Refusal::Empty(empty)
        })
    }

    fn is_suspected(&self, merchant: &MerchantId) -> bool {
        self.counter.memory.is_suspected(merchant, self.counter.clock.now())
    }

    fn suspect(&mut self, merchant: &MerchantId) {
        self.noted.suspected = Some(merchant.clone());
    }
}
