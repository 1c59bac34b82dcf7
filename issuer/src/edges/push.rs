//! Endings are pushed to the edges as they happen (RFC 8935, batches as in RFC 8417). A push is never the only way: every
//! edge pulls as well, so that what was pushed in vain is late and not lost.
//!
//! Every process pushes what it finds new in the feed. An edge may hear of an ending twice, which changes nothing. What
//! counts is where the edge says that it stands, not what was sent.

use super::{find_edges, store};
use crate::app::App;
use crate::failure::Failure;
use crate::revocations::batch::batch_after;
use crate::revocations::{renew_if_behind, store::find_head};
use margrave_shared::header::{FEED_LATER, FEED_POSITION};
use margrave_shared::id::EdgeId;
use margrave_shared::revocation::Cursor;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often a process looks for endings of other processes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After how many looks the edges are listed anew.
const LIST_EVERY: u32 = 8;
/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses after pushes in vain, the last one again and again. By then it is written down: the edge's pull has to do.
const PAUSES: [Duration; 8] = {
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
    [ms(250), ms(500), ms(1000), ms(2000), ms(4000), ms(8000), ms(15_000), ms(30_000)]
};

/// What is pushed to one edge.
struct Line {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Pushes until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut lines: HashMap<EdgeId, Line> = HashMap::new();
    let (heads, _) = watch::channel(Cursor::default());
    for count in 0_u32.. {
        let news = app.feed.wait();
        let looked = tokio::time::timeout(LOOK_TIMEOUT, async {
            look(&app, &heads).await?;
            if count % LIST_EVERY == 0 { list(&app, &mut lines, &heads).await } else { Ok(()) }
        });
        match looked.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the feed and the edges cannot be read"),
            Err(_) => tracing::error!("the feed and the edges cannot be read in time"),
        }
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tells the lines how far the feed is.
async fn look(app: &App, heads: &watch::Sender<Cursor>) -> Result<(), Failure> {
    let head = find_head(&mut app.db.glance().await?).await?;
    let known = heads.borrow().clone();
    if head.epoch == known.epoch && head.seq < known.seq {
        return renew_if_behind(app, &known).await;
    }
    heads.send_if_modified(|known| {
        let moved = *known != head;
        *known = head;
        moved
    });
    Ok(())
}

/// Starts what is missing, and ends what is pushed to edges that are no more or have moved.
async fn list(
    app: &Arc<App>,
    lines: &mut HashMap<EdgeId, Line>,
    heads: &watch::Sender<Cursor>,
) -> Result<(), Failure> {
    let edges = find_edges(&mut app.db.glance().await?).await?;
    lines.retain(|id, line| {
        let stays = edges.iter().any(|edge| edge.id == *id && edge.push_url.as_deref() == Some(&line.url));
        stays && !line.task.is_finished()
    });
    app.propagation.keep(|id| lines.contains_key(id));
    for edge in edges {
        if let (Some(url), false) = (edge.facts.push_url, lines.contains_key(&edge.id)) {
            let task =
                tokio::spawn(push_to(Arc::clone(app), edge.id.clone(), url.clone(), heads.subscribe()));
            lines.insert(edge.id, Line { url, task });
        }
    }
    Ok(())
}

/// Why a push was in vain.
enum InVain {
    /// The edge's doing, or that of the way to it.
    Theirs(String),
    /// Ours.
    Ours(Failure),
}

async fn push_to(app: Arc<App>, edge: EdgeId, url: String, mut heads: watch::Receiver<Cursor>) {
    let mut position: Option<Cursor> = None;
    let mut in_vain = 0;
    loop {
        let head = heads.borrow_and_update().clone();
        // Empty before the first look.
        if head.epoch.is_empty() || position.as_ref().is_some_and(|stands| stands.covers(&head)) {
            if heads.changed().await.is_err() {
                return;
            }
            continue;
        }
        // Nobody knows yet where it stands: a batch of nothing asks.
        let from =
            position.clone().filter(|stands| stands.epoch == head.epoch).unwrap_or_else(|| head.clone());
        let why = match deliver(&app, &edge, &url, &from).await {
            Ok(answer) => match judge(&app, position.as_ref(), &answer.position).await {
                Ok(moves) => {
                    if answer.everywhere {
                        app.propagation.stands(&edge, answer.position.clone());
                    }
                    let text = answer.position.to_string();
                    position = Some(answer.position);
                    if moves {
                        if in_vain > 0 {
                            tracing::info!(%edge, "the edge takes pushes again");
                        }
                        in_vain = 0;
                        continue;
                    }
                    format!("it stays at {text}")
                }
                Err(error) => error.to_string(),
            },
            Err(InVain::Theirs(why)) => why,
            Err(InVain::Ours(error)) => {
                tracing::error!(%edge, %error, "a push cannot be made");
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        app.propagation.silent(&edge);
        if in_vain == 0 {
            tracing::warn!(%edge, why, "the edge does not take a push; it is tried again");
        }
        in_vain += 1;
        if in_vain >= PAUSES.len() {
            let stopped_at = position.as_ref().map_or(0, |stands| stands.seq);
            give_up(&app, &edge, stopped_at, head.seq, in_vain, &why).await;
        }
        let pause = PAUSES.get(in_vain - 1).or(PAUSES.last()).copied().unwrap_or_default();
        tokio::time::sleep(pause).await;
    }
}

/// Whether an edge has moved on. One that is further than the feed is mistaken, or the feed was longer once: its pull will
/// tell it.
async fn judge(app: &App, before: Option<&Cursor>, stands: &Cursor) -> Result<bool, Failure> {
    let head = find_head(&mut app.db.glance().await?).await?;
    if stands.epoch == head.epoch && stands.seq > head.seq {
        return Err(Failure::Internal("it is further than the feed"));
    }
    let same_epoch = before.filter(|before| before.epoch == stands.epoch);
    Ok(same_epoch.map_or(before.is_none() || stands.epoch == head.epoch, |before| stands.seq > before.seq))
}

/// What an edge answers.
struct Standing {
    /// Up to where it misses nothing.
    position: Cursor,
    /// Whether that is so in all its isolates.
    everywhere: bool,
}

/// Posts what came after a place; gives where the edge says that it stands now.
async fn deliver(app: &App, edge: &EdgeId, url: &str, after: &Cursor) -> Result<Standing, InVain> {
    let batch = batch_after(app, edge, after).await.map_err(InVain::Ours)?;
    let answer = app.fetcher.post(url, "application/secevent+jwt", batch).await;
    let answer = answer.map_err(|error| InVain::Theirs(error.to_string()))?;
    let position = answer.headers.get(FEED_POSITION).and_then(|value| Cursor::parse(value.to_str().ok()?));
    match (answer.status, position) {
        // RFC 8935 §2.2: accepted is 202. With 409 it says from where it would be.
        (202 | 409, Some(position)) => {
            let everywhere = answer.status == 202 && !answer.headers.contains_key(FEED_LATER);
            Ok(Standing { position, everywhere })
        }
        (status, _) => Err(InVain::Theirs(format!("it answers {status}"))),
    }
}

async fn give_up(app: &App, edge: &EdgeId, from: i64, to: i64, attempts: usize, error: &str) {
    tracing::error!(%edge, from, to, attempts, error, "pushes are in vain; the edge has to pull");
    let letter = store::DeadLetter {
        edge_id: edge.clone(),
        from,
        to,
        at: app.clock.now(),
        attempts: attempts as i64,
        error: error.to_owned(),
    };
    let kept = async {
        let mut tx = app.db.begin().await?;
        store::put_dead_letter(&mut tx, &letter).await?;
        tx.commit().await
    };
    if let Err(error) = kept.await {
        tracing::error!(%error, "a dead letter cannot be kept");
    }
}
