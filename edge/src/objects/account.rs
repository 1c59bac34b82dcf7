//! The object of an account, or of many, whose sessions are rows. Here is the one truth about each.

use super::{Schema, answer, number, parameters, sorted, text};
use crate::clock;
use crate::config::EdgeConfig;
use crate::issuer;
use crate::sessions::Place;
use margrave_shared::claims::SessionLimits;
use margrave_shared::id::{AccountId, MerchantId, NotAnId, SessionId};
use margrave_shared::session::state::decide;
use margrave_shared::session::{Contact, Ending, SessionRow, SessionVerdict};
use margrave_shared::time::UnixMs;
use margrave_shared::wire::report::{MAX_SESSIONS, Report, SessionReport};
use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Method, Request, Response, State, Url, durable_object};

/// A session is met.
#[derive(Debug, Clone)]
pub(crate) struct ContactQuery {
    /// The session.
    pub(crate) place: Place,
    /// Its limits, from the token.
    pub(crate) limits: SessionLimits,
    /// The token's `iat`: where a session that nobody has seen starts.
    pub(crate) issued_at_s: i64,
    /// Activity or a question.
    pub(crate) contact: Contact,
}

impl ContactQuery {
    /// The URL of the call.
    pub(crate) fn print(&self) -> String {
        format!(
            "https://account/?merchant={}&person={}&sid={}&idle={}&until={}&iat={}&activity={}",
            self.place.merchant,
            self.place.person,
            self.place.sid,
            self.limits.idle_s,
            self.limits.until_s,
            self.issued_at_s,
            i64::from(self.contact == Contact::Activity)
        )
    }

    fn read(url: &Url) -> worker::Result<Self> {
        let parameters = parameters(url);
        let number = |name| number(&parameters, name);
        let id = |name| text(&parameters, name);
        let bad = |error: NotAnId| worker::Error::RustError(error.to_string());
        Ok(Self {
            place: Place {
                merchant: MerchantId::parse(id("merchant")?).map_err(bad)?,
                person: AccountId::parse(id("person")?).map_err(bad)?,
                sid: SessionId::parse(id("sid")?).map_err(bad)?,
            },
            limits: SessionLimits { idle_s: number("idle")?, until_s: number("until")? },
            issued_at_s: number("iat")?,
            contact: if number("activity")? == 1 { Contact::Activity } else { Contact::Question },
        })
    }
}

/// Where touches that were gathered go.
pub(crate) const TOUCHES_URL: &str = "https://account/touches";

/// The most of them in one call.
pub(crate) const MOST_TOUCHES: usize = 25;

const _: () = assert!(MOST_TOUCHES <= MAX_SESSIONS, "the issuer is told of all of them at once");

/// The longest that a touch may have waited, in milliseconds.
const LONGEST_WAIT_MS: i64 = 10_000;

/// One of several touches in one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touch {
    /// As it would be by itself.
    pub(crate) url: String,
    /// How long ago the session was met, in milliseconds: it lives no longer for having waited.
    pub(crate) ago_ms: i64,
}

/// What the object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum ContactAnswer {
    /// It lives until `deadline`, unless touched.
    Alive {
        /// The first instant at which it is over.
        deadline: UnixMs,
        /// The last acknowledged touch.
        touched_at: UnixMs,
    },
    /// It is over.
    Ended {
        /// Why.
        ending: Ending,
    },
}

/// The object.
#[durable_object(fetch)]
pub struct AccountObject {
    state: State,
    env: Env,
    schema: Schema,
}

/// The least period in which the issuer is told of activity, in milliseconds; a quarter of idle where that is longer.
const REPORT_EVERY_MS: i64 = 60_000;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS sessions_by_place
    (place TEXT PRIMARY KEY, touched_at TEXT NOT NULL, ending TEXT, until_s TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS places_by_until ON sessions_by_place (until_s)",
];
const FIND: &str = "SELECT touched_at, ending FROM sessions_by_place WHERE place = ?";
const PUT: &str = "INSERT INTO sessions_by_place (place, touched_at, ending, until_s) VALUES (?, ?, ?, ?)
    ON CONFLICT (place) DO UPDATE SET touched_at = excluded.touched_at, ending = excluded.ending";
const FORGET: &str = "DELETE FROM sessions_by_place WHERE place IN (SELECT place FROM sessions_by_place WHERE until_s < ? ORDER BY until_s LIMIT 20)";

#[derive(Deserialize)]
struct Row {
    touched_at: String,
    ending: Option<String>,
}

impl DurableObject for AccountObject {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, schema: Schema::new(SCHEMA) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "drill")]
        crate::drill::fail_as_told("accounts").await?;
        self.schema.ensure(&self.state)?;
        let now = clock::now();
        let mut reports = Vec::new();
        if request.method() == Method::Post {
            let touches: Vec<Touch> = request.json().await?;
            // One that cannot be judged keeps no other from being written, or told.
            let said: Vec<Option<ContactAnswer>> = touches
                .iter()
                .take(MOST_TOUCHES)
                .map(|touch| {
                    let ago_ms = Some(touch.ago_ms).filter(|ago| (0..=LONGEST_WAIT_MS).contains(ago))?;
                    let query = ContactQuery::read(&Url::parse(&touch.url).ok()?).ok()?;
                    self.meet(&query, now.plus_ms(-ago_ms), now, &mut reports).ok()
                })
                .collect();
            self.report(reports);
            return answer(&said);
        }
        let query = ContactQuery::read(&request.url()?)?;
        let said = self.meet(&query, now, now, &mut reports)?;
        self.report(reports);
        answer(&said)
    }
}

impl AccountObject {
    /// Meets a session; notes in `reports` what the issuer is told.
    fn meet(
        &self,
        query: &ContactQuery,
        at: UnixMs,
        now: UnixMs,
        reports: &mut Vec<SessionReport>,
    ) -> worker::Result<ContactAnswer> {
        let stored = self.find(&query.place)?;
        let issued_at = UnixMs::from_seconds(query.issued_at_s);
        let (row, said) = match decide(stored, query.limits, issued_at, query.contact, at) {
            SessionVerdict::Alive { row, deadline } => {
                (row, ContactAnswer::Alive { deadline, touched_at: row.touched_at })
            }
            SessionVerdict::Ended { row, ending } => (row, ContactAnswer::Ended { ending }),
        };
        // A question about a session that nobody has seen leaves no row.
        if stored != Some(row) && (query.contact == Contact::Activity || stored.is_some()) {
            self.put(query, row, stored.is_none(), now)?;
            // The issuer knows when the token was minted; from then on it hears once in a period. The rule needs no
            // memory, since the object is forgotten between two touches.
            let period_ms = REPORT_EVERY_MS.max(query.limits.idle_s.saturating_mul(250));
            let before = stored.map_or(issued_at, |stored| stored.touched_at);
            let ended = row.ended.is_some();
            if ended || row.touched_at.0 / period_ms > before.0 / period_ms {
                let Place { merchant: merchant_id, sid, .. } = query.place.clone();
                reports.push(SessionReport { sid, merchant_id, seen_at: row.touched_at.0, ended });
            }
        }
        Ok(said)
    }

    fn find(&self, place: &Place) -> worker::Result<Option<SessionRow>> {
        let cursor = self.state.storage().sql().exec(FIND, vec![place.key().into()])?;
        let rows: Vec<Row> = cursor.to_array()?;
        rows.into_iter()
            .next()
            .map(|row| {
                let touched_at = row.touched_at.parse().map(UnixMs);
                let touched_at = touched_at.map_err(|_| worker::Error::RustError("touched_at".to_owned()))?;
                Ok(SessionRow { touched_at, ended: row.ending.as_deref().and_then(Ending::parse) })
            })
            .transpose()
    }

    /// Tells the issuer, after the answer: a refresh that comes to it directly counts idle from here. Should it fail,
    /// the next report says it again.
    fn report(&self, sessions: Vec<SessionReport>) {
        let config = EdgeConfig::of(&self.env).filter(|config| config.revocations.has_feed());
        let Some(config) = config.filter(|_| !sessions.is_empty()) else { return };
        let report = Report { sessions, ..Report::default() };
        let env = self.env.clone();
        self.state.wait_until(async move {
            issuer::report(&env, &config, &report).await;
        });
    }

    fn put(&self, query: &ContactQuery, row: SessionRow, new: bool, now: UnixMs) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        if new {
            sql.exec(FORGET, vec![sorted(now.seconds()).into()])?;
        }
        // A session without an absolute end is forgotten after a year; a refresh token does not live longer.
        let until_s =
            if query.limits.until_s == 0 { now.seconds() + 366 * 86400 } else { query.limits.until_s };
        let ending = row.ended.map_or(worker::SqlStorageValue::Null, |ending| ending.as_str().into());
        sql.exec(
            PUT,
            vec![
                query.place.key().into(),
                row.touched_at.0.to_string().into(),
                ending,
                sorted(until_s).into(),
            ],
        )?;
        Ok(())
    }
}
