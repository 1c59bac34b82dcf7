//! One object per deployment follows the issuer: its feed of endings by long poll, and its keys. Isolates ask it once
//! per poll interval. What it knows lies in its storage, so a restart while the issuer is down loses nothing.

mod follow;
mod memory;

use super::{answer, number, parameters, text};
use crate::clock;
use crate::config::EdgeConfig;
use follow::Follower;
pub(crate) use follow::read_batch;
use margrave_shared::event::Event;
use margrave_shared::id::Kid;
use margrave_shared::revocation::Cursor;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

/// What an isolate has, and what it misses.
#[derive(Debug, Clone)]
pub(crate) struct SyncQuery {
    /// The epoch it follows.
    pub(crate) epoch: String,
    /// The last event it has.
    pub(crate) seq: i64,
    /// The revision that it reads.
    pub(crate) revision: i64,
    /// The set of keys it has.
    pub(crate) keys_version: i64,
    /// A key that a token names and nobody knows.
    pub(crate) missing: Option<Kid>,
}

impl SyncQuery {
    /// The URL of the call.
    pub(crate) fn print(&self) -> String {
        format!(
            "https://feed/sync?epoch={}&seq={}&revision={}&keys={}&missing={}",
            self.epoch,
            self.seq,
            self.revision,
            self.keys_version,
            self.missing.as_ref().map_or("", Kid::as_str)
        )
    }

    fn read(request: &Request) -> worker::Result<Self> {
        let parameters = parameters(&request.url()?);
        Ok(Self {
            epoch: text(&parameters, "epoch")?.to_owned(),
            seq: number(&parameters, "seq")?,
            revision: number(&parameters, "revision")?,
            keys_version: number(&parameters, "keys")?,
            missing: Kid::parse(text(&parameters, "missing")?).ok(),
        })
    }
}

/// What the object says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SyncAnswer {
    /// The feed's epoch.
    pub(crate) epoch: String,
    /// The last event that was pulled.
    pub(crate) seq: i64,
    /// Up to here nothing is missing, thanks to pushes.
    pub(crate) known: i64,
    /// Counts what was taken back.
    pub(crate) revision: i64,
    /// Whether `events` are all that live, and replace what the isolate has.
    pub(crate) replaces: bool,
    /// The events that the isolate lacks.
    pub(crate) events: Vec<Event>,
    /// How long ago the issuer was last heard, in milliseconds.
    pub(crate) heard_ms_ago: i64,
    /// How far this clock is ahead of the issuer's, in seconds.
    #[serde(default)]
    pub(crate) skew_s: Option<i64>,
    /// The keys, if the isolate has others.
    pub(crate) keys: Option<String>,
    /// Which set of keys this is.
    pub(crate) keys_version: i64,
    /// How long ago the keys were fetched; `None` when there are none.
    pub(crate) keys_age_ms: Option<i64>,
}

/// What became of a pushed batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pushed {
    /// All of it is stored, and every isolate hears of it with its next question. Up to here nothing is missing.
    Taken(Cursor),
    /// It does not continue where the object stands, which is here.
    Elsewhere(Cursor),
    /// It is not the issuer's, not for this edge, or too old.
    Refused,
    /// The storage failed.
    NotStored,
}

/// Where a pushed batch goes.
pub(crate) const PUSH_URL: &str = "https://feed/push";

/// The object.
#[durable_object(fetch)]
pub struct FeedObject {
    state: State,
    follower: Option<Rc<Follower>>,
}

impl DurableObject for FeedObject {
    fn new(state: State, env: Env) -> Self {
        let follower = EdgeConfig::of(&env).map(|config| Rc::new(Follower::new(&state, env, config)));
        Self { state, follower }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "drill")]
        crate::drill::fail_as_told("feed").await?;
        let Some(follower) = &self.follower else { return Response::error("no configuration", 503) };
        if request.method() == Method::Post {
            let token = request.text().await?;
            return answer(&follower.push(&self.state, &token));
        }
        let query = SyncQuery::read(&request)?;
        follower.catch_up(&self.state, query.missing.as_ref()).await;
        answer(&follower.since(&query, clock::now()))
    }
}
