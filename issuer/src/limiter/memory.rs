//! What a process remembers between attempts: buckets that were just empty, so that a flood costs no transactions, and merchants
//! whose logins are being tried.

use margrave_shared::id::MerchantId;
use margrave_shared::limiter::drawing::Draw;
use margrave_shared::time::UnixMs;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a bucket is taken for empty without looking, in milliseconds: another process may have given an attempt back.
const LONGEST_MS: i64 = 1_000;

/// The most buckets that are remembered.
const MOST: usize = 10_000;

/// How long a merchant is suspected after its bucket was empty, in milliseconds.
const SUSPECTED_MS: i64 = 10_000;

/// How often one merchant is told of, in milliseconds.
const TOLD_EVERY_MS: i64 = 60_000;

/// A bucket that was empty.
#[derive(Debug, Clone, Copy)]
struct EmptyUntil {
    /// When it is looked at again.
    look_at: UnixMs,
    /// When it has an attempt again.
    full_at: UnixMs,
}

/// When a merchant was suspected, and when that was told.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    at: UnixMs,
    told_at: UnixMs,
}

/// The buckets that were empty.
#[derive(Debug, Default)]
struct Empty {
    by_key: HashMap<[u8; 16], EmptyUntil>,
    /// When what is over was last taken away.
    tidied_at: Option<UnixMs>,
}

/// The memory of one process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    empty: Mutex<Empty>,
    suspected: Mutex<BTreeMap<MerchantId, Suspicion>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Notes that a bucket is empty. Never past the moment at which it has an attempt again.
    pub(super) fn note_empty(&self, key: [u8; 16], retry_after_ms: i64, now: UnixMs) {
        let mut empty = lock(&self.empty);
        // Not for each one: it looks at all of them.
        let is_due = empty.tidied_at.is_none_or(|at| now.since(at).abs() >= LONGEST_MS);
        if empty.by_key.len() >= MOST && is_due {
            empty.by_key.retain(|_, until| now < until.look_at);
            empty.tidied_at = Some(now);
        }
        if empty.by_key.len() < MOST {
            let look_at = now.plus_ms(retry_after_ms.min(LONGEST_MS));
            empty.by_key.insert(key, EmptyUntil { look_at, full_at: now.plus_ms(retry_after_ms) });
        }
    }

    /// Whether one of these is known to be empty: which, and the milliseconds until it is not.
    pub(super) fn is_empty(&self, draws: &[Draw], now: UnixMs) -> Option<(Draw, i64)> {
        let empty = lock(&self.empty);
        draws.iter().find_map(|draw| {
            let until = empty.by_key.get(&draw.key)?;
            // A clock that was set back makes nobody wait.
            (now < until.look_at && now.plus_ms(LONGEST_MS) >= until.look_at)
                .then(|| (*draw, until.full_at.since(now)))
        })
    }

    /// An attempt has come back to these.
    pub(super) fn forget_empty(&self, draws: &[Draw]) {
        let mut empty = lock(&self.empty);
        for draw in draws {
            empty.by_key.remove(&draw.key);
        }
    }

    /// Whether the logins of a merchant are taken to be tried one after another.
    pub(super) fn is_suspected(&self, merchant: &MerchantId, now: UnixMs) -> bool {
        lock(&self.suspected)
            .get(merchant)
            .is_some_and(|last| (0..SUSPECTED_MS).contains(&now.since(last.at)))
    }

    /// Notes that they are; gives whether that is to be told.
    pub(super) fn suspect(&self, merchant: &MerchantId, now: UnixMs) -> bool {
        let mut suspected = lock(&self.suspected);
        let recent = |at: UnixMs| (0..TOLD_EVERY_MS).contains(&now.since(at));
        suspected.retain(|_, last| recent(last.at) || recent(last.told_at));
        let told_at = suspected.get(merchant).map(|last| last.told_at).filter(|at| recent(*at));
        suspected.insert(merchant.clone(), Suspicion { at: now, told_at: told_at.unwrap_or(now) });
        told_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margrave_shared::limiter::drawing::{Aim, Buckets};
    use margrave_shared::limiter::limits::LimitSettings;
    use margrave_shared::secret::SecretKey;

    fn waits(memory: &Memory, draws: &[Draw], now: UnixMs) -> Option<i64> {
        memory.is_empty(draws, now).map(|(_, retry_after_ms)| retry_after_ms)
    }

    #[test]
    fn an_empty_bucket_is_looked_at_again_when_it_may_have_an_attempt() {
        let limits = LimitSettings::default().limits(&mut Vec::new()).unwrap();
        let keys = SecretKey::from_bytes([1; 32]).into();
        let draws = Buckets { limits: &limits, keys: &keys, client: None }.of(Aim::Nothing).buckets;
        let (memory, now) = (Memory::default(), UnixMs(1_800_000_000_000));
        assert_eq!(waits(&memory, &draws, now), None);
        memory.note_empty(draws[0].key, 60_000, now);
        assert_eq!(waits(&memory, &draws, now.plus_ms(999)), Some(59_001));
        assert_eq!(waits(&memory, &draws, now.plus_ms(1_000)), None);
        assert_eq!(waits(&memory, &draws, now.plus_ms(-1)), None, "set back");
        memory.note_empty(draws[0].key, 20, now);
        assert_eq!(waits(&memory, &draws, now.plus_ms(19)), Some(1));
        assert_eq!(waits(&memory, &draws, now.plus_ms(20)), None);
        memory.note_empty(draws[0].key, 60_000, now);
        memory.forget_empty(&draws);
        assert_eq!(waits(&memory, &draws, now), None);
        for number in 0..2 * MOST as u128 {
            memory.note_empty(number.to_be_bytes(), 60_000, now);
        }
        assert_eq!(lock(&memory.empty).by_key.len(), MOST);
        memory.note_empty([0xff; 16], 60_000, now.plus_ms(LONGEST_MS));
        assert_eq!(lock(&memory.empty).by_key.len(), 1, "what is over makes room");
    }

    #[test]
    fn a_merchant_is_suspected_for_ten_seconds_and_told_of_once_a_minute() {
        let (memory, now) = (Memory::default(), UnixMs(1_800_000_000_000));
        let merchant = MerchantId::parse("m").unwrap();
        assert!(!memory.is_suspected(&merchant, now));
        assert!(memory.suspect(&merchant, now));
        for second in 1..60 {
            let now = now.plus_seconds(second);
            if second % 20 == 0 {
                assert!(!memory.suspect(&merchant, now), "told already");
            }
            assert_eq!(memory.is_suspected(&merchant, now), second % 20 < 10);
        }
        assert!(memory.suspect(&merchant, now.plus_seconds(60)));
        assert!(!memory.is_suspected(&merchant, now), "a clock that was set back");
    }
}
