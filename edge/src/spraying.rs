//! One password tried on many logins: more wrong attempts on a merchant's logins than it has on a bad day. Whoever runs the
//! edge is told, and the issuer's audit; `limiter` is stricter with strangers' addresses meanwhile.

use crate::{clock, log, metrics};
use margrave_shared::id::MerchantId;
use margrave_shared::time::UnixMs;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often the log says so of one merchant, in milliseconds.
const EVERY_MS: i64 = 60_000;

/// The most merchants that are remembered: the names come from bodies that anybody writes.
const MOST: usize = 1000;

/// How long a merchant is suspected after its bucket was empty, in milliseconds: strangers' addresses are tight at once,
/// without asking anew for each attempt.
const SUSPECTED_MS: i64 = 10_000;

thread_local! {
    static SUSPECTED: RefCell<BTreeMap<MerchantId, UnixMs>> = const { RefCell::new(BTreeMap::new()) };
    static LAST: RefCell<BTreeMap<MerchantId, UnixMs>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether the logins of a merchant are being tried.
pub(crate) fn is_suspected(merchant: &MerchantId) -> bool {
    let now = clock::now();
    SUSPECTED.with_borrow(|all| all.get(merchant).is_some_and(|at| now.since(*at) < SUSPECTED_MS))
}

/// Notes that the logins of a merchant are being tried; of merchants that this edge serves.
pub(crate) fn suspect(merchant: &MerchantId) {
    let now = clock::now();
    SUSPECTED.with_borrow_mut(|all| {
        all.retain(|_, at| now.since(*at) < SUSPECTED_MS);
        if all.len() < MOST {
            all.insert(merchant.clone(), now);
        }
    });
    let due = LAST.with_borrow_mut(|last| {
        last.retain(|_, at| now.since(*at) < EVERY_MS);
        let due = last.len() < MOST && !last.contains_key(merchant);
        if due {
            last.insert(merchant.clone(), now);
        }
        due
    });
    if due {
        log::warn(&format!(
            "ALARM: many wrong passwords on the logins of merchant {merchant}; addresses that are strange to their owners \
             have fewer attempts meanwhile"
        ));
        metrics::sprayed();
        crate::refusals::alarm(merchant);
    }
}
