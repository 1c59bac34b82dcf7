//! Following the issuer: the long poll and the fetching of keys.
//!
//! Inside one object futures may be shared, so whoever comes while a first load is under way waits for it.

use super::memory::{LiveKeys, Memory, Pulled};
use super::{Pushed, SyncAnswer, SyncQuery};
use crate::budget::within;
use crate::clock;
use crate::config::EdgeConfig;
use crate::issuer::{self, IssuerCall};
use crate::log;
use margrave_shared::claims::CommonClaims;
use margrave_shared::event::{Batch, Ended};
use margrave_shared::event_log::NotTaken;
use margrave_shared::id::Kid;
use margrave_shared::jwk::KeySet;
use margrave_shared::jwk::set::MAX_SET_BYTES;
use margrave_shared::revocation::{Continuity, Cursor};
use margrave_shared::time::UnixMs;
use margrave_shared::token::{Expect, KeyLookup, Refusal, TokenKind, verify_signed};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use worker::{Delay, Env, State};

/// How long the issuer may hold a poll, at most.
const WAIT_S: i64 = 25;
/// The least pause between two polls, whatever the issuer answers.
const BREATH: Duration = Duration::from_millis(20);
/// How long the object goes on following after the last isolate asked.
const FOLLOW_MS: i64 = 60_000;
/// The pause after a poll that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How often everything is pulled after a contradiction, at most.
const REPAIRS: usize = 20;
/// The longest that an isolate waits for the first word of an issuer after a pause.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// How often who waits for the first word looks.
const LOOK: Duration = Duration::from_millis(10);
/// How far the clocks may differ before the log says so, in seconds.
const MAX_QUIET_SKEW_S: i64 = 5;
/// How often it says so, in milliseconds.
const SKEW_TOLD_EVERY_MS: i64 = 60_000;
/// The least pause between two fetches of keys for whatever reason, in milliseconds.
const KEYS_PAUSE_MS: i64 = 1000;

/// The object's work.
pub(super) struct Follower {
    env: Env,
    config: Rc<EdgeConfig>,
    memory: RefCell<Memory>,
    /// Whether the loop of polls runs.
    following: Cell<bool>,
    /// Whether its first word is still awaited: until then what we know may be older than it looks.
    awaiting_word: Cell<bool>,
    /// Whether everything is being pulled because of a contradiction.
    repairing: Cell<bool>,
    /// Whether a fetch of keys is under way.
    fetching: Cell<bool>,
    /// When the last fetch of keys was tried.
    keys_tried_at: Cell<UnixMs>,
    /// When the last fetch for an unknown key was tried.
    missing_tried_at: Cell<UnixMs>,
    /// When an isolate last asked.
    asked_at: Cell<UnixMs>,
    /// How far this clock is ahead of the issuer's, in seconds, as its last batch shows.
    skew_s: Cell<Option<i64>>,
    /// When the log last said that the clocks differ.
    skew_told_at: Cell<UnixMs>,
}

impl Follower {
    pub(super) fn new(state: &State, env: Env, config: Rc<EdgeConfig>) -> Self {
        Self {
            env,
            config,
            memory: RefCell::new(Memory::load(state)),
            following: Cell::new(false),
            awaiting_word: Cell::new(false),
            repairing: Cell::new(false),
            fetching: Cell::new(false),
            keys_tried_at: Cell::new(UnixMs(0)),
            missing_tried_at: Cell::new(UnixMs(0)),
            asked_at: Cell::new(UnixMs(0)),
            skew_s: Cell::new(None),
            skew_told_at: Cell::new(UnixMs(0)),
        }
    }

    /// What an isolate lacks.
    pub(super) fn since(&self, query: &SyncQuery, now: UnixMs) -> SyncAnswer {
        let answer = self.memory.borrow().since(query, now, self.config.revocations.has_feed());
        SyncAnswer { skew_s: self.skew_s.get(), ..answer }
    }

    /// Makes sure that keys and endings are as fresh as they can be now.
    pub(super) async fn catch_up(self: &Rc<Self>, state: &State, missing: Option<&Kid>) {
        let now = clock::now();
        self.asked_at.set(now);
        self.catch_up_keys(state, missing, now).await;
        if !self.config.revocations.has_feed() {
            return;
        }
        if !self.following.replace(true) {
            self.awaiting_word.set(true);
            let follower = Rc::clone(self);
            state.wait_until(async move { follower.follow().await });
        }
        // Nobody has followed for a while: the first word is awaited by all who come, so that an ending of that time
        // counts at once. Later polls are not.
        let patience = FIRST_WORD.as_millis() / LOOK.as_millis();
        for _ in 0..patience {
            if !self.awaiting_word.get() {
                return;
            }
            Delay::from(LOOK).await;
        }
    }

    /// Polls until no isolate has asked for a while.
    async fn follow(&self) {
        let wait_s = WAIT_S.min(self.config.revocations.max_stale_s / 3).max(0) as u64;
        let mut first = true;
        while clock::now().since(self.asked_at.get()) < FOLLOW_MS {
            let heard = self.poll(if first { 0 } else { wait_s }).await;
            first = first && heard.is_err();
            self.awaiting_word.set(false);
            Delay::from(if heard.is_ok() { BREATH } else { RETRY }).await;
        }
        self.following.set(false);
    }

    async fn catch_up_keys(self: &Rc<Self>, state: &State, missing: Option<&Kid>, now: UnixMs) {
        let fetched_at = self.memory.borrow().keys().map(|keys| keys.fetched_at);
        let known = missing.is_none_or(|kid| {
            self.memory.borrow().keys().is_some_and(|keys| keys.set.find_key(kid).is_some())
        });
        let paused = now.since(self.keys_tried_at.get()) >= KEYS_PAUSE_MS;
        let cooldown_ms = self.config.jwks.cooldown_s * 1000;
        match fetched_at {
            // Nothing can be judged without keys: the request waits.
            None if paused => self.fetch_keys(now).await,
            None => {}
            Some(_) if !known && now.since(self.missing_tried_at.get()) >= cooldown_ms => {
                self.missing_tried_at.set(now);
                self.fetch_keys(now).await;
            }
            // In the background before the set is stale, so that nobody waits.
            Some(at) if now.since(at) >= self.config.jwks.fresh_s * 800 && paused && !self.fetching.get() => {
                let follower = Rc::clone(self);
                state.wait_until(async move { follower.fetch_keys(now).await });
            }
            Some(_) => {}
        }
    }

    /// Fetches the keys; a set that cannot be right is not kept, and the last good one stays.
    async fn fetch_keys(&self, now: UnixMs) {
        self.keys_tried_at.set(now);
        self.fetching.set(true);
        let _guard = Fetching(&self.fetching);
        let call = async {
            let mut response = issuer::get(&self.env, &self.config, "/.well-known/jwks.json").await?;
            let declared =
                response.headers().get("content-length")?.and_then(|text| text.parse::<usize>().ok());
            if response.status_code() != 200 || declared.is_some_and(|length| length > MAX_SET_BYTES) {
                return Err(failed("keys"));
            }
            read_bounded(&mut response, MAX_SET_BYTES).await
        };
        match within(Duration::from_secs(5), call).await {
            Ok(bytes) => match KeySet::parse(&bytes) {
                Ok(set) => {
                    let text = String::from_utf8(bytes).unwrap_or_default();
                    if self.memory.borrow_mut().put_keys(text, set, clock::now()).is_err() {
                        log::error("the keys cannot be stored");
                    }
                }
                Err(refused) => {
                    log::warn(&format!("the issuer's keys are refused, the last good ones stay: {refused}"));
                }
            },
            Err(_) => log::warn("the issuer's keys cannot be fetched, the last good ones stay"),
        }
    }

    /// One poll, and as many pages as it takes to reach the head.
    async fn poll(&self, wait_s: u64) -> Result<(), ()> {
        let began = self.memory.borrow_mut().tick();
        let from = self.memory.borrow().pull_from();
        let mut wait_s = wait_s;
        let mut staged = Vec::new();
        let mut replaces = false;
        let mut cursor = from.clone();
        loop {
            let token = self.fetch_batch(&cursor, wait_s).await?;
            self.measure_skew(&token);
            let batch = match self.read_batch(&token) {
                Err(Refusal::UnknownKey(_)) => {
                    // The feed may be signed by a key that is newer than our set.
                    let now = clock::now();
                    if now.since(self.keys_tried_at.get()) >= KEYS_PAUSE_MS {
                        self.fetch_keys(now).await;
                    }
                    self.read_batch(&token)
                }
                other => other,
            };
            let batch = batch.map_err(|refusal| {
                log::warn(&format!("a batch of the feed is refused: {refusal}"));
            })?;
            match cursor.judge(&batch) {
                Continuity::Replaces => {
                    replaces = true;
                    staged.clear();
                }
                Continuity::Continues => {}
                // Two in a row are no gap but a contradiction.
                Continuity::Gap if cursor == Cursor::default() => return Err(()),
                Continuity::Gap => {
                    // From the beginning, at once.
                    cursor = Cursor::default();
                    wait_s = 0;
                    continue;
                }
            }
            let moved = batch.to > cursor.seq || batch.to >= batch.head;
            if !moved {
                return Err(());
            }
            cursor = Cursor { epoch: batch.epoch, seq: batch.to };
            staged.extend(batch.events);
            if batch.to >= batch.head {
                break;
            }
            wait_s = 0;
        }
        let retired = staged.iter().any(|event| matches!(event.ended, Ended::SigningKey { .. }));
        let now = clock::now();
        let pulled = Pulled { from, replaces, events: staged, cursor };
        self.memory.borrow_mut().advance(pulled, began, now).map_err(|error| {
            log::warn(&format!("what was polled is not taken: {error}"));
        })?;
        if retired {
            self.fetch_keys(now).await;
        }
        Ok(())
    }

    /// Takes in a pushed batch (RFC 8935).
    pub(super) fn push(self: &Rc<Self>, state: &State, token: &str) -> Pushed {
        let batch = match self.read_batch(token) {
            Ok(batch) => batch,
            Err(refusal) => {
                log::warn(&format!("a pushed batch is refused: {refusal}"));
                return Pushed::Refused;
            }
        };
        let now = clock::now();
        let to = batch.to;
        let taken = self.memory.borrow_mut().push(batch, now);
        let position = self.memory.borrow().position();
        match taken {
            Ok(Ok(new)) => {
                let retired = new.iter().any(|event| matches!(event.ended, Ended::SigningKey { .. }));
                if retired && now.since(self.keys_tried_at.get()) >= KEYS_PAUSE_MS {
                    let follower = Rc::clone(self);
                    state.wait_until(async move { follower.fetch_keys(now).await });
                }
                // Not what lies above this batch: that may be somebody else's word.
                Pushed::Taken(Cursor { seq: to.min(position.seq), ..position })
            }
            Ok(Err(why)) => {
                log::warn(&format!("a push is not taken: {why}"));
                if why == NotTaken::Contradiction && !self.repairing.replace(true) {
                    let follower = Rc::clone(self);
                    state.wait_until(async move { follower.repair().await });
                }
                // What a pull has confirmed, and no more.
                Pushed::Elsewhere(self.memory.borrow().cursor().clone())
            }
            Err(_) => Pushed::NotStored,
        }
    }

    /// Pulls everything, until it is done or the loop of polls has to do.
    async fn repair(&self) {
        for _ in 0..REPAIRS {
            if self.poll(0).await.is_ok() && !self.memory.borrow().is_contradicted() {
                break;
            }
            Delay::from(RETRY).await;
        }
        self.repairing.set(false);
    }

    async fn fetch_batch(&self, cursor: &Cursor, wait_s: u64) -> Result<String, ()> {
        let query = format!("epoch={}&after={}&wait_s={wait_s}", cursor.epoch, cursor.seq);
        let call =
            IssuerCall { method: "GET", path: "/v1/edge/events", query: &query, ..IssuerCall::default() };
        let fetched = async {
            let mut response = issuer::call(&self.env, &self.config, &call).await?;
            if response.status_code() != 200 {
                log::warn(&format!(
                    "the issuer refuses the feed with {}: is edge_id the one that `margrave edges add` printed, and \
                     EDGE_SIGNING_KEY the private half of the key that was added?",
                    response.status_code()
                ));
                return Err(failed("feed"));
            }
            read_bounded(&mut response, TokenKind::FeedBatch.max_bytes()).await
        };
        let bytes = within(Duration::from_secs(wait_s + 5), fetched).await.map_err(|_| ())?;
        String::from_utf8(bytes).map_err(|_| ())
    }

    /// A batch is signed when it is sent: what the clocks differ by shows in its `iat`, the good ones' and those that are
    /// refused for it.
    fn measure_skew(&self, token: &str) {
        let memory = self.memory.borrow();
        let signed = verify_signed(token, TokenKind::FeedBatch, &LiveKeys(&memory));
        let Some(claims) = signed.ok().and_then(|(json, _)| CommonClaims::from_json(&json).ok()) else {
            return;
        };
        let now = clock::now();
        let skew_s = now.seconds() - claims.iat;
        self.skew_s.set(Some(skew_s));
        if skew_s.abs() > MAX_QUIET_SKEW_S && now.since(self.skew_told_at.get()).abs() > SKEW_TOLD_EVERY_MS {
            self.skew_told_at.set(now);
            log::warn(&format!(
                "ALARM: the clock of this edge is {skew_s} s ahead of the issuer's; at 30 s they refuse each other"
            ));
        }
    }

    fn read_batch(&self, token: &str) -> Result<Batch, Refusal> {
        let memory = self.memory.borrow();
        read_batch(token, &LiveKeys(&memory), &self.config)
    }
}

/// Reads a batch of the feed: signed by the issuer, for this edge, now.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn read_batch(token: &str, keys: &impl KeyLookup, config: &EdgeConfig) -> Result<Batch, Refusal> {
    let (json, _) = verify_signed(token, TokenKind::FeedBatch, keys)?;
    let audiences = [config.edge_id.to_string()];
    let expect = Expect { issuer: &config.issuer, audiences: &audiences, now: clock::now(), max_life_s: 300 };
    expect.check(&CommonClaims::from_json(&json)?)?;
    Batch::from_json(&json).map_err(|_| Refusal::NotJson)
}

/// Says that no fetch is under way any more, even if the fetch is given up.
struct Fetching<'a>(&'a Cell<bool>);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn failed(what: &str) -> worker::Error {
    worker::Error::RustError(what.to_owned())
}

async fn read_bounded(response: &mut worker::Response, max: usize) -> worker::Result<Vec<u8>> {
    use futures_util::StreamExt as _;
    let mut stream = response.stream()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > max {
            return Err(failed("too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
