//! Streams that outlive the request that opened them (WebSocket, server-sent events): `stream.js` asks every two seconds
//! whether whoever opened one may still be there.
//!
//! A stream lives as long as its session: the token that opened it was good then, and is renewed on other requests while
//! the stream cannot present the new one. Without a session it lives as long as its token.

use crate::gate::Corridor;
use crate::verify::Verified;
use crate::{clock, feed, sessions};
use margrave_shared::error::ErrorCode;
use margrave_shared::route_policy::{OnStateFailure, RoutePolicy};
use margrave_shared::session::Contact;
use margrave_shared::time::UnixMs;
use margrave_shared::token::expect::alive_at;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// After so long without a question nobody will ask any more: the client is gone, and its timers with it.
const FORGOTTEN_MS: i64 = 60_000;

struct Watch {
    corridor: Corridor,
    verified: Rc<Verified>,
    act: Contact,
    asked_at: Cell<UnixMs>,
}

thread_local! {
    static WATCHES: RefCell<BTreeMap<u32, Rc<Watch>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u32> = const { Cell::new(1) };
}

/// Watches over a stream; gives its number. `act` is what its client says to the session.
pub(crate) fn begin(corridor: Corridor, verified: Rc<Verified>, act: Contact) -> u32 {
    let now = clock::now();
    let number = NEXT.replace(NEXT.get().wrapping_add(1).max(1));
    let watch = Watch { corridor, verified, act, asked_at: Cell::new(now) };
    WATCHES.with_borrow_mut(|watches| {
        watches.retain(|_, watch| now.since(watch.asked_at.get()) < FORGOTTEN_MS);
        watches.insert(number, Rc::new(watch));
    });
    number
}

/// How many streams are watched over.
pub(crate) fn count() -> usize {
    WATCHES.with_borrow(BTreeMap::len)
}

/// The stream is over.
pub(crate) fn end(number: u32) {
    WATCHES.with_borrow_mut(|watches| watches.remove(&number));
}

/// Whether a stream may go on. `active`: its client has said something since the last question.
///
/// # Errors
/// `session_ended`, `invalid_token`; `state_unavailable` when that cannot be told.
pub(crate) async fn look(number: u32, active: bool) -> Result<(), ErrorCode> {
    let watch = WATCHES.with_borrow(|watches| watches.get(&number).cloned());
    let watch = watch.ok_or(ErrorCode::InvalidToken)?;
    watch.asked_at.set(clock::now());
    let Watch { corridor, verified, act, .. } = &*watch;
    let feed = feed::fresh(corridor, OnStateFailure::Closed).await?;
    let now = clock::now();
    let claims = &verified.claims;
    if claims.session.is_none() && !alive_at(claims.exp, now) {
        return Err(ErrorCode::InvalidToken);
    }
    if feed.ending_of(verified).is_some() {
        return Err(ErrorCode::SessionEnded);
    }
    let question = RoutePolicy { activity: active && *act == Contact::Activity, ..RoutePolicy::any_token() };
    sessions::check(corridor, verified, &question).await
}
