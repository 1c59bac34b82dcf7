//! What an edge has seen: monotone, never reviving, only of the edge's own merchants.

use super::end::write_end_in_time;
use super::{find_session, store};
use crate::app::App;
use crate::audit::Entry;
use crate::edges::find_edge;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::revocations;
use crate::storage::StorageError;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::{EdgeId, is_opaque_id};
use margrave_shared::session::Ending;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::report::{
    MAX_LIMITED, MAX_SESSIONS, MAX_SPRAYED, MAX_TOLD, Report, read_limited_key,
};

/// Takes a report in.
///
/// # Errors
/// `invalid_request` for more sessions than a report may name.
pub(super) async fn take_report(
    app: &App,
    edge: &EdgeId,
    report: &Report,
    caller: &Caller,
) -> Result<(), Failure> {
    if report.sessions.len() > MAX_SESSIONS {
        return Err(Failure::denied(ErrorCode::InvalidRequest, "too_many_sessions"));
    }
    let now = app.clock.now();
    let mut tx = app.db.begin_long().await?;
    let edge =
        find_edge(&mut tx, edge).await?.ok_or(StorageError::Corrupt { table: "edges", column: "id" })?;
    let mut sessions: Vec<_> = report.sessions.iter().filter(|seen| edge.serves(&seen.merchant_id)).collect();
    // Rows are locked by id and the feed's counter last, so that two reports never wait for each other.
    sessions.sort_by(|a, b| a.sid.cmp(&b.sid));
    let mut ended = Vec::new();
    for seen in sessions {
        let session = find_session(&mut tx, &seen.sid).await?;
        let Some(session) = session.filter(|s| s.merchant_id == seen.merchant_id) else { continue };
        store::update_seen(&mut tx, &session.sid, UnixMs(seen.seen_at).min(now)).await?;
        // Whatever the issuer has seen of it, the edge has seen it idle; or its last moment has come.
        let last = session.limits.until_s;
        let ending =
            if last != 0 && now >= UnixMs::from_seconds(last) { Ending::Absolute } else { Ending::Idle };
        if seen.ended && store::update_ended(&mut tx, &session.sid, ending, now).await? {
            write_end_in_time(app, &mut tx, &session, ending, now).await?;
            ended.push(Ended::Session { sid: session.sid });
        }
    }
    revocations::publish_all(app, &mut tx, &ended, now).await?;
    for (code, count) in report.refusals.iter().take(ErrorCode::ALL.len()) {
        let Some(code) = ErrorCode::ALL.iter().find(|known| known.as_str() == code) else { continue };
        let entry = Entry::refused("edge.requests", code.as_str())
            .actor(format!("edge:{}", edge.id))
            .subject(format!("count:{count}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    let sprayed = report.sprayed.iter().take(MAX_SPRAYED).filter(|merchant| edge.serves(merchant));
    for merchant in sprayed {
        let entry =
            Entry::done("edge.many_wrong_passwords").merchant(merchant).actor(format!("edge:{}", edge.id));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    for (name, count) in report.limited.iter().take(MAX_LIMITED) {
        let Some((kind, key)) = read_limited_key(name) else { continue };
        let entry = Entry::refused("edge.limited", kind.as_str())
            .actor(format!("edge:{}", edge.id))
            .subject(format!("bucket:{key} count:{count}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    let told = report.told_why.iter().take(MAX_TOLD).filter(|(client, _)| is_opaque_id(client));
    for (client, count) in told {
        let entry = Entry::done("edge.told_why")
            .actor(format!("edge:{}", edge.id))
            .subject(format!("client:{client} count:{count}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}
