//! Sending what was written down.

use super::store::{self, Due};
use super::{Mail, Mailer, purpose};
use crate::app::App;
use crate::failure::Failure;
use crate::keys::open;
use crate::metrics;
use crate::storage::StorageError;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for what is to be sent.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// The most that are sent at one look.
const AT_ONCE: i64 = 20;

/// After how long a notice is tried again, in milliseconds, by how often it was tried. The first is longer than sending may take: who
/// sends it meanwhile is not overtaken.
const AGAIN_MS: [i64; 5] = [60_000, 120_000, 300_000, 900_000, 1_800_000];

/// Sends until the process ends. Where no mail is configured there is nothing to send it with.
pub(crate) async fn run(app: Arc<App>) {
    let Some(mailer) = app.mailer.clone() else { return };
    loop {
        tokio::time::sleep(LOOKED_EVERY).await;
        if let Err(error) = send_due(&app, &mailer).await {
            tracing::warn!(%error, "notices will be looked for again");
        }
    }
}

/// Sends whatever is due; gives how many were sent.
///
/// # Errors
/// The database's.
pub(super) async fn send_due(app: &App, mailer: &Mailer) -> Result<usize, Failure> {
    // Who has nobody to tell leaves it to a process that has.
    if mailer.operators().is_empty() {
        return Ok(0);
    }
    let due = store::find_due(&mut app.db.glance().await?, app.clock.now(), AT_ONCE).await?;
    let mut sent = 0;
    for notice in due {
        let mut tx = app.db.begin().await?;
        let again = usize::try_from(notice.tries).unwrap_or(0).min(AGAIN_MS.len() - 1);
        let until = app.clock.now().plus_ms(AGAIN_MS.get(again).copied().unwrap_or_default());
        let is_ours = store::claim(&mut tx, &notice, until).await?;
        tx.commit().await?;
        if is_ours && send_one(app, mailer, &notice).await? {
            sent += 1;
        }
    }
    Ok(sent)
}

/// Sends one to everybody whom it concerns; whether somebody has it now.
async fn send_one(app: &App, mailer: &Mailer, notice: &Due) -> Result<bool, StorageError> {
    let text = open(&app.notices_key, &purpose(&notice.id), &notice.sealed_text).ok();
    let mail = text.and_then(|text| serde_json::from_slice::<Mail>(&text).ok());
    let Some(mail) = mail else {
        tracing::error!(
            notice = notice.id,
            "ALARM: a notice does not open: somebody has written into the database"
        );
        return finish(app, notice).await.map(|()| false);
    };
    // All at once: the slowest of them keeps within the time for which the notice is ours.
    let sent = mailer.operators().iter().map(|operator| mailer.send(operator, &mail, &notice.id));
    let mut is_sent = false;
    for sent in join_all(sent).await {
        metrics::mail(if sent.is_ok() { "sent" } else { "deferred" });
        match sent {
            Ok(()) => is_sent = true,
            Err(error) => tracing::warn!(%error, notice = notice.id, "a notice to an operator was not sent"),
        }
    }
    // Who had it would have it again with the others.
    if is_sent {
        finish(app, notice).await?;
    }
    Ok(is_sent)
}

async fn finish(app: &App, notice: &Due) -> Result<(), StorageError> {
    let mut tx = app.db.begin().await?;
    store::delete_notice(&mut tx, &notice.id).await?;
    tx.commit().await
}
