//! The feed of endings: written in the transaction that ends something, numbered densely in commit order.

pub(crate) mod batch;
mod propagation;
pub(crate) mod store;

pub(crate) use propagation::Propagation;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{Db, StorageError, Tx};
use margrave_shared::event::Ended;
use margrave_shared::id::uuid_v4;
use margrave_shared::revocation::{Cursor, RevocationSet, remembered_until};
use margrave_shared::time::UnixMs;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Wakes the long polls of this process; other processes look at the counter.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    news: Notify,
    stopping: AtomicBool,
}

impl Feed {
    /// Tells waiting polls to look.
    pub(crate) fn notify(&self) {
        self.news.notify_waiters();
    }

    /// Lets waiting polls end with what they have: this process stops.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    /// Whether this process stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// For news of this process, from this call on.
    pub(crate) fn wait(&self) -> Notified<'_> {
        self.news.notified()
    }
}

/// Publishes an ending in the transaction that made it, and gives its place. Call [`Feed::notify`] after the commit.
pub(crate) async fn publish(app: &App, tx: &mut Tx, ended: &Ended, now: UnixMs) -> Result<Cursor, Failure> {
    let until_s = remembered_until(ended, now, app.token_config.longest_s());
    let place = store::insert_event(tx, ended, until_s, now).await?;
    // Commands publish too, and nobody waits for theirs.
    let _ = LAST_ENDING.try_with(|last| last.replace(Some(place.clone())));
    Ok(place)
}

/// Publishes many endings at once.
pub(crate) async fn publish_all(app: &App, tx: &mut Tx, ended: &[Ended], now: UnixMs) -> Result<(), Failure> {
    let until_s = |ended: &Ended| remembered_until(ended, now, app.token_config.longest_s());
    let events: Vec<(&Ended, i64)> = ended.iter().map(|ended| (ended, until_s(ended))).collect();
    if let Some(place) = store::insert_events(tx, &events, now).await? {
        let _ = LAST_ENDING.try_with(|last| last.replace(Some(place)));
    }
    Ok(())
}

tokio::task_local! {
    static LAST_ENDING: RefCell<Option<Cursor>>;
}

/// Runs what may end something; gives the place of the last ending that it published.
pub(crate) async fn noting_endings<T>(work: impl Future<Output = T>) -> (T, Option<Cursor>) {
    let noting = async move {
        let done = work.await;
        (done, LAST_ENDING.with(RefCell::take))
    };
    LAST_ENDING.scope(RefCell::default(), noting).await
}

/// The feed's epoch.
pub(crate) async fn feed_epoch(tx: &mut Tx) -> Result<String, StorageError> {
    Ok(store::find_head(tx).await?.epoch)
}

/// All endings that can still concern a token.
pub(crate) async fn live_endings(tx: &mut Tx, now: UnixMs) -> Result<RevocationSet, StorageError> {
    let mut endings = RevocationSet::default();
    for event in store::find_after(tx, 0, now, i64::MAX).await? {
        endings.apply(&event);
    }
    Ok(endings)
}

/// Gives the feed a new epoch: every edge loads everything anew. To be done after a restore, since the numbers that
/// follow have been given out before.
pub(crate) async fn renew(app: &App, caller: &Caller) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    store::update_epoch(&mut tx, &uuid_v4(app.entropy.bytes())).await?;
    let entry = Entry::done("feed.renew").actor("operator");
    app.audit.write(&mut tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// Gives the feed a new epoch if it is shorter than somebody has seen it: after a restore, or when a replica took over that
/// lagged behind. One statement that writes, so that it is the database itself that is asked, and done once.
pub(crate) async fn renew_if_behind(app: &App, seen: &Cursor) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    if !store::update_epoch_behind(&mut tx, &uuid_v4(app.entropy.bytes()), seen).await? {
        return Ok(());
    }
    tracing::error!(%seen, "the feed is shorter than it was; every edge loads it anew");
    let entry = Entry::done("feed.renew").actor("system");
    app.audit.write(&mut tx, entry, &Caller::default(), app.clock.now(), app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// Makes the feed's counter if it is not there: its epoch is random.
pub(crate) async fn ensure(db: &Db, epoch: &str) -> Result<(), StorageError> {
    let mut tx = db.begin().await?;
    store::ensure_feed(&mut tx, epoch).await?;
    tx.commit().await
}
