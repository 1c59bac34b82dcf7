//! Routes that only report (`mode = "report"`): what would be refused is written to the log, in numbers, so that a flood
//! does not fill it.

use crate::log;
use margrave_shared::error::ErrorCode;
use margrave_shared::time::UnixMs;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// How often an isolate writes, in milliseconds.
const EVERY_MS: i64 = 10_000;

thread_local! {
    static COUNTS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
    static WRITTEN_AT: Cell<UnixMs> = const { Cell::new(UnixMs(0)) };
}

/// Notes what would have been refused; the first at once, the others together with one that comes later.
pub(crate) fn note(code: ErrorCode, now: UnixMs) {
    COUNTS.with_borrow_mut(|counts| *counts.entry(code.as_str()).or_default() += 1);
    if now.since(WRITTEN_AT.get()) < EVERY_MS {
        return;
    }
    WRITTEN_AT.set(now);
    let counts = COUNTS.take();
    let counts: Vec<String> = counts.iter().map(|(code, times)| format!("{code} {times}")).collect();
    log::warn(&format!("passed, and would be refused without mode = 'report': {}", counts.join(", ")));
}
