//! One signed batch of the feed, and the long poll that waits for it.

use super::store;
use crate::app::App;
use crate::failure::Failure;
use margrave_shared::event::{Batch, MAX_PUSH_EVENTS};
use margrave_shared::id::{EdgeId, TokenId};
use margrave_shared::revocation::Cursor;
use margrave_shared::token::TokenKind;
use serde::Serialize;
use std::time::Duration;

/// The most events in one batch: with about 100 bytes each a batch stays below half a megabyte.
const MAX_EVENTS: i64 = 4000;

/// How often a waiting poll looks at the counter for endings of other processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A signed batch's life in seconds.
const BATCH_LIFE_S: i64 = 120;

#[derive(Serialize)]
struct BatchClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: TokenId,
    #[serde(flatten)]
    batch: Batch,
}

/// What a reader asks for.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    /// The epoch it follows; another one than ours = everything that lives.
    pub(crate) epoch: String,
    /// The last number it has.
    pub(crate) after: i64,
    /// How long it waits for news, in seconds, at most 25.
    pub(crate) wait_s: u64,
}

/// Waits for news and signs them for one edge. Without news the batch is empty: it says that the feed is fresh.
pub(crate) async fn next_batch(app: &App, edge: &EdgeId, poll: &Poll) -> Result<String, Failure> {
    let wait = Duration::from_secs(poll.wait_s.min(25));
    let waiting = tokio::time::sleep(wait);
    tokio::pin!(waiting);
    let batch = loop {
        let news = app.feed.wait();
        let (batch, continues) = read(app, poll, MAX_EVENTS).await?;
        let news_now = !continues || !batch.events.is_empty() || batch.to > poll.after;
        if wait.is_zero() || news_now || waiting.is_elapsed() || app.feed.is_stopping() {
            break batch;
        }
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = &mut waiting => {}
        }
    };
    sign(app, edge, batch)
}

/// What came after a place, signed for one edge: for pushing, so it waits for nothing and is short.
pub(crate) async fn batch_after(app: &App, edge: &EdgeId, place: &Cursor) -> Result<String, Failure> {
    let poll = Poll { epoch: place.epoch.clone(), after: place.seq, wait_s: 0 };
    let (batch, _) = read(app, &poll, MAX_PUSH_EVENTS).await?;
    sign(app, edge, batch)
}

fn sign(app: &App, edge: &EdgeId, batch: Batch) -> Result<String, Failure> {
    let now = app.clock.now().seconds();
    let claims = BatchClaims {
        iss: &app.public_url,
        aud: edge.as_str(),
        iat: now,
        exp: now + BATCH_LIFE_S,
        jti: TokenId::from_random(app.entropy.bytes()),
        batch,
    };
    app.keyring.signer()?.sign(TokenKind::FeedBatch, &claims)
}

/// The batch, and whether it continues where the reader stands.
async fn read(app: &App, poll: &Poll, most: i64) -> Result<(Batch, bool), Failure> {
    let mut tx = app.db.read().await?;
    let Cursor { epoch, seq: head } = store::find_head(&mut tx).await?;
    let continues = poll.epoch == epoch && (0..=head).contains(&poll.after);
    let from = if continues { poll.after } else { 0 };
    let events = if from == head {
        Vec::new()
    } else {
        store::find_after(&mut tx, from, app.clock.now(), most).await?
    };
    // A full batch ends at its last event, any other at the head: what lies between is dead.
    let to = if events.len() as i64 == most { events.last().map_or(head, |e| e.seq) } else { head };
    // On PostgreSQL the head may have moved between the two statements.
    let to = events.last().map_or(to, |last| to.max(last.seq));
    Ok((Batch { epoch, from, to, head: head.max(to), events }, continues))
}
