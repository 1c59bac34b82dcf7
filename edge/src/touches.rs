//! Touches that can wait go to their object together: one call for many costs about as much as one for one.
//!
//! Only touches that nobody needs yet are gathered. A session that was touched less than a touch window ago keeps what it is
//! promised without another one (`touch_window_ms`), so what is gathered may be lost, and is not sent again: the next
//! request touches, and past the window it does so at once.

use crate::clock;
use crate::objects::account::{ContactAnswer, ContactQuery, MOST_TOUCHES, TOUCHES_URL, Touch};
use crate::sessions::settle;
use crate::state::{self, Repeatable};
use margrave_shared::time::UnixMs;
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use worker::{Delay, Env};

/// How long touches are gathered.
const GATHER: Duration = Duration::from_millis(250);

/// How long a call may take. Longer than one that somebody waits for: nobody does, and many touches are much to write.
const CALL: Duration = Duration::from_secs(1);

/// After so long without a word, in milliseconds, whoever was to send is taken for lost with its request: longer than it waits,
/// and than a call may take.
const LOST_MS: i64 = 2_000;

/// The most touches that wait; more are left to the next requests.
const MOST_WAITING: usize = 10_000;

/// A touch that waits.
#[derive(Debug, Clone)]
struct Waiting {
    query: ContactQuery,
    /// When the session was met.
    at: UnixMs,
}

/// The touches that wait: by object, then by the session's key.
#[derive(Debug, Default)]
struct Gathered {
    by_object: BTreeMap<String, BTreeMap<String, Waiting>>,
    count: usize,
    /// When somebody who is to send them was last heard of.
    sender_at: Option<UnixMs>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

impl Gathered {
    /// Notes a touch; gives whether the caller has to send what waits.
    fn note(&mut self, object: String, key: String, touch: Waiting, now: UnixMs) -> bool {
        let touches = self.by_object.entry(object).or_default();
        if touches.contains_key(&key) || self.count < MOST_WAITING {
            self.count += usize::from(touches.insert(key, touch).is_none());
        }
        let sent_by_another = self.sender_at.is_some_and(|at| (0..LOST_MS).contains(&now.since(at)));
        if !sent_by_another {
            self.sender_at = Some(now);
        }
        !sent_by_another
    }

    /// Takes what waits. Who takes it still sends for all.
    fn take(&mut self) -> BTreeMap<String, BTreeMap<String, Waiting>> {
        self.count = 0;
        std::mem::take(&mut self.by_object)
    }
}

/// Notes a touch that can wait. Where it gives a future, that is to be driven after the answer.
pub(crate) fn gather(
    env: &Env,
    object: String,
    key: String,
    query: ContactQuery,
) -> Option<impl Future<Output = ()> + 'static> {
    let touch = Waiting { query, at: clock::now() };
    let sends = GATHERED.with_borrow_mut(|gathered| gathered.note(object, key, touch, clock::wall()));
    let env = env.clone();
    sends.then_some(async move {
        Delay::from(GATHER).await;
        let gathered = GATHERED.with_borrow_mut(Gathered::take);
        send(&env, gathered).await;
        GATHERED.with_borrow_mut(|gathered| gathered.sender_at = None);
    })
}

/// Sends them, one call after another, so that the requests of the same moment get a word in. An object that fails is let go.
async fn send(env: &Env, gathered: BTreeMap<String, BTreeMap<String, Waiting>>) {
    for (object, touches) in gathered {
        let touches: Vec<(String, Waiting)> = touches.into_iter().collect();
        for touches in touches.chunks(MOST_TOUCHES) {
            GATHERED.with_borrow_mut(|gathered| gathered.sender_at = Some(clock::wall()));
            let Some(answers) = send_to(env, &object, touches).await else { break };
            for ((key, _), answer) in touches.iter().zip(answers) {
                if let Some(answer) = answer {
                    let _ = settle(key, answer);
                }
            }
        }
    }
}

async fn send_to(
    env: &Env,
    object: &str,
    touches: &[(String, Waiting)],
) -> Option<Vec<Option<ContactAnswer>>> {
    let now = clock::now();
    let body: Vec<Touch> = touches
        .iter()
        .map(|(_, Waiting { query, at })| Touch { url: query.print(), ago_ms: now.since(*at).max(0) })
        .collect();
    let call = StateCall {
        kind: ObjectKind::Account,
        name: object.to_owned(),
        url: TOUCHES_URL.to_owned(),
        body: Some(serde_json::to_string(&body).ok()?),
    };
    // How long ago they were is true for now only. The way there is to the session's advantage, as it is for a single touch; a
    // state process that is not there is not waited for.
    state::ask(env, CALL, &call, Repeatable::No).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::Place;
    use margrave_shared::claims::SessionLimits;
    use margrave_shared::id::{AccountId, MerchantId, SessionId};
    use margrave_shared::session::Contact;

    fn touch(at: i64) -> Waiting {
        let place = Place {
            merchant: MerchantId::parse("m").unwrap(),
            person: AccountId::parse("a").unwrap(),
            sid: SessionId::parse("s").unwrap(),
        };
        let limits = SessionLimits { idle_s: 1800, until_s: 0 };
        let query = ContactQuery { place, limits, issued_at_s: 0, contact: Contact::Activity };
        Waiting { query, at: UnixMs(at) }
    }

    #[test]
    fn one_request_sends_for_all_and_another_takes_over_when_it_is_lost() {
        let mut gathered = Gathered::default();
        let mut note =
            |key: &str, now| gathered.note("o".to_owned(), key.to_owned(), touch(now), UnixMs(now));
        assert!(note("a", 10_000), "the first one sends");
        assert!(!note("b", 10_100));
        assert!(!note("a", 11_999));
        assert!(note("c", 12_000), "the first one is lost");
        assert!(!note("d", 12_001));
        assert!(note("e", 5_000), "a clock that was set back holds nobody up");
        assert_eq!(gathered.count, 5);
        assert_eq!(gathered.by_object["o"]["a"].at, UnixMs(11_999), "the later touch of a session");
        assert_eq!(gathered.take()["o"].len(), 5);
        assert_eq!((gathered.count, gathered.by_object.len()), (0, 0));
        let again = gathered.note("o".to_owned(), "a".to_owned(), touch(1), UnixMs(5_001));
        assert!(!again, "who has taken them sends for all until it is done");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut gathered = Gathered::default();
        for number in 0..MOST_WAITING + 5 {
            gathered.note(format!("o{}", number % 16), format!("s{number}"), touch(1), UnixMs(1));
        }
        gathered.note("o0".to_owned(), "s0".to_owned(), touch(2), UnixMs(2));
        assert_eq!(gathered.count, MOST_WAITING);
        assert_eq!(gathered.by_object.values().map(BTreeMap::len).sum::<usize>(), MOST_WAITING);
        assert_eq!(gathered.by_object["o0"]["s0"].at, UnixMs(2), "who is in there moves on");
    }
}
