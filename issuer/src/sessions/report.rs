//! What an edge has seen: monotone, never reviving, only of the edge's own merchants.

use super::{find_session, store};
use crate::app::App;
use crate::edges::find_edge;
use crate::failure::Failure;
use crate::storage::StorageError;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::EdgeId;
use margrave_shared::session::Ending;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::report::{MAX_SESSIONS, Report};

/// Takes a report in.
///
/// # Errors
/// `invalid_request` for more sessions than a report may name.
pub(super) async fn take_report(app: &App, edge: &EdgeId, report: &Report) -> Result<(), Failure> {
    if report.sessions.len() > MAX_SESSIONS {
        return Err(Failure::denied(ErrorCode::InvalidRequest, "too_many_sessions"));
    }
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let edge =
        find_edge(&mut tx, edge).await?.ok_or(StorageError::Corrupt { table: "edges", column: "id" })?;
    for seen in report.sessions.iter().filter(|seen| edge.serves(&seen.merchant_id)) {
        let session = find_session(&mut tx, &seen.sid).await?;
        let Some(session) = session.filter(|s| s.merchant_id == seen.merchant_id) else { continue };
        let at = UnixMs(seen.seen_at).min(now);
        store::update_seen(&mut tx, &session.sid, at).await?;
        if seen.ended {
            super::end::end(app, &mut tx, &session.sid, Ending::Idle, now).await?;
        }
    }
    tx.commit().await?;
    app.feed.notify();
    if !report.refusals.is_empty() {
        tracing::info!(edge = %edge.id, refusals = ?report.refusals, "refusals at the edge");
    }
    Ok(())
}
