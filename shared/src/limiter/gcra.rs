//! An exact bucket: the generic cell rate algorithm in whole numbers.
//!
//! A bucket holds N attempts and gains N per window W. A flood of t seconds is admitted exactly N + ⌊t·N/W⌋ times.
//! The state is one number, the *theoretical arrival time*: time is counted in 1/N milliseconds, so that one attempt
//! costs exactly W (in ms) of these units and no rounding ever happens.

use crate::time::UnixMs;

/// N attempts per window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// N: how many attempts at once, and per window. 1 to 1,000,000.
    pub attempts: i64,
    /// W in seconds. 1 to 31 days.
    pub window_s: i64,
}

/// A limit out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a limit is 1 to 1000000 attempts per 1 to 2678400 seconds")]
pub struct NotALimit;

impl Limit {
    /// The most attempts that a limit may have.
    pub const MOST_ATTEMPTS: i64 = 1_000_000;

    /// Checks the range in which the arithmetic is exact.
    ///
    /// # Errors
    /// [`NotALimit`].
    pub fn new(attempts: i64, window_s: i64) -> Result<Self, NotALimit> {
        if (1..=Self::MOST_ATTEMPTS).contains(&attempts) && (1..=2_678_400).contains(&window_s) {
            Ok(Self { attempts, window_s })
        } else {
            Err(NotALimit)
        }
    }

    const fn cost(self) -> i64 {
        self.window_s.saturating_mul(1000)
    }

    const fn clock(self, now: UnixMs) -> i64 {
        now.0.saturating_mul(self.attempts)
    }
}

/// A bucket's state: the theoretical arrival time in 1/N ms. Absent and [`Bucket::FULL`] are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket(pub i64);

/// No attempt is left; one is after this many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty {
    /// Milliseconds until the next attempt would be admitted, at least 1.
    pub retry_after_ms: i64,
}

impl Bucket {
    /// A bucket from which nothing was taken.
    pub const FULL: Self = Self(i64::MIN);

    /// Takes one attempt.
    ///
    /// # Errors
    /// [`Empty`]; the bucket is unchanged.
    pub fn take(self, limit: Limit, now: UnixMs) -> Result<Self, Empty> {
        let clock = limit.clock(now);
        let arrival = self.0.max(clock);
        let ahead = arrival.saturating_sub(clock);
        let room = (limit.attempts - 1).saturating_mul(limit.cost());
        if ahead > room {
            // Rounded up: at the millisecond we name, the attempt is admitted.
            let wait = ahead - room;
            let retry_after_ms = wait / limit.attempts + i64::from(wait % limit.attempts != 0);
            return Err(Empty { retry_after_ms });
        }
        Ok(Self(arrival.saturating_add(limit.cost())))
    }

    /// The same bucket, owing no more than a whole one: what was written by a longer window, or by a clock that was ahead,
    /// must not bar anybody for longer than this one would.
    #[must_use]
    pub fn bounded(self, limit: Limit, now: UnixMs) -> Self {
        let most = limit.clock(now).saturating_add(limit.attempts.saturating_mul(limit.cost()));
        Self(self.0.min(most))
    }

    /// Gives one attempt back. More than was taken cannot come back: a bucket is never fuller than full.
    #[must_use]
    pub const fn give_back(self, limit: Limit) -> Self {
        Self(self.0.saturating_sub(limit.cost()))
    }

    /// The same bucket counted in the units of another limit: time is in 1/N ms, so another N is another unit.
    #[must_use]
    pub fn rescaled(self, from_attempts: i64, to_attempts: i64) -> Self {
        if from_attempts == to_attempts || from_attempts < 1 || self == Self::FULL {
            return self;
        }
        let scaled = i128::from(self.0) * i128::from(to_attempts) / i128::from(from_attempts);
        Self(i64::try_from(scaled).unwrap_or(i64::MAX))
    }

    /// The instant from which the bucket is full again and its row may be dropped.
    pub const fn full_at(self, limit: Limit) -> UnixMs {
        UnixMs(self.0.div_euclid(limit.attempts).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_800_000_000_000;

    #[test]
    fn a_shorter_window_or_a_clock_set_back_bars_nobody_for_longer_than_its_window() {
        let (day, minutes) = (Limit::new(5, 86_400).unwrap(), Limit::new(5, 300).unwrap());
        let now = UnixMs(START);
        let mut bucket = Bucket::FULL;
        for _ in 0..5 {
            bucket = bucket.take(day, now).unwrap();
        }
        let bounded = bucket.bounded(minutes, now);
        assert_eq!(bounded.take(minutes, now), Err(Empty { retry_after_ms: 60_000 }));
        assert!(bounded.take(minutes, now.plus_seconds(60)).is_ok());
        assert_eq!(bucket.bounded(day, now), bucket, "what it may owe stays");
        let earlier = now.plus_seconds(-86_400);
        assert!(bucket.bounded(day, earlier).take(day, earlier.plus_seconds(86_400 / 5)).is_ok());
    }

    #[test]
    fn a_flood_is_admitted_exactly_n_plus_t_n_over_w_times() {
        for (attempts, window_s, flood_s) in
            [(5, 10, 33), (5, 300, 300), (3, 7, 100), (10, 1, 5), (1, 60, 600)]
        {
            let limit = Limit::new(attempts, window_s).unwrap();
            let (mut bucket, mut admitted) = (Bucket::FULL, 0);
            for ms in 0..=flood_s * 1000 {
                if let Ok(next) = bucket.take(limit, UnixMs(START + ms)) {
                    bucket = next;
                    admitted += 1;
                }
            }
            assert_eq!(admitted, attempts + flood_s * attempts / window_s, "{limit:?}");
        }
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let limit = Limit::new(5, 60).unwrap();
        let mut bucket = Bucket::FULL;
        for _ in 0..1000 {
            bucket = bucket.take(limit, UnixMs(START)).unwrap().give_back(limit);
        }
        for _ in 0..5 {
            bucket = bucket.take(limit, UnixMs(START)).unwrap();
        }
        assert!(bucket.take(limit, UnixMs(START)).is_err());
    }

    #[test]
    fn another_limit_keeps_what_was_taken_and_locks_nobody_out() {
        let (ten, five) = (Limit::new(10, 60).unwrap(), Limit::new(5, 60).unwrap());
        let mut bucket = Bucket::FULL;
        for _ in 0..10 {
            bucket = bucket.take(ten, UnixMs(START)).unwrap();
        }
        let lowered = bucket.rescaled(10, 5);
        assert_eq!(lowered.take(five, UnixMs(START)), Err(Empty { retry_after_ms: 12_000 }));
        assert!(lowered.take(five, UnixMs(START + 12_000)).is_ok());
        assert!(bucket.rescaled(10, 20).take(Limit::new(20, 60).unwrap(), UnixMs(START)).is_err());
        assert_eq!(Bucket::FULL.rescaled(10, 5), Bucket::FULL);
    }

    #[test]
    fn limits_outside_the_exact_range_are_refused() {
        for (attempts, window_s) in [(0, 1), (1, 0), (-1, 1), (1_000_001, 1), (1, 2_678_401)] {
            assert_eq!(Limit::new(attempts, window_s), Err(NotALimit));
        }
    }

    proptest! {
        #[test]
        fn retry_after_is_exact(attempts in 1_i64..50, window_s in 1_i64..1000, takes in 1_usize..80, later in 0_i64..5000) {
            let limit = Limit::new(attempts, window_s).unwrap();
            let mut bucket = Bucket::FULL;
            for _ in 0..takes {
                bucket = bucket.take(limit, UnixMs(START)).unwrap_or(bucket);
            }
            let now = UnixMs(START + later);
            if let Err(Empty { retry_after_ms }) = bucket.take(limit, now) {
                prop_assert!(bucket.take(limit, now.plus_ms(retry_after_ms)).is_ok());
                prop_assert!(bucket.take(limit, now.plus_ms(retry_after_ms - 1)).is_err());
            }
        }

        #[test]
        fn never_more_than_the_burst_in_no_time_and_never_starving(
            attempts in 1_i64..20, window_s in 1_i64..100, pauses in proptest::collection::vec(0_i64..3000, 1..200)
        ) {
            let limit = Limit::new(attempts, window_s).unwrap();
            let (mut bucket, mut now, mut admitted) = (Bucket::FULL, START, 0);
            for pause in pauses {
                now += pause;
                if let Ok(next) = bucket.take(limit, UnixMs(now)) {
                    bucket = next;
                    admitted += 1;
                }
                prop_assert!(admitted <= attempts + (now - START) * attempts / (window_s * 1000));
            }
            prop_assert!(bucket.take(limit, UnixMs(now + window_s * 1000)).is_ok());
        }

        #[test]
        fn a_row_may_be_dropped_when_full(attempts in 1_i64..20, window_s in 1_i64..100, takes in 1_usize..20) {
            let limit = Limit::new(attempts, window_s).unwrap();
            let mut bucket = Bucket::FULL;
            for _ in 0..takes {
                bucket = bucket.take(limit, UnixMs(START)).unwrap_or(bucket);
            }
            let at = bucket.full_at(limit);
            prop_assert_eq!(bucket.take(limit, at), Bucket::FULL.take(limit, at));
        }
    }
}
