//! The isolate's view of the feed object: endings and keys, with a bounded age.
//!
//! One feed object per deployment follows the issuer's feed and its keys; every isolate asks it once per poll
//! interval, so its cost does not grow with requests.

use crate::budget::{self, FIRST_LOAD, OBJECT};
use crate::clock;
use crate::config::EdgeConfig;
use crate::gate::Corridor;
use crate::objects::feed::{PUSH_URL, Pushed, SyncAnswer, SyncQuery, read_batch};
use crate::state::{self, Repeatable};
use crate::verify::Verified;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::Kid;
use margrave_shared::jwk::KeySet;
use margrave_shared::revocation::{Cursor, RevocationSet};
use margrave_shared::route_policy::OnStateFailure;
use margrave_shared::time::UnixMs;
use margrave_shared::token::Refusal;
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use worker::Env;

/// What an isolate knows.
#[derive(Debug, Clone)]
pub(crate) struct FeedView {
    cursor: Cursor,
    /// Up to here no ending is missing, thanks to pushes.
    known: i64,
    /// Which revision of the object's log this is.
    revision: i64,
    ended: Rc<RevocationSet>,
    keys: Rc<KeySet>,
    /// The set as the issuer published it.
    keys_text: Rc<str>,
    /// Which set of keys this is, for the object.
    keys_version: i64,
    /// From when on the keys are not used any more.
    keys_usable_until: UnixMs,
    /// When the object was asked that has answered last.
    synced_at: UnixMs,
    /// Which question that was.
    question: u64,
    /// When the object last heard from the issuer.
    heard_at: UnixMs,
    /// How far this clock is ahead of the issuer's, in seconds.
    skew_s: Option<i64>,
}

thread_local! {
    static VIEW: RefCell<Option<Rc<FeedView>>> = const { RefCell::new(None) };
    /// When this isolate last asked in the background.
    static ASKED_AT: Cell<UnixMs> = const { Cell::new(UnixMs(0)) };
    /// Counts the questions of this isolate.
    static QUESTIONS: Cell<u64> = const { Cell::new(0) };
    /// When this isolate last asked for an unknown key.
    static MISSED_AT: Cell<UnixMs> = const { Cell::new(UnixMs(0)) };
}

/// After so long without a question the object may have stopped following, in milliseconds.
const IDLE_MS: i64 = 30_000;

/// The least pause between two questions of one isolate for unknown keys, in milliseconds.
const MISSING_PAUSE_MS: i64 = 500;

impl FeedView {
    /// A view of nothing, older than any bound.
    fn blank() -> Self {
        Self {
            cursor: Cursor::default(),
            known: 0,
            revision: -1,
            ended: Rc::default(),
            keys: Rc::default(),
            keys_text: Rc::from(""),
            keys_version: 0,
            keys_usable_until: UnixMs(0),
            synced_at: UnixMs(0),
            question: 0,
            heard_at: UnixMs(0),
            skew_s: None,
        }
    }

    /// The keys, as long as they may be used.
    ///
    /// # Errors
    /// `state_unavailable` when there are none, or the last good set is past its hard age.
    pub(crate) fn keys(&self, now: UnixMs) -> Result<&KeySet, ErrorCode> {
        if now < self.keys_usable_until { Ok(&self.keys) } else { Err(ErrorCode::StateUnavailable) }
    }

    /// The issuer's set of keys as it published it.
    pub(crate) fn keys_text(&self) -> &str {
        &self.keys_text
    }

    /// How long ago the keys were fetched, in milliseconds; `None` when there are none.
    pub(crate) fn keys_age_ms(&self, config: &EdgeConfig, now: UnixMs) -> Option<i64> {
        let usable_for_ms = config.jwks.max_stale_s.saturating_mul(1000);
        (self.keys_usable_until > UnixMs(0)).then(|| usable_for_ms - self.keys_usable_until.since(now))
    }

    /// How long ago the issuer was last heard, in milliseconds.
    pub(crate) fn silent_ms(&self, now: UnixMs) -> i64 {
        now.since(self.heard_at)
    }

    /// How far this clock is ahead of the issuer's, in seconds.
    pub(crate) fn skew_s(&self) -> Option<i64> {
        self.skew_s
    }

    /// How many endings are in force.
    pub(crate) fn endings(&self) -> usize {
        self.ended.len()
    }

    /// What ended a token, if anything did.
    pub(crate) fn ending_of(&self, verified: &Verified) -> Option<&'static str> {
        self.ended.ending_of(&verified.claims.concerned(&verified.kid))
    }

    /// Whether a session was ended.
    pub(crate) fn session_ended(&self, sid: &margrave_shared::id::SessionId) -> bool {
        self.ended.session_ended(sid)
    }

    fn take_in(&self, answer: SyncAnswer, config: &EdgeConfig, now: UnixMs) -> Self {
        let mut next = self.clone();
        next.synced_at = now;
        next.heard_at = now.plus_ms(-answer.heard_ms_ago);
        next.skew_s = answer.skew_s;
        if answer.replaces || !answer.events.is_empty() {
            let mut ended = if answer.replaces { RevocationSet::default() } else { (*next.ended).clone() };
            for event in &answer.events {
                ended.apply(event);
            }
            ended.forget_dead(now);
            next.ended = Rc::new(ended);
        }
        next.cursor = Cursor { epoch: answer.epoch.clone(), seq: answer.seq };
        (next.known, next.revision) = (answer.known, answer.revision);
        next.take_keys(answer, config, now)
    }

    fn take_keys(&self, answer: SyncAnswer, config: &EdgeConfig, now: UnixMs) -> Self {
        let mut next = self.clone();
        if answer.keys_version < self.keys_version {
            return next;
        }
        if let Some(set) = answer.keys.filter(|_| answer.keys_version > self.keys_version) {
            // The object has judged the set; what it keeps can be read.
            next.keys = Rc::new(KeySet::parse(set.as_bytes()).unwrap_or_default());
            next.keys_text = Rc::from(set);
            next.keys_version = answer.keys_version;
        }
        next.keys_usable_until = answer
            .keys_age_ms
            .map_or(UnixMs(0), |age| now.plus_ms(-age).plus_seconds(config.jwks.max_stale_s));
        next
    }
}

/// The present view, whatever its age.
pub(crate) fn present() -> Option<Rc<FeedView>> {
    VIEW.with_borrow(Clone::clone)
}

/// A view that is young enough to judge by.
///
/// # Errors
/// `state_unavailable` when the object does not answer and the route does not let an older view serve, or when the
/// issuer has been silent for too long.
pub(crate) async fn fresh(
    corridor: &Corridor,
    on_failure: OnStateFailure,
) -> Result<Rc<FeedView>, ErrorCode> {
    no_older_than(corridor, corridor.config.revocations.poll_ms, on_failure).await
}

/// The same, of another age at most, in milliseconds; and where that cannot be had, none.
///
/// # Errors
/// `state_unavailable`.
pub(crate) async fn within_ms(corridor: &Corridor, ms: i64) -> Result<Rc<FeedView>, ErrorCode> {
    no_older_than(corridor, ms, OnStateFailure::Closed).await
}

async fn no_older_than(
    corridor: &Corridor,
    ms: i64,
    on_failure: OnStateFailure,
) -> Result<Rc<FeedView>, ErrorCode> {
    let config = &corridor.config;
    let now = clock::now();
    let view = match present() {
        // A view from the future is one from before the clock was set back.
        Some(view) if (0..=ms).contains(&now.since(view.synced_at)) => {
            refresh_early(corridor, &view, now);
            view
        }
        present => {
            // A cold isolate waits until the object has loaded what lives; a warm one has its budget.
            // So does one that was idle: the object may have to ask the issuer first.
            let idle = present.as_ref().is_none_or(|view| now.since(view.synced_at) > IDLE_MS);
            let limit = if idle { FIRST_LOAD } else { OBJECT };
            let longest_ms = ms + limit.as_millis() as i64;
            match sync(&corridor.env, config, None, limit).await {
                // An answer that was overtaken leaves the view as it is, which may have been put out of use.
                Ok(view) if clock::now().since(view.synced_at) <= longest_ms => view,
                _ => match (present, on_failure) {
                    (Some(view), OnStateFailure::Stale { ms }) if now.since(view.synced_at) < ms => view,
                    _ => return Err(ErrorCode::StateUnavailable),
                },
            }
        }
    };
    let silent_ms = clock::now().since(view.heard_at);
    if config.revocations.has_feed() && silent_ms > config.revocations.max_stale_s.saturating_mul(1000) {
        return Err(ErrorCode::StateUnavailable);
    }
    Ok(view)
}

/// Asks in the background at half the interval, so that under load nobody waits and one call serves all.
fn refresh_early(corridor: &Corridor, view: &FeedView, now: UnixMs) {
    let half_ms = corridor.config.revocations.poll_ms / 2;
    if now.since(view.synced_at) < half_ms || now.since(ASKED_AT.get()) < half_ms {
        return;
    }
    ASKED_AT.set(now);
    let (env, config) = (corridor.env.clone(), Rc::clone(&corridor.config));
    corridor.context.wait_until(async move {
        // Should it fail, the next request that finds the view too old asks for itself.
        let _ = sync(&env, &config, None, OBJECT).await;
    });
}

/// A view in which the object has looked for a key that nobody knows.
///
/// # Errors
/// `state_unavailable` when the object does not answer.
pub(crate) async fn with_key(corridor: &Corridor, kid: &Kid) -> Result<Rc<FeedView>, ErrorCode> {
    // Names of keys are free to invent: an isolate asks for one of them in a while, whatever strangers send. A key
    // that is genuinely new arrives with whichever question is asked first.
    let now = clock::now();
    if let Some(view) = present()
        && now.since(MISSED_AT.get()) < MISSING_PAUSE_MS
    {
        return Ok(view);
    }
    MISSED_AT.set(now);
    sync(&corridor.env, &corridor.config, Some(kid), FIRST_LOAD)
        .await
        .map_err(|_| ErrorCode::StateUnavailable)
}

/// A call of the one feed object.
fn call(url: String, body: Option<String>) -> StateCall {
    StateCall { kind: ObjectKind::Feed, name: "feed".to_owned(), url, body }
}

async fn sync(
    env: &Env,
    config: &EdgeConfig,
    missing: Option<&Kid>,
    limit: Duration,
) -> Result<Rc<FeedView>, budget::Failed> {
    let before = present();
    let query = SyncQuery {
        epoch: before.as_ref().map(|view| view.cursor.epoch.clone()).unwrap_or_default(),
        seq: before.as_ref().map_or(0, |view| view.cursor.seq),
        revision: before.as_ref().map_or(-1, |view| view.revision),
        keys_version: before.as_ref().map_or(0, |view| view.keys_version),
        missing: missing.cloned(),
    };
    let question = QUESTIONS.get() + 1;
    QUESTIONS.set(question);
    let asked = state::ask_at(env, limit, &call(query.print(), None), Repeatable::Yes).await?;
    let (answer, asked_at): (SyncAnswer, UnixMs) = asked;
    // Another request may have synced meanwhile, and what it learned must not be undone: the answer is applied to the
    // present view if that still stands where we asked from, and dropped if it has moved on.
    let now = clock::now();
    let newest = match (present(), before) {
        (Some(held), Some(from))
            if (&held.cursor, held.revision) == (&from.cursor, from.revision) && held.question < question =>
        {
            Rc::new(FeedView { question, ..held.take_in(answer, config, asked_at) })
        }
        // Moved on, or loaded by somebody else: only keys that are newer still count.
        (Some(held), _) => Rc::new(held.take_keys(answer, config, now)),
        (None, _) => Rc::new(FeedView { question, ..FeedView::blank().take_in(answer, config, asked_at) }),
    };
    VIEW.set(Some(Rc::clone(&newest)));
    Ok(newest)
}

/// What became of a push: where the edge stands now, and whether it has all that the batch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Up to here no ending is missing.
    pub(crate) position: Cursor,
    /// Whether the batch was taken.
    pub(crate) taken: bool,
}

/// A batch that the issuer pushes (RFC 8935). Taken, it counts in this isolate at once, and in the others with their next
/// question.
///
/// # Errors
/// `invalid_request` for whatever is not a batch for this edge; `state_unavailable`.
pub(crate) async fn push(corridor: &Corridor, token: String) -> Result<Standing, ErrorCode> {
    let config = &corridor.config;
    // Judged here first, whole: what is not the issuer's costs the one object nothing.
    let mut view = fresh(corridor, OnStateFailure::Closed).await?;
    let mut read = read_batch(&token, view.keys.as_ref(), config);
    if let Err(Refusal::UnknownKey(kid)) = &read {
        view = with_key(corridor, kid).await?;
        read = read_batch(&token, view.keys.as_ref(), config);
    }
    read.map_err(|_| ErrorCode::InvalidRequest)?;
    let call = call(PUSH_URL.to_owned(), Some(token));
    let standing = match state::ask(&corridor.env, OBJECT, &call, Repeatable::Yes).await {
        Ok(Pushed::Taken(position)) => Standing { position, taken: true },
        Ok(Pushed::Elsewhere(position)) => Standing { position, taken: false },
        Ok(Pushed::Refused) => return Err(ErrorCode::InvalidRequest),
        Ok(Pushed::NotStored) | Err(_) => return Err(ErrorCode::StateUnavailable),
    };
    learn(corridor, &standing.position).await?;
    Ok(standing)
}

/// Makes sure that this isolate has every ending up to a position: who is told so relies on it.
async fn learn(corridor: &Corridor, position: &Cursor) -> Result<(), ErrorCode> {
    // An answer that another one has overtaken is dropped, so that a second question may be needed.
    for _ in 0..3 {
        let Ok(view) = sync(&corridor.env, &corridor.config, None, OBJECT).await else { break };
        if view.cursor.epoch == position.epoch && view.known >= position.seq {
            return Ok(());
        }
    }
    // Then it must not judge by what it has, nor by an answer to a question of before.
    if let Some(view) = present() {
        let question = QUESTIONS.get();
        VIEW.set(Some(Rc::new(FeedView { synced_at: UnixMs(0), question, ..(*view).clone() })));
    }
    Err(ErrorCode::StateUnavailable)
}
