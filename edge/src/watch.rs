//! Streams that outlive the request that opened them (WebSocket, server-sent events): `stream.js` asks every other second
//! whether whoever opened one may still be there.
//!
//! A stream lives as long as its session: the token that opened it was good then, and is renewed on other requests while
//! the stream cannot present the new one. Without a session it lives as long as its token. What its route demands, such as
//! a recent authentication, it demands as long as the stream lasts.

use crate::boundary::Head;
use crate::gate::Corridor;
use crate::verify::Verified;
use crate::{clock, feed, sessions};
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::Permission;
use margrave_shared::route_policy::RoutePolicy;
use margrave_shared::time::UnixMs;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// After so long without a question nobody will ask any more: the client is gone, and its timers with it.
const FORGOTTEN_MS: i64 = 30_000;

/// How often what is forgotten is looked for, in milliseconds.
const SWEEP_MS: i64 = 1000;

/// The most streams at once, those included that are being opened.
const MOST: usize = 10_000;

/// The most streams of one subject.
const MOST_OF_ONE: usize = 100;

/// How old the view of endings may be by which a stream is judged, in milliseconds.
const VIEW_MS: i64 = 1000;

struct Watch {
    corridor: Corridor,
    verified: Rc<Verified>,
    policy: RoutePolicy,
    asked_at: Cell<UnixMs>,
}

thread_local! {
    /// By the request's id, which no other stream has, in whichever instance it was opened.
    static WATCHES: RefCell<BTreeMap<String, Rc<Watch>>> = const { RefCell::new(BTreeMap::new()) };
    static SWEPT_AT: Cell<UnixMs> = const { Cell::new(UnixMs(0)) };
}

/// Watches over a stream that is opened.
pub(crate) fn begin(corridor: Corridor, verified: Rc<Verified>, policy: RoutePolicy) {
    let now = clock::now();
    WATCHES.with_borrow_mut(|watches| {
        if now.since(SWEPT_AT.get()).abs() >= SWEEP_MS {
            SWEPT_AT.set(now);
            watches.retain(|_, watch| now.since(watch.asked_at.get()) < FORGOTTEN_MS);
        }
        let id = corridor.request_id.to_string();
        // The head is what its client made it, and nothing of it is needed any more.
        let corridor = Corridor { head: Head::default(), ..corridor };
        // The first question comes when the origin has answered, and before that its body may take as long.
        let asked_at = Cell::new(now.plus_ms(2 * i64::from(policy.timeout_ms)));
        watches.insert(id, Rc::new(Watch { corridor, verified, policy, asked_at }));
    });
}

/// Whether one more may be opened by this subject.
///
/// # Errors
/// `state_unavailable` when there are too many.
pub(crate) fn has_room(verified: &Verified) -> Result<(), ErrorCode> {
    let subject = &verified.claims.sub;
    WATCHES.with_borrow(|watches| {
        let own = || watches.values().filter(|watch| watch.verified.claims.sub == *subject).count();
        let full = watches.len() >= MOST || own() >= MOST_OF_ONE;
        if full { Err(ErrorCode::StateUnavailable) } else { Ok(()) }
    })
}

/// How many streams are watched over.
pub(crate) fn count() -> usize {
    WATCHES.with_borrow(BTreeMap::len)
}

/// A stream is over.
pub(crate) fn end(id: &str) {
    WATCHES.with_borrow_mut(|watches| watches.remove(id));
}

/// Whether a stream may go on. `active`: its client has said something since the last question.
///
/// # Errors
/// Why not; `state_unavailable` when that cannot be told.
pub(crate) async fn look(id: &str, active: bool) -> Result<(), ErrorCode> {
    let watch = WATCHES.with_borrow(|watches| watches.get(id).cloned());
    let watch = watch.ok_or(ErrorCode::InvalidToken)?;
    watch.asked_at.set(clock::now());
    let Watch { corridor, verified, policy, .. } = &*watch;
    let feed = feed::within_ms(corridor, VIEW_MS.min(corridor.config.revocations.poll_ms)).await?;
    let now = clock::now();
    let claims = &verified.claims;
    if claims.session.is_none() && now.seconds() >= claims.exp {
        return Err(ErrorCode::InvalidToken);
    }
    if feed.ending_of(verified).is_some() {
        return Err(ErrorCode::SessionEnded);
    }
    policy.authorize(claims, now)?;
    // A refresh would not grant these any more.
    let oldest_s = policy.permissions.iter().filter_map(Permission::max_auth_age_s).min();
    if oldest_s.is_some_and(|age| claims.auth_time.is_some_and(|at| now.seconds() - at > age)) {
        return Err(ErrorCode::StepUpRequired);
    }
    let question = RoutePolicy { activity: policy.activity && active, ..RoutePolicy::any_token() };
    sessions::check(corridor, verified, &question).await
}
