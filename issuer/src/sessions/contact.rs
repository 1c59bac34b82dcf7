//! A session is met: by the person's own call at the issuer, or by a refresh.

use super::{Session, end, store};
use crate::app::App;
use crate::failure::Failure;
use crate::storage::Tx;
use margrave_shared::session::policy::touch_window_ms;
use margrave_shared::session::state::decide;
use margrave_shared::session::{Contact, Ending, SessionVerdict};
use margrave_shared::time::UnixMs;

/// Activity is written at most this often, in seconds.
const TOUCH_S: i64 = 60;

/// Meets a session in an act of its person; an act moves the deadline.
///
/// # Errors
/// The storage's.
pub(crate) async fn meet(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    now: UnixMs,
) -> Result<Result<(), Ending>, Failure> {
    judge(app, tx, session, session.seen_at, Contact::Activity, now).await
}

/// Meets a session at a refresh, which is no activity: idle counts from the latest of login, the issuer's own calls,
/// reports, and what the edge says it has seen.
pub(crate) async fn meet_at_refresh(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    seen_by_edge: Option<UnixMs>,
    now: UnixMs,
) -> Result<Result<(), Ending>, Failure> {
    judge(app, tx, session, seen_at_refresh(session, seen_by_edge, now), Contact::Question, now).await
}

/// Whether a session lives at a refresh and nothing of it is to be written.
pub(crate) fn lives_as_it_is(session: &Session, seen_by_edge: Option<UnixMs>, now: UnixMs) -> bool {
    let mut row = session.row();
    row.touched_at = seen_at_refresh(session, seen_by_edge, now);
    match decide(Some(row), session.limits, session.started_at, Contact::Question, now) {
        SessionVerdict::Alive { row, .. } => !is_worth_writing(session, row.touched_at),
        SessionVerdict::Ended { .. } => false,
    }
}

/// An edge cannot have seen the future.
fn seen_at_refresh(session: &Session, seen_by_edge: Option<UnixMs>, now: UnixMs) -> UnixMs {
    seen_by_edge.map_or(session.seen_at, |at| at.min(now).max(session.seen_at))
}

fn is_worth_writing(session: &Session, seen_at: UnixMs) -> bool {
    seen_at.since(session.seen_at) > touch_window_ms(session.limits.idle_s, TOUCH_S)
}

async fn judge(
    app: &App,
    tx: &mut Tx,
    session: &Session,
    seen_at: UnixMs,
    contact: Contact,
    now: UnixMs,
) -> Result<Result<(), Ending>, Failure> {
    let mut row = session.row();
    row.touched_at = seen_at;
    match decide(Some(row), session.limits, session.started_at, contact, now) {
        SessionVerdict::Alive { row, .. } => {
            if is_worth_writing(session, row.touched_at) {
                store::update_seen(tx, &session.sid, row.touched_at).await?;
            }
            Ok(Ok(()))
        }
        SessionVerdict::Ended { ending, .. } => {
            if session.ending.is_none() {
                end::end_in_time(app, tx, session, ending, now).await?;
            }
            Ok(Err(ending))
        }
    }
}
