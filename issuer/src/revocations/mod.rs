//! The feed of endings: written in the transaction that ends something, numbered densely in commit order.

pub(crate) mod batch;
pub(crate) mod store;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{Db, StorageError, Tx};
use margrave_shared::event::Ended;
use margrave_shared::id::uuid_v4;
use margrave_shared::revocation::remembered_until;
use margrave_shared::time::UnixMs;
use tokio::sync::Notify;

/// Wakes the long polls of this process; other processes look at the counter.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    news: Notify,
}

impl Feed {
    /// Tells waiting polls to look.
    pub(crate) fn notify(&self) {
        self.news.notify_waiters();
    }

    /// Waits for news of this process.
    pub(crate) async fn wait(&self) {
        self.news.notified().await;
    }
}

/// Publishes an ending in the transaction that made it. Call [`Feed::notify`] after the commit.
pub(crate) async fn publish(app: &App, tx: &mut Tx, ended: &Ended, now: UnixMs) -> Result<i64, Failure> {
    let until_s = remembered_until(ended, now, app.token_config.longest_s());
    Ok(store::insert_event(tx, ended, until_s, now).await?)
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

/// Makes the feed's counter if it is not there: its epoch is random.
pub(crate) async fn ensure(db: &Db, epoch: &str) -> Result<(), StorageError> {
    let mut tx = db.begin().await?;
    store::ensure_feed(&mut tx, epoch).await?;
    tx.commit().await
}
