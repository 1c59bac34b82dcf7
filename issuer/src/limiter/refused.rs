//! How often direct clients were refused, by bucket: counted in memory, and written to the audit once a minute, one entry for each bucket. A
//! flood costs no rows.

use crate::app::App;
use crate::audit::Entry;
use crate::http::context::Caller;
use crate::storage::StorageError;
use margrave_shared::limiter::drawing::Draw;
use margrave_shared::limiter::rule::BucketKind;
use margrave_shared::wire::report::{MAX_LIMITED, limited_key, read_limited_key};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often what was counted is written.
const EVERY: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
struct Counts {
    by_bucket: BTreeMap<String, u64>,
    /// What no bucket of its own could be kept for.
    beyond: u64,
}

/// What was refused since it was last written.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Counts>);

impl Refused {
    /// A bucket had no attempt left. The merchant's is an alarm and refuses nobody.
    pub(super) fn note(&self, draw: &Draw) {
        if draw.kind != BucketKind::Merchant {
            self.add(limited_key(draw.kind, draw.key), 1);
        }
    }

    fn add(&self, bucket: String, times: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.by_bucket.len() < MAX_LIMITED || counts.by_bucket.contains_key(&bucket) {
            *counts.by_bucket.entry(bucket).or_insert(0) += times;
        } else {
            counts.beyond += times;
        }
    }

    fn put_back(&self, counts: Counts) {
        for (bucket, times) in counts.by_bucket {
            self.add(bucket, times);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).beyond += counts.beyond;
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = write_refusals(&app).await {
            tracing::warn!(%error, "refusals are written later");
        }
    }
}

/// Writes what was refused. What cannot be written is kept.
///
/// # Errors
/// The database's.
pub(crate) async fn write_refusals(app: &App) -> Result<(), StorageError> {
    let counts = app.limiter.refused().take();
    if counts.by_bucket.is_empty() && counts.beyond == 0 {
        return Ok(());
    }
    let written = write(app, &counts).await;
    if written.is_err() {
        app.limiter.refused().put_back(counts);
    }
    written
}

async fn write(app: &App, counts: &Counts) -> Result<(), StorageError> {
    let (now, caller) = (app.clock.now(), Caller::default());
    let mut tx = app.db.begin().await?;
    for (bucket, times) in &counts.by_bucket {
        let Some((kind, key)) = read_limited_key(bucket) else { continue };
        let entry =
            Entry::refused("issuer.limited", kind.as_str()).subject(format!("bucket:{key} count:{times}"));
        app.audit.write(&mut tx, entry, &caller, now, app.entropy.bytes()).await?;
    }
    if counts.beyond > 0 {
        let entry = Entry::refused("issuer.limited", "others").subject(format!("count:{}", counts.beyond));
        app.audit.write(&mut tx, entry, &caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await
}
