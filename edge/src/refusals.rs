//! Refusals are counted, and the issuer is told the counts for its audit: written one by one they would let a flood fill
//! its disk.

use crate::clock;
use crate::gate::Corridor;
use crate::{issuer, metrics};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::rule::BucketKind;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::report::{MAX_SPRAYED, MAX_TOLD, Report, limited_key};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How often an isolate tells the issuer, in milliseconds.
const EVERY_MS: i64 = 60_000;

thread_local! {
    static SPRAYED: RefCell<BTreeSet<MerchantId>> = const { RefCell::new(BTreeSet::new()) };
    static TOLD_WHY: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    static LIMITED: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    static COUNTS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
    /// When counting began, or the counts were last sent; zero while there is nothing to tell.
    static SINCE: Cell<UnixMs> = const { Cell::new(UnixMs(0)) };
}

/// Counts a refusal.
pub(crate) fn count(code: ErrorCode) {
    metrics::refused(code);
    add(code.as_str().to_owned(), 1);
}

/// Counts an attempt for which a bucket had none left.
pub(crate) fn limited(kind: BucketKind, key: [u8; 16]) {
    metrics::limited(kind);
    add_limited(limited_key(kind, key), 1);
}

fn add_limited(name: String, times: u64) {
    LIMITED.with_borrow_mut(|limited| Report::add_limited(limited, name, times));
    begin();
}

/// Notes that an application was told why the origin refused.
pub(crate) fn told_why(client: &str) {
    add_told(client.to_owned(), 1);
}

fn add_told(client: String, times: u64) {
    TOLD_WHY.with_borrow_mut(|told| {
        if told.len() < MAX_TOLD || told.contains_key(&client) {
            *told.entry(client).or_default() += times;
        }
    });
    begin();
}

/// Notes that a merchant's logins are being tried.
pub(crate) fn alarm(merchant: &MerchantId) {
    SPRAYED.with_borrow_mut(|sprayed| {
        if sprayed.len() < MAX_SPRAYED {
            sprayed.insert(merchant.clone());
        }
    });
    begin();
}

fn add(code: String, times: u64) {
    COUNTS.with_borrow_mut(|counts| *counts.entry(code).or_default() += times);
    begin();
}

fn begin() {
    if SINCE.get() == UnixMs(0) {
        SINCE.set(clock::now());
    }
}

/// Tells the issuer, if it is time, after the answer of the request at hand. What does not arrive is told the next time;
/// what an isolate has not told when it ends is lost.
pub(crate) fn tell_in_time(corridor: &Corridor) {
    let since = SINCE.get();
    if since == UnixMs(0) || clock::now().since(since) < EVERY_MS || !corridor.config.revocations.has_feed() {
        return;
    }
    SINCE.set(UnixMs(0));
    let (refusals, sprayed, told_why) = (COUNTS.take(), SPRAYED.take(), TOLD_WHY.take());
    let limited = LIMITED.take();
    let (env, config) = (corridor.env.clone(), Rc::clone(&corridor.config));
    corridor.context.wait_until(async move {
        let report = Report { refusals, sprayed, told_why, limited, ..Report::default() };
        if !issuer::report(&env, &config, &report).await {
            for (code, times) in report.refusals {
                add(code, times);
            }
            report.sprayed.iter().for_each(alarm);
            for (client, times) in report.told_why {
                add_told(client, times);
            }
            for (name, times) in report.limited {
                add_limited(name, times);
            }
        }
    });
}
