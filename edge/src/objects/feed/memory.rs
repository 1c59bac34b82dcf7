//! What the feed object knows, in memory and in its storage.

use super::{SyncAnswer, SyncQuery};
use margrave_shared::event::{Batch, Ended, Event};
use margrave_shared::event_log::{EventLog, NotTaken, Tick};
use margrave_shared::id::Kid;
use margrave_shared::jwk::KeySet;
use margrave_shared::revocation::Cursor;
use margrave_shared::time::UnixMs;
use margrave_shared::token::KeyLookup;
use serde::Deserialize;
use worker::{SqlStorage, State};

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS events (seq TEXT PRIMARY KEY, event TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
];
const ALL_EVENTS: &str = "SELECT event AS value FROM events";
const PUT_EVENT: &str =
    "INSERT INTO events (seq, event) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET event = excluded.event";
const DELETE_EVENTS: &str = "DELETE FROM events";
const DELETE_EVENT: &str = "DELETE FROM events WHERE seq = ?";
const FACT: &str = "SELECT value FROM facts WHERE name = ?";
const PUT_FACT: &str =
    "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

#[derive(Deserialize)]
struct ValueRow {
    value: String,
}

/// A set of keys, as fetched.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The set's text.
    pub(super) text: String,
    /// The set, read.
    pub(super) set: KeySet,
    /// When it was fetched.
    pub(super) fetched_at: UnixMs,
}

/// What the object knows.
#[derive(Debug)]
pub(super) struct Memory {
    sql: SqlStorage,
    log: EventLog,
    keys: Option<Keys>,
    /// Counts the sets of this instance; a restart begins at the time of the fetch, so that no two sets share one.
    keys_version: i64,
    /// When the issuer was last heard.
    pub(super) heard_at: UnixMs,
    /// Pulls begun and pushes taken.
    ticks: Tick,
    /// When what is known was contradicted: until a pull that began later, pulls ask for everything.
    contradicted_at: Option<Tick>,
    /// When the last pull began that was taken in.
    pull_began: Tick,
}

/// What a poll gave.
pub(super) struct Pulled {
    /// From where it asked.
    pub(super) from: Cursor,
    /// Whether this is everything that lives.
    pub(super) replaces: bool,
    /// The events.
    pub(super) events: Vec<Event>,
    /// How far they go.
    pub(super) cursor: Cursor,
}

impl Memory {
    /// Reads the storage. What cannot be read is fetched anew.
    pub(super) fn load(state: &State) -> Self {
        let sql = state.storage().sql();
        for table in TABLES {
            let _ = sql.exec(table, None);
        }
        let fact = |name: &str| {
            let rows: Vec<ValueRow> = sql.exec(FACT, vec![name.into()]).ok()?.to_array().ok()?;
            rows.into_iter().next().map(|row| row.value)
        };
        let number = |name: &str| fact(name).and_then(|text| text.parse::<i64>().ok());
        let rows: worker::Result<Vec<ValueRow>> =
            sql.exec(ALL_EVENTS, None).and_then(|cursor| cursor.to_array());
        let readable = rows.is_ok();
        let rows = rows.unwrap_or_default();
        let events: Vec<Event> =
            rows.iter().filter_map(|row| serde_json::from_str(&row.value).ok()).collect();
        let keys = match (fact("keys"), number("keys_fetched_at")) {
            (Some(text), Some(at)) => {
                KeySet::parse(text.as_bytes()).ok().map(|set| Keys { text, set, fetched_at: UnixMs(at) })
            }
            _ => None,
        };
        // An event that cannot be read would be missing: then everything is loaded anew.
        let whole = readable && events.len() == rows.len();
        let cursor = match (whole, fact("epoch"), number("seq")) {
            (true, Some(epoch), Some(seq)) if !epoch.is_empty() => Cursor { epoch, seq },
            _ => Cursor::default(),
        };
        if !whole {
            // Or a row that cannot be read would stay.
            let _ = sql.exec(DELETE_EVENTS, None);
        }
        // No instance counts so far, so that none repeats what another one said.
        let revision = number("revision").unwrap_or(0) + 1_000_000;
        let _ = sql.exec(PUT_FACT, vec!["revision".into(), revision.to_string().into()]);
        Self {
            log: EventLog::new(cursor, events, revision),
            keys_version: keys.as_ref().map_or(0, |keys| keys.fetched_at.0),
            keys,
            heard_at: UnixMs(number("heard_at").unwrap_or(0)),
            ticks: 0,
            contradicted_at: None,
            pull_began: 0,
            sql,
        }
    }

    fn put_fact(&self, name: &str, value: &str) -> worker::Result<()> {
        self.sql.exec(PUT_FACT, vec![name.into(), value.into()]).map(|_| ())
    }

    /// The keys.
    pub(super) const fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Keeps a good set of keys.
    pub(super) fn put_keys(&mut self, text: String, set: KeySet, now: UnixMs) -> worker::Result<()> {
        self.put_fact("keys", &text)?;
        self.put_fact("keys_fetched_at", &now.0.to_string())?;
        if self.keys.as_ref().is_none_or(|keys| keys.text != text) {
            self.keys_version = now.0.max(self.keys_version + 1);
        }
        self.keys = Some(Keys { text, set, fetched_at: now });
        Ok(())
    }

    /// The issuer was heard, and has said this, to a poll that began at `began` and asked from `from`. What has moved since
    /// then was not asked about: nothing happens.
    pub(super) fn advance(&mut self, pulled: Pulled, began: Tick, now: UnixMs) -> worker::Result<()> {
        let Pulled { from, replaces, events, cursor } = pulled;
        if from != self.pull_from() || began < self.pull_began {
            return Err(worker::Error::RustError("another poll was faster".to_owned()));
        }
        let change = self.log.pull(replaces, events, cursor, began, now);
        // Stored first. Should it fail half way, a restart finds no epoch, or what only looks pushed: both mend themselves.
        if replaces {
            self.put_fact("epoch", "")?;
        }
        self.put_events(&change.new)?;
        self.delete_events(&change.gone)?;
        if replaces || change.cursor != *self.log.cursor() {
            self.put_fact("seq", &change.cursor.seq.to_string())?;
            self.put_fact("epoch", &change.cursor.epoch)?;
        }
        self.put_fact("heard_at", &now.0.to_string())?;
        self.heard_at = now;
        self.pull_began = began;
        // A pull that began before the contradiction has not looked at it.
        self.contradicted_at = self.contradicted_at.filter(|at| *at > began);
        self.log.apply(change);
        let dead = self.log.forget_dead(now);
        self.delete_events(&dead)
    }

    /// The issuer has pushed this. It moves no cursor, and does not count as having been heard: who replays old pushes
    /// must not make a silent feed look alive. Gives what is new.
    pub(super) fn push(&mut self, batch: Batch, now: UnixMs) -> worker::Result<Result<Vec<Event>, NotTaken>> {
        let at = self.tick();
        let change = match self.log.push(batch, at, now) {
            Ok(change) => change,
            Err(not_taken) => {
                if not_taken == NotTaken::Contradiction {
                    self.contradicted_at = Some(at);
                }
                return Ok(Err(not_taken));
            }
        };
        self.put_events(&change.new)?;
        let new = change.new.clone();
        self.log.apply(change);
        let dead = self.log.forget_dead(now);
        self.delete_events(&dead)?;
        Ok(Ok(new))
    }

    /// The next beginning of a pull, or push.
    pub(super) fn tick(&mut self) -> Tick {
        self.ticks += 1;
        self.ticks
    }

    /// From where the next pull asks.
    pub(super) fn pull_from(&self) -> Cursor {
        if self.is_contradicted() { Cursor::default() } else { self.log.cursor().clone() }
    }

    /// Whether what is known was contradicted, and no pull has decided since.
    pub(super) const fn is_contradicted(&self) -> bool {
        self.contradicted_at.is_some()
    }

    /// How far it has pulled.
    pub(super) const fn cursor(&self) -> &Cursor {
        self.log.cursor()
    }

    /// Up to where nothing is missing.
    pub(super) fn position(&self) -> Cursor {
        Cursor { epoch: self.log.cursor().epoch.clone(), seq: self.log.known() }
    }

    fn put_events(&self, events: &[Event]) -> worker::Result<()> {
        for event in events {
            let text = serde_json::to_string(event).unwrap_or_default();
            self.sql.exec(PUT_EVENT, vec![event.seq.to_string().into(), text.into()])?;
        }
        Ok(())
    }

    fn delete_events(&self, numbers: &[i64]) -> worker::Result<()> {
        for seq in numbers {
            self.sql.exec(DELETE_EVENT, vec![seq.to_string().into()])?;
        }
        Ok(())
    }

    /// Whether a key is refused for ever. A pushed event does not say so alone: by a forged one the issuer could be shut
    /// out together with the cure.
    pub(super) fn is_retired(&self, kid: &Kid) -> bool {
        self.log
            .pulled()
            .any(|event| matches!(&event.ended, Ended::SigningKey { kid: ended } if ended == kid))
    }

    /// What an isolate lacks.
    pub(super) fn since(&self, query: &SyncQuery, now: UnixMs, has_feed: bool) -> SyncAnswer {
        let cursor = Cursor { epoch: query.epoch.clone(), seq: query.seq };
        let (replaces, events) = self.log.since(&cursor, query.revision);
        SyncAnswer {
            epoch: self.log.cursor().epoch.clone(),
            seq: self.log.cursor().seq,
            known: self.log.known(),
            revision: self.log.revision(),
            replaces,
            events,
            skew_s: None,
            heard_ms_ago: if has_feed { now.since(self.heard_at).max(0) } else { 0 },
            keys: self
                .keys
                .as_ref()
                .filter(|_| query.keys_version != self.keys_version)
                .map(|keys| keys.text.clone()),
            keys_version: self.keys_version,
            keys_age_ms: self.keys.as_ref().map(|keys| now.since(keys.fetched_at).max(0)),
        }
    }
}

/// The keys that may verify a batch: none that was retired at once.
pub(super) struct LiveKeys<'a>(pub(super) &'a Memory);

impl KeyLookup for LiveKeys<'_> {
    fn find_key(&self, kid: &Kid) -> Option<&ed25519_dalek::VerifyingKey> {
        if self.0.is_retired(kid) {
            return None;
        }
        self.0.keys.as_ref()?.set.find_key(kid)
    }
}
