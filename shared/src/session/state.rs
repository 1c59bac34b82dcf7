//! The one truth about a session: deadline = last acknowledged touch + idle, and never past `until`.
//!
//! ```text
//!          touch in time                 touch too late, or past `until`
//! (unknown) ───────────▶ alive ─────────────────────────────────────────▶ ended (for good)
//! ```

use crate::claims::SessionLimits;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Why a session ended. For the audit only: the client reads one code for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The pause was too long.
    Idle,
    /// The absolute limit.
    Absolute,
    /// Somebody ended it.
    Revoked,
}

impl Ending {
    /// The reason's name in the audit and in stored rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Absolute => "absolute",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the reason's name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Idle, Self::Absolute, Self::Revoked].into_iter().find(|ending| ending.as_str() == text)
    }
}

/// A session's stored row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRow {
    /// The last acknowledged touch.
    pub touched_at: UnixMs,
    /// Why it ended, once it has.
    pub ended: Option<Ending>,
}

/// What a request is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// An act of the person: moves the deadline.
    Activity,
    /// Only a question: moves nothing.
    Question,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionVerdict {
    /// It lives; store `row`. Nobody may serve it at or past `deadline` without asking again.
    Alive {
        /// The row after this contact.
        row: SessionRow,
        /// The first instant at which it is over unless touched.
        deadline: UnixMs,
    },
    /// It is over; store `row`.
    Ended {
        /// The row, ended.
        row: SessionRow,
        /// Why.
        ending: Ending,
    },
}

/// The first instant at which a session touched at `touched_at` is over.
pub fn deadline(touched_at: UnixMs, limits: SessionLimits) -> UnixMs {
    let idle = if limits.idle_s == 0 { UnixMs(i64::MAX) } else { touched_at.plus_seconds(limits.idle_s) };
    let absolute = if limits.until_s == 0 { UnixMs(i64::MAX) } else { UnixMs::from_seconds(limits.until_s) };
    idle.min(absolute)
}

/// Which of its limits has ended a session that is over at this instant.
pub fn limit_reached(limits: SessionLimits, now: UnixMs) -> Ending {
    let past_until = limits.until_s != 0 && now >= UnixMs::from_seconds(limits.until_s);
    if past_until { Ending::Absolute } else { Ending::Idle }
}

/// Judges a contact. A session that nobody has seen yet counts from the token's `iat`.
pub fn decide(
    row: Option<SessionRow>,
    limits: SessionLimits,
    issued_at: UnixMs,
    contact: Contact,
    now: UnixMs,
) -> SessionVerdict {
    let row = row.unwrap_or(SessionRow { touched_at: issued_at, ended: None });
    if let Some(ending) = row.ended {
        return SessionVerdict::Ended { row, ending };
    }
    if now >= deadline(row.touched_at, limits) {
        let ending = limit_reached(limits, now);
        return SessionVerdict::Ended { row: SessionRow { ended: Some(ending), ..row }, ending };
    }
    let touched_at = match contact {
        // Clocks of two isolates may differ by a little; a touch never moves the deadline backwards.
        Contact::Activity => now.max(row.touched_at),
        Contact::Question => row.touched_at,
    };
    SessionVerdict::Alive {
        row: SessionRow { touched_at, ended: None },
        deadline: deadline(touched_at, limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(seconds: i64) -> UnixMs {
        UnixMs::from_seconds(seconds)
    }

    #[test]
    fn the_table_of_contacts() {
        use Contact::{Activity, Question};
        let limits = SessionLimits { idle_s: 100, until_s: 1000 };
        let alive = |at| Some(SessionRow { touched_at: s(at), ended: None });
        let ended = Some(SessionRow { touched_at: s(0), ended: Some(Ending::Revoked) });
        // (row, contact, now, Ok(touched, deadline) | Err(ending))
        let table = [
            (None, Activity, 50, Ok((50, 150))),
            (None, Activity, 100, Err(Ending::Idle)),
            (None, Question, 50, Ok((0, 100))),
            (alive(50), Activity, 149, Ok((149, 249))),
            (alive(50), Activity, 150, Err(Ending::Idle)),
            (alive(50), Question, 149, Ok((50, 150))),
            (alive(950), Activity, 999, Ok((999, 1000))),
            (alive(950), Activity, 1000, Err(Ending::Absolute)),
            (alive(10), Activity, 2000, Err(Ending::Absolute)),
            (alive(60), Activity, 50, Ok((60, 160))),
            (ended, Activity, 1, Err(Ending::Revoked)),
        ];
        for (row, contact, now, verdict) in table {
            let got = match decide(row, limits, s(0), contact, s(now)) {
                SessionVerdict::Alive { row, deadline } => Ok((row.touched_at.seconds(), deadline.seconds())),
                SessionVerdict::Ended { row, ending } => {
                    assert_eq!(row.ended, Some(ending));
                    Err(ending)
                }
            };
            assert_eq!(got, verdict, "{row:?} {contact:?} {now}");
        }
    }

    #[test]
    fn zero_limits_never_end_it() {
        let limits = SessionLimits { idle_s: 0, until_s: 0 };
        let verdict = decide(None, limits, s(0), Contact::Activity, s(1 << 40));
        assert!(matches!(verdict, SessionVerdict::Alive { .. }));
    }

    proptest! {
        #[test]
        fn an_ended_session_never_lives_again_and_none_outlives_its_limits(
            idle in 0_i64..50, until in 0_i64..300, steps in proptest::collection::vec((0_i64..60, any::<bool>()), 1..40)
        ) {
            let limits = SessionLimits { idle_s: idle, until_s: until };
            let (mut row, mut now, mut last_act, mut over) = (None, 0, 0, false);
            for (pause, act) in steps {
                now += pause;
                let contact = if act { Contact::Activity } else { Contact::Question };
                let alive = match decide(row, limits, s(0), contact, s(now)) {
                    SessionVerdict::Alive { row: next, .. } => { row = Some(next); true }
                    SessionVerdict::Ended { row: next, .. } => { row = Some(next); false }
                };
                let expected = !over && (idle == 0 || now - last_act < idle) && (until == 0 || now < until);
                prop_assert_eq!(alive, expected);
                over = !alive;
                if alive && act { last_act = now; }
            }
        }
    }
}
