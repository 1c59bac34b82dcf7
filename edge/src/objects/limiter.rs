//! 256 objects hold the buckets, by the first byte of their keyed hash; a row is dropped when its bucket is full
//! again, so that nobody can fill the storage with names.

use super::{Schema, answer, number, parameters, sorted, text};
use crate::clock;
use margrave_shared::limiter::gcra::{Bucket, Empty, Limit};
use margrave_shared::limiter::rule::ALL_OUTCOMES_FACTOR;
use margrave_shared::time::UnixMs;
use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Request, Response, State, durable_object};

/// What is done to a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Take an attempt.
    Take,
    /// The attempt was right or not evaluated: it returns to the bucket of wrong ones, not to that of all.
    GiveBack,
    /// The attempt was refused elsewhere and never made: it returns to both.
    Untake,
}

impl Act {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::GiveBack => "give-back",
            Self::Untake => "untake",
        }
    }
}

/// One act on one bucket.
#[derive(Debug, Clone)]
pub(crate) struct BucketQuery {
    /// What is done.
    pub(crate) act: Act,
    /// The bucket's keyed hash.
    pub(crate) key: [u8; 16],
    /// Its limit.
    pub(crate) limit: Limit,
}

impl BucketQuery {
    /// The object that holds the bucket.
    pub(crate) fn shard(&self) -> String {
        let [first, ..] = self.key;
        format!("shard-{first:02x}")
    }

    /// The URL of the call.
    pub(crate) fn print(&self) -> String {
        format!(
            "https://limiter/?act={}&key={:032x}&attempts={}&window={}",
            self.act.as_str(),
            u128::from_be_bytes(self.key),
            self.limit.attempts,
            self.limit.window_s
        )
    }
}

/// What the object says: nothing, or when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketAnswer {
    /// Milliseconds until an attempt would be admitted.
    pub(crate) retry_after_ms: Option<i64>,
}

/// The object.
#[durable_object(fetch)]
pub struct LimiterObject {
    state: State,
    schema: Schema,
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS buckets
    (key TEXT PRIMARY KEY, attempts TEXT NOT NULL, wrong TEXT NOT NULL, all_outcomes TEXT NOT NULL,
    full_at TEXT NOT NULL) STRICT",
    "CREATE INDEX IF NOT EXISTS buckets_by_full ON buckets (full_at)",
];
const FIND: &str = "SELECT attempts, wrong, all_outcomes FROM buckets WHERE key = ?";
const PUT: &str = "INSERT INTO buckets (key, attempts, wrong, all_outcomes, full_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET attempts = excluded.attempts,
    wrong = excluded.wrong, all_outcomes = excluded.all_outcomes, full_at = excluded.full_at";
const DROP_FULL: &str =
    "DELETE FROM buckets WHERE key IN (SELECT key FROM buckets WHERE full_at < ? ORDER BY full_at LIMIT 20)";

#[derive(Deserialize)]
struct Row {
    attempts: String,
    wrong: String,
    all_outcomes: String,
}

/// The two buckets of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    wrong: Bucket,
    all: Bucket,
}

/// The limit of the second bucket, which counts every outcome.
fn limit_of_all(limit: Limit) -> Limit {
    Limit { attempts: limit.attempts.saturating_mul(ALL_OUTCOMES_FACTOR), ..limit }
}

/// Applies an act. An attempt that one of the two refuses is taken from neither.
fn apply(pair: Pair, act: Act, limit: Limit, now: UnixMs) -> Result<Pair, Empty> {
    let all = limit_of_all(limit);
    Ok(match act {
        Act::Take => Pair { wrong: pair.wrong.take(limit, now)?, all: pair.all.take(all, now)? },
        Act::GiveBack => Pair { wrong: pair.wrong.give_back(limit), ..pair },
        Act::Untake => Pair { wrong: pair.wrong.give_back(limit), all: pair.all.give_back(all) },
    })
}

impl DurableObject for LimiterObject {
    fn new(state: State, _: Env) -> Self {
        Self { state, schema: Schema::new(SCHEMA) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        #[cfg(feature = "drill")]
        crate::drill::fail_as_told("limiters").await?;
        self.schema.ensure(&self.state)?;
        let parameters = parameters(&request)?;
        let key = text(&parameters, "key")?;
        let act = match text(&parameters, "act")? {
            "take" => Act::Take,
            "give-back" => Act::GiveBack,
            _ => Act::Untake,
        };
        let limit = Limit::new(number(&parameters, "attempts")?, number(&parameters, "window")?)
            .map_err(|error| worker::Error::RustError(error.to_string()))?;
        let now = clock::now();
        let before = self.find(key, limit)?;
        let retry_after_ms = match apply(before, act, limit, now) {
            Ok(after) => {
                self.put(key, after, limit, now)?;
                None
            }
            Err(Empty { retry_after_ms }) => Some(retry_after_ms),
        };
        answer(&BucketAnswer { retry_after_ms })
    }
}

impl LimiterObject {
    fn find(&self, key: &str, limit: Limit) -> worker::Result<Pair> {
        let cursor = self.state.storage().sql().exec(FIND, vec![key.into()])?;
        let rows: Vec<Row> = cursor.to_array()?;
        let bucket =
            |text: &str| text.parse().map(Bucket).map_err(|_| worker::Error::RustError("bucket".to_owned()));
        match rows.first() {
            None => Ok(Pair { wrong: Bucket::FULL, all: Bucket::FULL }),
            Some(row) => {
                // The operator may have changed the limit since the row was written.
                let written: i64 =
                    row.attempts.parse().map_err(|_| worker::Error::RustError("attempts".to_owned()))?;
                Ok(Pair {
                    wrong: bucket(&row.wrong)?.rescaled(written, limit.attempts),
                    all: bucket(&row.all_outcomes)?.rescaled(written, limit.attempts),
                })
            }
        }
    }

    fn put(&self, key: &str, pair: Pair, limit: Limit, now: UnixMs) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        let full_at = pair.wrong.full_at(limit).max(pair.all.full_at(limit_of_all(limit)));
        sql.exec(
            PUT,
            vec![
                key.into(),
                limit.attempts.to_string().into(),
                pair.wrong.0.to_string().into(),
                pair.all.0.to_string().into(),
                sorted(full_at.0).into(),
            ],
        )?;
        sql.exec(DROP_FULL, vec![sorted(now.0).into()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_attempts_are_bounded_too_and_refused_ones_cost_nothing() {
        let limit = Limit::new(2, 60).unwrap();
        let now = UnixMs(1_800_000_000_000);
        let mut pair = Pair { wrong: Bucket::FULL, all: Bucket::FULL };
        for _ in 0..20 {
            pair = apply(pair, Act::Take, limit, now).unwrap();
            pair = apply(pair, Act::GiveBack, limit, now).unwrap();
        }
        let refused = apply(pair, Act::Take, limit, now).unwrap_err();
        assert_eq!(refused.retry_after_ms, 3000, "a twentieth of the window");
        let pair = apply(pair, Act::Untake, limit, now).unwrap();
        assert!(apply(pair, Act::Take, limit, now).is_ok());
    }
}
