//! The sealer: one process at a time gives rows their places in the chain, and signs its end.

use super::chain::{Chain, GONE};
use super::chain_store;
use crate::app::App;
use crate::failure::Failure;
use crate::storage::{StorageError, Tx};
use margrave_shared::audit::{Head, link};
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use std::sync::Arc;
use std::time::Duration;

/// How often a process looks whether rows wait.
const EVERY: Duration = Duration::from_millis(400);

/// The most rows of one transaction; three parameters each, and a statement has 32,766.
const MOST: i64 = 2_000;

/// How often the end of the chain is told to the log, which is kept elsewhere.
const TOLD_EVERY_MS: i64 = 60_000;

/// How often the log says that the chain cannot go on.
const ALARM_EVERY_MS: i64 = 60_000;

/// Puts the first head into a database that has just got its root key, and so never again: whoever takes head and numbers away later gets
/// no new chain.
///
/// # Errors
/// The database's.
pub(crate) async fn begin_chain(tx: &mut Tx, root: &SecretKey, now: UnixMs) -> Result<(), StorageError> {
    chain_store::start(tx, &Head::start(now).sign(&Chain::new(root).key)).await
}

/// Seals until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    let (mut told_at, mut alarmed_at) = (UnixMs(0), UnixMs(0));
    loop {
        tokio::time::sleep(EVERY).await;
        let now = app.clock.now();
        let sealed = async {
            seal_some(&app).await?;
            watch(&app).await
        };
        match sealed.await {
            Ok(head) if now.since(told_at).abs() >= TOLD_EVERY_MS => {
                told_at = now;
                tracing::info!(head = head.print(), "audit sealed");
            }
            Ok(_) => {}
            Err(error) => {
                if now.since(alarmed_at).abs() >= ALARM_EVERY_MS {
                    alarmed_at = now;
                    tracing::error!(%error, "the audit is not being sealed");
                }
            }
        }
    }
}

/// Looks at the head, whoever has sealed last, and remembers it: a process that runs is a witness that no database can silence.
pub(super) async fn watch(app: &App) -> Result<Head, Failure> {
    let chain = app.audit.chain();
    // Before the head is read: meanwhile another task of this process may seal more.
    let last = chain.last();
    let mut tx = app.db.glance().await?;
    match chain_store::find_head(&mut tx).await? {
        Some(signed) => {
            let head = chain.check(&mut tx, &signed, last).await?;
            chain.remember(head);
            Ok(head)
        }
        None => Err(Failure::Internal(GONE)),
    }
}

/// What was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// How many rows.
    pub(crate) rows: usize,
    /// The end of the chain now.
    pub(crate) head: Head,
}

/// Seals what waits. What comes meanwhile is left for the next time: whoever commits much would find the head locked again and again, and
/// leave all the more to the sealer.
///
/// # Errors
/// [`Failure::Internal`] where the chain's end is not as this issuer has left it: going on would cover that up. Then
/// `margrave audit verify` says what is wrong.
pub(crate) async fn seal_some(app: &App) -> Result<Sealed, Failure> {
    let mut total = 0;
    let mut head = Head::start(UnixMs(0));
    while chain_store::is_waiting(&mut app.db.glance().await?).await? {
        let sealed = seal_batch(app).await?;
        total += sealed.rows;
        head = sealed.head;
        if (sealed.rows as i64) < MOST {
            break;
        }
    }
    Ok(Sealed { rows: total, head })
}

async fn seal_batch(app: &App) -> Result<Sealed, Failure> {
    let (now, chain) = (app.clock.now(), app.audit.chain());
    let mut tx = app.db.begin_long().await?;
    let signed = chain_store::lock_head(&mut tx).await?.ok_or(Failure::Internal(GONE))?;
    let mut head = chain.check_locked(&mut tx, &signed).await?;
    let waiting = chain_store::find_waiting(&mut tx, None, MOST).await?;
    let mut rows = Vec::with_capacity(waiting.len());
    for row in waiting {
        let row = row.into_row();
        head = Head { seq: head.seq + 1, hash: link(&head.hash, head.seq + 1, &row), at: now };
        rows.push((row.id, head.seq, head.hash));
    }
    if rows.is_empty() {
        return Ok(Sealed { rows: 0, head });
    }
    if chain_store::update_sealed(&mut tx, &rows).await? != rows.len() as u64 {
        return Err(Failure::Internal("audit rows changed while they were sealed"));
    }
    chain_store::update_head(&mut tx, &head.sign(&chain.key)).await?;
    tx.commit().await?;
    chain.remember(head);
    Ok(Sealed { rows: rows.len(), head })
}
