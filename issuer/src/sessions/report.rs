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
use margrave_shared::session::state::limit_reached;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::report::{
    BEYOND, MAX_LIMITED, MAX_SESSIONS, MAX_SPRAYED, MAX_TOLD, Report, read_limited_key,
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
        let ending = limit_reached(session.limits, now);
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
        let (kind, subject) = match read_limited_key(name) {
            Some((kind, key)) => (kind.as_str(), format!("bucket:{key} count:{count}")),
            None if name == BEYOND => (BEYOND, format!("count:{count}")),
            None => continue,
        };
        let entry = Entry::refused("edge.limited", kind).actor(format!("edge:{}", edge.id)).subject(subject);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Filter, find_entries};
    use crate::merchants::{MerchantSettings, NewMerchant, create_merchant};
    use crate::storage::Db;
    use crate::storage::testing::on_both_databases;
    use crate::testing::World;
    use margrave_shared::limiter::rule::BucketKind;
    use margrave_shared::session::Ending;
    use margrave_shared::wire::report::{SessionReport, limited_key};

    async fn an_edge_moves_its_own_sessions_forward_and_none_back(db: Db) {
        let world = World::new(db).await;
        let app = &world.app;
        let caller = Caller::operator();
        let another = NewMerchant {
            name: "Another".to_owned(),
            platform: false,
            services: Vec::new(),
            settings: MerchantSettings::default(),
        };
        let another = create_merchant(app, another, "operator", &caller).await.unwrap().id;
        let own = world.make_edge("own", &world.merchant.id).await;
        let foreign = world.make_edge("foreign", &another).await;
        let session = world.session_of(&world.log_in("alice").await.unwrap()).await;
        let began = session.seen_at.0;
        world.pass_s(100);
        let now = app.clock.now().0;
        let state = async || {
            let found = find_session(&mut app.db.read().await.unwrap(), &session.sid).await.unwrap().unwrap();
            (found.seen_at.0 - began, found.ending)
        };
        for (edge, merchant, seen_at, ended, expected) in [
            // An edge of another merchant, by whichever name; and one's own that says it is another's session.
            (&foreign, &world.merchant.id, now, true, (0, None)),
            (&foreign, &another, now, true, (0, None)),
            (&own, &another, now, true, (0, None)),
            (&own, &world.merchant.id, began + 30_000, false, (30_000, None)),
            (&own, &world.merchant.id, began + 10_000, false, (30_000, None)),
            (&own, &world.merchant.id, now + 9_000_000, false, (100_000, None)),
            (&own, &world.merchant.id, began, true, (100_000, Some(Ending::Idle))),
            (&own, &world.merchant.id, now + 1, false, (100_000, Some(Ending::Idle))),
            (&own, &world.merchant.id, now + 1, true, (100_000, Some(Ending::Idle))),
        ] {
            let seen =
                SessionReport { sid: session.sid.clone(), merchant_id: merchant.clone(), seen_at, ended };
            let report = Report { sessions: vec![seen.clone()], ..Report::default() };
            take_report(app, edge, &report, &caller).await.unwrap();
            assert_eq!(state().await, expected, "{edge} {seen:?}");
        }
        let ends = Filter { act: Some("session.end".to_owned()), ..Filter::default() };
        let ends = find_entries(&mut app.db.read().await.unwrap(), &ends, 10).await.unwrap();
        assert_eq!((ends.len(), ends[0].reason.as_deref()), (1, Some("idle")));
        // One that has come to its end is ended by that, whatever the edge has seen first.
        let other = world.session_of(&world.log_in("alice").await.unwrap()).await;
        world.pass_s(40 * 86_400);
        let seen_at = app.clock.now().0;
        let merchant_id = world.merchant.id.clone();
        let seen = SessionReport { sid: other.sid.clone(), merchant_id, seen_at, ended: true };
        let report = Report { sessions: vec![seen.clone()], ..Report::default() };
        take_report(app, &own, &report, &caller).await.unwrap();
        let found = find_session(&mut app.db.read().await.unwrap(), &other.sid).await.unwrap().unwrap();
        assert_eq!(found.ending, Some(Ending::Absolute));
        let report = Report { sessions: vec![seen; MAX_SESSIONS + 1], ..Report::default() };
        assert!(take_report(app, &own, &report, &caller).await.is_err());
    }
    on_both_databases!(sessions, super::an_edge_moves_its_own_sessions_forward_and_none_back);

    async fn what_edges_refuse_is_bounded_and_nothing_is_left_out(db: Db) {
        let world = World::new(db).await;
        let app = &world.app;
        let edge = world.make_edge("own", &world.merchant.id).await;
        let mut report = Report::default();
        for number in 0..150_u128 {
            let name = limited_key(BucketKind::Account, number.to_be_bytes());
            Report::add_limited(&mut report.limited, name, 3);
        }
        report.refusals = [("invalid_token".to_owned(), 7), ("no such code".to_owned(), 9)].into();
        report.told_why = [("not an id".to_owned(), 1)].into();
        take_report(app, &edge, &report, &Caller::operator()).await.unwrap();
        // Names that are none are left out, and too many are cut.
        let made_up = (0..300).map(|number| (format!("account:{number}"), 1)).collect();
        let report = Report { limited: made_up, ..Report::default() };
        take_report(app, &edge, &report, &Caller::operator()).await.unwrap();
        for (act, reason, entries, count) in [
            ("edge.limited", "account", 99, " count:3"),
            ("edge.limited", "beyond", 1, "count:153"),
            ("edge.requests", "invalid_token", 1, "count:7"),
            ("edge.told_why", "", 0, ""),
        ] {
            let filter = Filter { act: Some(act.to_owned()), ..Filter::default() };
            let found = find_entries(&mut app.db.read().await.unwrap(), &filter, 200).await.unwrap();
            let found: Vec<_> = found
                .into_iter()
                .filter(|entry| entry.reason.as_deref().unwrap_or("") == reason)
                .filter(|entry| entry.subject.as_deref().is_some_and(|text| text.ends_with(count)))
                .collect();
            assert_eq!(found.len(), entries, "{act} {reason}");
        }
    }
    on_both_databases!(refusals, super::what_edges_refuse_is_bounded_and_nothing_is_left_out);
}
