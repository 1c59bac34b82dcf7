//! The isolate's view of sessions. "Alive" may be believed until its deadline, since activity only moves the deadline
//! forward and endings come by the feed; "over" may not, so the object is asked.

use crate::budget::OBJECT;
use crate::clock;
use crate::config::{AccountObjects, EdgeConfig};
use crate::feed;
use crate::gate::Corridor;
use crate::generations::Generations;
use crate::objects::account::{ContactAnswer, ContactQuery};
use crate::state::{self, Repeatable};
use crate::touches;
use crate::verify::Verified;
use margrave_shared::claims::{PermissionClaims, SessionLimits};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId, SessionId};
use margrave_shared::route_policy::RoutePolicy;
use margrave_shared::session::Contact;
use margrave_shared::session::policy::touch_window_ms;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::rc::Rc;
use worker::Env;

/// What an isolate knows of a session.
#[derive(Debug, Clone, Copy)]
struct View {
    /// Nobody serves at or past it without asking.
    deadline: UnixMs,
    /// The last acknowledged touch.
    touched_at: UnixMs,
    /// When this isolate last sent a touch.
    sent_at: UnixMs,
}

/// The shortest touch window, in milliseconds, that leaves time to gather touches.
const GATHERED_FROM_MS: i64 = 5_000;

const VIEW_BYTES: usize = 64;
const CACHE_BYTES: usize = 8 << 20;

thread_local! {
    static VIEWS: RefCell<Generations<View>> = RefCell::new(Generations::new(CACHE_BYTES));
}

/// Whose session it is, from verified claims only: the name of its row, and of its object.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The merchant.
    pub(crate) merchant: MerchantId,
    /// The account of the person who acts.
    pub(crate) person: AccountId,
    /// The session.
    pub(crate) sid: SessionId,
}

impl Place {
    fn of(claims: &PermissionClaims) -> Option<Self> {
        Some(Self {
            merchant: claims.merchant_id.clone(),
            person: claims.person()?.clone(),
            sid: claims.sid.as_ref()?.clone(),
        })
    }

    /// `merchant:account:session`; none of them holds a colon.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}:{}", self.merchant, self.person, self.sid)
    }

    /// The object's name: always the same one for all of an account's sessions.
    fn object(&self, objects: AccountObjects) -> String {
        let account = format!("{}:{}", self.merchant, self.person);
        match objects {
            AccountObjects::Each => account,
            AccountObjects::Shared => {
                let [first, ..] = <[u8; 32]>::from(Sha256::digest(account.as_bytes()));
                format!("shard-{:x}", first >> 4)
            }
        }
    }
}

/// Checks the session of a verified token and counts the request as activity if the route says so.
///
/// # Errors
/// `session_ended`, or `state_unavailable` as the route's failure policy says.
pub(crate) async fn check(
    corridor: &Corridor,
    verified: &Verified,
    policy: &RoutePolicy,
) -> Result<(), ErrorCode> {
    let claims = &verified.claims;
    let Some(limits) = claims.session else { return Ok(()) };
    // The reader of claims has made sure that limits come with a session; a person without one cannot be timed out.
    let place = Place::of(claims).ok_or(ErrorCode::InvalidToken)?;
    let now = clock::now();
    if limits.until_s != 0 && now >= UnixMs::from_seconds(limits.until_s) {
        return Err(ErrorCode::SessionEnded);
    }
    let contact = if policy.activity { Contact::Activity } else { Contact::Question };
    let key = place.key();
    let query = ContactQuery { place, limits, issued_at_s: claims.iat, contact };
    let view = VIEWS.with_borrow_mut(|views| views.get(&key, |_| VIEW_BYTES));
    if let Some(mut view) = view
        && now < view.deadline
    {
        let window_ms = touch_window_ms(limits.idle_s, corridor.config.touch_s);
        // At two thirds of the window, so that a touch on its way has a third of it before a pause that must pass can
        // end the session.
        let unacknowledged_ms = now.since(view.touched_at);
        let due = limits.idle_s != 0 && unacknowledged_ms >= window_ms * 2 / 3;
        let overdue = unacknowledged_ms >= window_ms;
        // The first one that must not be lost does not wait for one that might be.
        let sent_in_vain = overdue && view.sent_at.since(view.touched_at) < window_ms;
        let pause_ms = if overdue { window_ms.min(1000) / 3 } else { window_ms.min(3000) / 3 };
        if policy.activity && due && (sent_in_vain || now.since(view.sent_at) >= pause_ms) {
            view.sent_at = now;
            remember(&key, view);
            let can_wait = !overdue
                && window_ms >= GATHERED_FROM_MS
                && corridor.config.account_objects == AccountObjects::Shared;
            touch_later(corridor, key, query, can_wait);
        }
        return Ok(());
    }
    match ask(&corridor.env, &corridor.config, &query).await {
        Ok(answer) => settle(&key, answer),
        // A view that has run out is past the deadline, and past it nobody serves: not even a route that may be stale.
        Err(()) => Err(ErrorCode::StateUnavailable),
    }
}

fn remember(key: &str, view: View) {
    VIEWS.with_borrow_mut(|views| views.insert(key.to_owned(), view, VIEW_BYTES));
}

pub(crate) fn settle(key: &str, answer: ContactAnswer) -> Result<(), ErrorCode> {
    match answer {
        ContactAnswer::Alive { deadline, touched_at } => {
            remember(key, View { deadline, touched_at, sent_at: UnixMs(0) });
            Ok(())
        }
        ContactAnswer::Ended { ending: _ } => {
            // What this isolate was told of is not served by an older view.
            let never = UnixMs(i64::MIN);
            remember(key, View { deadline: never, touched_at: never, sent_at: never });
            Err(ErrorCode::SessionEnded)
        }
    }
}

/// Touches after the answer; should it fail, the deadline stays where it is and the next request touches.
fn touch_later(corridor: &Corridor, key: String, query: ContactQuery, can_wait: bool) {
    let (env, config) = (corridor.env.clone(), Rc::clone(&corridor.config));
    if can_wait {
        let object = query.place.object(config.account_objects);
        if let Some(sending) = touches::gather(&env, object, key, query) {
            corridor.context.wait_until(sending);
        }
        return;
    }
    corridor.context.wait_until(async move {
        if let Ok(answer) = ask(&env, &config, &query).await {
            let _ = settle(&key, answer);
        }
    });
}

async fn ask(env: &Env, config: &EdgeConfig, query: &ContactQuery) -> Result<ContactAnswer, ()> {
    let name = query.place.object(config.account_objects);
    let call = StateCall { kind: ObjectKind::Account, name, url: query.print(), body: None };
    state::ask(env, OBJECT, &call, Repeatable::Yes).await.map_err(|_| ())
}

/// What the account object knows, for a refresh: when the session was last touched, or that it is over.
///
/// # Errors
/// `session_ended`, `state_unavailable`.
pub(crate) async fn seen(
    corridor: &Corridor,
    place: &Place,
    until_s: i64,
) -> Result<Option<UnixMs>, ErrorCode> {
    if feed::present().is_some_and(|view| view.session_ended(&place.sid)) {
        return Err(ErrorCode::SessionEnded);
    }
    // Limits are in permission tokens, not in refresh tokens: the object goes by the row it has.
    let query = ContactQuery {
        place: place.clone(),
        limits: SessionLimits { idle_s: 0, until_s },
        issued_at_s: 0,
        contact: Contact::Question,
    };
    match ask(&corridor.env, &corridor.config, &query).await {
        Ok(ContactAnswer::Alive { touched_at, .. }) => Ok((touched_at.0 > 0).then_some(touched_at)),
        Ok(ContactAnswer::Ended { .. }) => Err(ErrorCode::SessionEnded),
        Err(()) => Err(ErrorCode::StateUnavailable),
    }
}

/// How long a session has left, in seconds; `None` where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndsIn {
    /// Until it ends by inactivity.
    pub(crate) idle_s: Option<i64>,
    /// Until it ends in any case.
    pub(crate) absolute_s: Option<i64>,
}

/// How long a session that was just checked has left.
pub(crate) fn ends_in_s(verified: &Verified, now: UnixMs) -> EndsIn {
    let claims = &verified.claims;
    let (Some(limits), Some(place)) = (claims.session, Place::of(claims)) else {
        return EndsIn { idle_s: None, absolute_s: None };
    };
    let left = |at: UnixMs| (at.since(now) / 1000).max(0);
    let view = VIEWS.with_borrow_mut(|views| views.get(&place.key(), |_| VIEW_BYTES));
    EndsIn {
        idle_s: view.filter(|_| limits.idle_s != 0).map(|view| left(view.deadline)),
        absolute_s: (limits.until_s != 0).then(|| left(UnixMs::from_seconds(limits.until_s))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn place(account: &str, sid: &str) -> Place {
        Place {
            merchant: MerchantId::parse("m").unwrap(),
            person: AccountId::parse(account).unwrap(),
            sid: SessionId::parse(sid).unwrap(),
        }
    }

    #[test]
    fn all_sessions_of_an_account_are_in_one_object() {
        assert_eq!(place("a", "s1").object(AccountObjects::Each), "m:a");
        let names = |objects| {
            (0..1000)
                .map(|i| {
                    let account = format!("account-{i}");
                    let name = place(&account, "s1").object(objects);
                    assert_eq!(name, place(&account, "s2").object(objects));
                    name
                })
                .collect::<HashSet<_>>()
                .len()
        };
        assert_eq!(names(AccountObjects::Each), 1000);
        assert_eq!(names(AccountObjects::Shared), 16);
        assert_ne!(place("a", "s1").key(), place("a", "s2").key());
    }
}
