//! One object per deployment follows the issuer: its feed of endings by long poll, and its keys. Isolates ask it once
//! per poll interval. What it knows lies in its storage, so a restart while the issuer is down loses nothing.

mod follow;
mod memory;

use super::{answer, number, parameters, text};
use crate::clock;
use crate::config::EdgeConfig;
use follow::Follower;
use margrave_shared::event::Event;
use margrave_shared::id::Kid;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

/// What an isolate has, and what it misses.
#[derive(Debug, Clone)]
pub(crate) struct SyncQuery {
    /// The epoch it follows.
    pub(crate) epoch: String,
    /// The last event it has.
    pub(crate) seq: i64,
    /// The set of keys it has.
    pub(crate) keys_version: i64,
    /// A key that a token names and nobody knows.
    pub(crate) missing: Option<Kid>,
}

impl SyncQuery {
    /// The URL of the call.
    pub(crate) fn print(&self) -> String {
        format!(
            "https://feed/sync?epoch={}&seq={}&keys={}&missing={}",
            self.epoch,
            self.seq,
            self.keys_version,
            self.missing.as_ref().map_or("", Kid::as_str)
        )
    }

    fn read(request: &Request) -> worker::Result<Self> {
        let parameters = parameters(request)?;
        Ok(Self {
            epoch: text(&parameters, "epoch")?.to_owned(),
            seq: number(&parameters, "seq")?,
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
    /// The last event.
    pub(crate) seq: i64,
    /// Whether `events` are all that live, and replace what the isolate has.
    pub(crate) replaces: bool,
    /// The events that the isolate lacks.
    pub(crate) events: Vec<Event>,
    /// How long ago the issuer was last heard, in milliseconds.
    pub(crate) heard_ms_ago: i64,
    /// The keys, if the isolate has others.
    pub(crate) keys: Option<String>,
    /// Which set of keys this is.
    pub(crate) keys_version: i64,
    /// How long ago the keys were fetched; `None` when there are none.
    pub(crate) keys_age_ms: Option<i64>,
}

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

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        #[cfg(feature = "drill")]
        crate::drill::fail_as_told("feed").await?;
        let Some(follower) = &self.follower else { return Response::error("no configuration", 503) };
        let query = SyncQuery::read(&request)?;
        follower.catch_up(&self.state, query.missing.as_ref()).await;
        answer(&follower.since(&query, clock::now()))
    }
}
