//! The two buckets of one key, as attempts draw from them: of wrong attempts, and of all outcomes.

use super::gcra::{Bucket, Empty, Limit};
use crate::time::UnixMs;

/// What is done to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Take an attempt.
    Take,
    /// Take the attempt that was just taken once more, now by the tight limit.
    Tighten,
    /// The attempt was right or not evaluated: it returns to the bucket of wrong ones, not to that of all.
    GiveBack,
    /// The attempt was refused elsewhere and never made: it returns to both.
    Untake,
}

impl Act {
    /// The name in calls of the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Tighten => "tighten",
            Self::GiveBack => "give-back",
            Self::Untake => "untake",
        }
    }

    /// Reads the name; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Take, Self::Tighten, Self::GiveBack, Self::Untake].into_iter().find(|act| act.as_str() == text)
    }
}

/// The two buckets of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Wrong attempts, and those under way.
    pub wrong: Bucket,
    /// Attempts of whatever outcome.
    pub all: Bucket,
}

impl Pair {
    /// Nothing was taken.
    pub const FULL: Self = Self { wrong: Bucket::FULL, all: Bucket::FULL };

    /// The same pair, from which at least as much was taken as from another that is counted by the same limits.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        Self { wrong: Bucket(self.wrong.0.max(other.wrong.0)), all: Bucket(self.all.0.max(other.all.0)) }
    }
}

/// A pair as it is stored: buckets count in units of their limits, and an operator may change those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPair {
    /// The attempts of the limit by which wrong ones were counted.
    pub attempts: i64,
    /// [`Pair::wrong`]
    pub wrong: i64,
    /// The attempts of the limit by which all were counted; 0 where they were not.
    pub attempts_of_all: i64,
    /// [`Pair::all`]
    pub all: i64,
}

/// How a bucket is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counting {
    /// The limit of wrong attempts.
    pub limit: Limit,
    /// The limit of wrong attempts once it was tightened.
    pub tight: Option<Limit>,
    /// The limit of the second bucket, which counts every outcome; none where right attempts are not bounded.
    pub all: Option<Limit>,
}

impl Counting {
    /// Reads a pair by these limits, whatever it was stored by. Nothing stored is full.
    pub fn read(self, stored: Option<StoredPair>) -> Pair {
        let Some(stored) = stored else { return Pair::FULL };
        Pair {
            wrong: Bucket(stored.wrong).rescaled(stored.attempts, self.limit.attempts),
            all: self.all.map_or(Bucket::FULL, |all| {
                Bucket(stored.all).rescaled(stored.attempts_of_all, all.attempts)
            }),
        }
    }

    /// What of a pair is stored.
    pub fn write(self, pair: Pair) -> StoredPair {
        StoredPair {
            attempts: self.limit.attempts,
            wrong: pair.wrong.0,
            attempts_of_all: self.all.map_or(0, |all| all.attempts),
            all: pair.all.0,
        }
    }

    /// The instant from which both buckets are full again and the row may be dropped.
    pub fn full_at(self, pair: Pair) -> UnixMs {
        let wrong = pair.wrong.full_at(self.limit);
        self.all.map_or(wrong, |all| wrong.max(pair.all.full_at(all)))
    }

    /// Owing no more than these limits let anybody owe: their window, tight or not.
    #[must_use]
    pub fn bounded(self, pair: Pair, now: UnixMs) -> Pair {
        Pair {
            wrong: pair.wrong.bounded(self.limit, now),
            all: self.all.map_or(pair.all, |all| pair.all.bounded(all, now)),
        }
    }

    /// Does something to the bucket of wrong attempts in the units of the tight limit.
    fn tightly<E>(
        self,
        bucket: Bucket,
        act: impl FnOnce(Bucket, Limit) -> Result<Bucket, E>,
    ) -> Result<Bucket, E> {
        let tight = self.tight.unwrap_or(self.limit);
        let after = act(bucket.rescaled(self.limit.attempts, tight.attempts), tight)?;
        Ok(after.rescaled(tight.attempts, self.limit.attempts))
    }

    /// Applies an act. An attempt that one of the two refuses is taken from neither.
    ///
    /// # Errors
    /// [`Empty`]; the pair is unchanged.
    pub fn apply(self, pair: Pair, act: Act, now: UnixMs) -> Result<Pair, Empty> {
        let returned = || self.tightly(pair.wrong, |bucket, limit| Ok::<_, Empty>(bucket.give_back(limit)));
        let all = |change: fn(Bucket, Limit, UnixMs) -> Result<Bucket, Empty>| match self.all {
            Some(limit) => change(pair.all, limit, now),
            None => Ok(pair.all),
        };
        Ok(match act {
            Act::Take => Pair { wrong: pair.wrong.take(self.limit, now)?, all: all(Bucket::take)? },
            Act::Tighten => {
                let before = pair.wrong.give_back(self.limit);
                Pair { wrong: self.tightly(before, |bucket, limit| bucket.take(limit, now))?, ..pair }
            }
            Act::GiveBack => Pair { wrong: returned()?, ..pair },
            Act::Untake => {
                Pair { wrong: returned()?, all: all(|bucket, limit, _| Ok(bucket.give_back(limit)))? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);
    const FULL: Pair = Pair::FULL;

    fn counting(attempts: i64, window_s: i64, tight: Option<i64>) -> Counting {
        let limit = |attempts| Limit::new(attempts, window_s).unwrap();
        Counting { limit: limit(attempts), tight: tight.map(limit), all: Some(limit(attempts * 10)) }
    }

    #[test]
    fn right_attempts_are_bounded_too_and_refused_ones_cost_nothing() {
        let counting = counting(2, 60, None);
        let mut pair = FULL;
        for _ in 0..20 {
            pair = counting.apply(pair, Act::Take, NOW).unwrap();
            pair = counting.apply(pair, Act::GiveBack, NOW).unwrap();
        }
        let refused = counting.apply(pair, Act::Take, NOW).unwrap_err();
        assert_eq!(refused.retry_after_ms, 3000, "a twentieth of the window");
        let pair = counting.apply(pair, Act::Untake, NOW).unwrap();
        assert!(counting.apply(pair, Act::Take, NOW).is_ok());
    }

    #[test]
    fn what_is_stored_is_read_by_whatever_limits_apply_now() {
        let (ten, five) = (counting(10, 60, None), counting(5, 60, None));
        let mut pair = FULL;
        for _ in 0..10 {
            pair = ten.apply(pair, Act::Take, NOW).unwrap();
        }
        let stored = ten.write(pair);
        assert_eq!(ten.read(Some(stored)), pair);
        assert_eq!(ten.full_at(pair), UnixMs(NOW.0 + 60_001));
        let lowered = five.read(Some(stored));
        assert_eq!(five.apply(lowered, Act::Take, NOW).unwrap_err().retry_after_ms, 12_000);
        let uncounted = Counting { all: None, ..ten };
        assert_eq!(uncounted.read(Some(stored)).all, Bucket::FULL);
        assert_eq!(ten.read(Some(uncounted.write(pair))).wrong, pair.wrong);
        assert_eq!(ten.read(None), FULL);
    }

    #[test]
    fn a_merchants_right_attempts_are_not_bounded() {
        let counting = Counting { all: None, ..counting(2, 60, None) };
        let mut pair = FULL;
        for _ in 0..100 {
            pair = counting.apply(pair, Act::Take, NOW).unwrap();
            pair = counting.apply(pair, Act::GiveBack, NOW).unwrap();
        }
        assert_eq!(counting.apply(pair, Act::Take, NOW).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_tightened_address_has_few_attempts_and_gets_whole_ones_back() {
        let (loose, tight) = (counting(30, 300, None), counting(30, 300, Some(3)));
        let mut pair = FULL;
        let mut admitted = 0;
        for _ in 0..10 {
            let Ok(taken) = loose.apply(pair, Act::Take, NOW) else { continue };
            match tight.apply(taken, Act::Tighten, NOW) {
                Ok(after) => (pair, admitted) = (after, admitted + 1),
                // Refused: the ordinary attempt is what it has to give back.
                Err(_) => pair = loose.apply(taken, Act::Untake, NOW).unwrap(),
            }
        }
        assert_eq!(admitted, 3);
        // A right attempt gives back what it took.
        let before = pair;
        let later = UnixMs(NOW.0 + 100_000);
        let taken = loose.apply(pair, Act::Take, later).unwrap();
        let taken = tight.apply(taken, Act::Tighten, later).unwrap();
        let back = tight.apply(taken, Act::GiveBack, later).unwrap();
        assert_eq!(back.wrong, before.wrong);
        // So does one that was refused elsewhere, to both.
        let back = tight.apply(taken, Act::Untake, later).unwrap();
        assert_eq!(back.wrong, before.wrong);
    }
}
