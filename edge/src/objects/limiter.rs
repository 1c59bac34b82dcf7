//! The limiter object: buckets as rows of 256 objects, so that a flood of addresses makes rows and not objects; and
//! known devices, beside what is remembered of all devices of their account.

use super::{Schema, answer, number, parameters, sorted, text};
use crate::clock;
use margrave_shared::device::{DeviceRow, LIFE_S};
use margrave_shared::limiter::drawing::Draw;
use margrave_shared::limiter::gcra::{Bucket, Empty, Limit};
use margrave_shared::limiter::pair::{Act, Counting, Pair, StoredPair};
use margrave_shared::time::UnixMs;
use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Request, Response, State, durable_object};

/// A known device that an attempt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceQuery {
    /// The keyed hash of its account.
    pub(crate) account: [u8; 16],
    /// The device generation that it belongs to.
    pub(crate) generation: i64,
    /// How many wrong attempts all devices of the account may make.
    pub(crate) attempts_of_all: i64,
}

/// One act on one bucket.
#[derive(Debug, Clone)]
pub(crate) struct BucketQuery {
    /// What is done.
    pub(crate) act: Act,
    /// The bucket.
    pub(crate) draw: Draw,
    /// What the bucket, and that of all devices of the account, hold at most, as far as that is known.
    pub(crate) at_most: Vec<Pair>,
    /// The known device whose bucket it is.
    pub(crate) device: Option<DeviceQuery>,
}

impl BucketQuery {
    /// The object that holds the bucket: a device's lies where what is remembered of its account does.
    pub(crate) fn shard(&self) -> String {
        let [first, ..] = self.device.map_or(self.draw.key, |device| device.account);
        shard(first)
    }

    /// The URL of the call.
    pub(crate) fn print(&self) -> String {
        let Draw { key, counting: Counting { limit, tight, all }, .. } = self.draw;
        let attempts = |limit: Option<Limit>| limit.map_or(0, |limit| limit.attempts);
        let mut url = format!(
            "https://limiter/?act={}&key={}&attempts={}&window={}&tight={}&all={}",
            self.act.as_str(),
            hex(key),
            limit.attempts,
            limit.window_s,
            attempts(tight),
            attempts(all),
        );
        if self.at_most.iter().any(|pair| *pair != Pair::FULL) {
            let pairs = self.at_most.iter().map(|Pair { wrong, all }| format!("{}:{}", wrong.0, all.0));
            url = format!("{url}&at_most={}", pairs.collect::<Vec<_>>().join(","));
        }
        match self.device {
            None => url,
            Some(device) => {
                let DeviceQuery { account, generation, attempts_of_all } = device;
                format!("{url}&account={}&generation={generation}&of_all={attempts_of_all}", hex(account))
            }
        }
    }
}

/// The call that makes all devices of an account forgotten that are of an earlier generation: its object and its URL.
pub(crate) fn forget(account: [u8; 16], generation: i64) -> (String, String) {
    let [first, ..] = account;
    (shard(first), format!("https://limiter/?act=forget&account={}&generation={generation}", hex(account)))
}

fn shard(first: u8) -> String {
    format!("shard-{first:02x}")
}

fn hex(key: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(key))
}

/// What the object says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketAnswer {
    /// No attempt is left: milliseconds until one would be admitted.
    pub(crate) retry_after_ms: Option<i64>,
    /// The device is known no more; nothing was taken.
    #[serde(default)]
    pub(crate) forgotten: bool,
    /// What the bucket, and that of all devices of the account, held before.
    #[serde(default)]
    held: Vec<(i64, i64)>,
}

impl BucketAnswer {
    /// What was held before, in the order of [`BucketQuery::at_most`].
    pub(crate) fn held(&self) -> impl Iterator<Item = Pair> {
        self.held.iter().map(|(wrong, all)| Pair { wrong: Bucket(*wrong), all: Bucket(*all) })
    }
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
    // Of a device its wrong attempts, of an account the lowest device generation that counts.
    "CREATE TABLE IF NOT EXISTS devices (key TEXT PRIMARY KEY, count TEXT NOT NULL, forget_at TEXT NOT NULL) STRICT",
    "CREATE INDEX IF NOT EXISTS devices_by_end ON devices (forget_at)",
];
const FIND: &str = "SELECT attempts, wrong, all_outcomes FROM buckets WHERE key = ?";
const PUT: &str = "INSERT INTO buckets (key, attempts, wrong, all_outcomes, full_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET attempts = excluded.attempts,
    wrong = excluded.wrong, all_outcomes = excluded.all_outcomes, full_at = excluded.full_at";
const DROP_FULL: &str =
    "DELETE FROM buckets WHERE key IN (SELECT key FROM buckets WHERE full_at < ? ORDER BY full_at LIMIT 20)";
const FIND_DEVICE: &str = "SELECT count FROM devices WHERE key = ?";
const PUT_DEVICE: &str = "INSERT INTO devices (key, count, forget_at) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET count = excluded.count, forget_at = excluded.forget_at";
const DROP_DEVICE: &str = "DELETE FROM devices WHERE key = ?";
const DROP_DEVICES: &str = "DELETE FROM devices WHERE key IN (SELECT key FROM devices WHERE forget_at < ? ORDER BY forget_at LIMIT 20)";

#[derive(Deserialize)]
struct Row {
    attempts: String,
    wrong: String,
    all_outcomes: String,
}

#[derive(Deserialize)]
struct Counted {
    count: String,
}

impl DurableObject for LimiterObject {
    fn new(state: State, _: Env) -> Self {
        Self { state, schema: Schema::new(SCHEMA) }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        #[cfg(feature = "drill")]
        crate::drill::fail_as_told("limiters").await?;
        self.schema.ensure(&self.state)?;
        let parameters = parameters(&request.url()?);
        let now = clock::now();
        if text(&parameters, "act")? == "forget" {
            let (account, generation) = (text(&parameters, "account")?, number(&parameters, "generation")?);
            self.put_device(account, generation.max(self.device(account)?), now)?;
            return answer(&BucketAnswer::default());
        }
        let key = text(&parameters, "key")?;
        let act = Act::parse(text(&parameters, "act")?);
        let act = act.ok_or_else(|| worker::Error::RustError("act".to_owned()))?;
        let window_s = number(&parameters, "window")?;
        let limit = |attempts| {
            Limit::new(attempts, window_s).map_err(|error| worker::Error::RustError(error.to_string()))
        };
        let some_limit = |name| match number(&parameters, name)? {
            0 => Ok(None),
            attempts => limit(attempts).map(Some),
        };
        let counting = Counting {
            limit: limit(number(&parameters, "attempts")?)?,
            tight: some_limit("tight")?,
            all: some_limit("all")?,
        };
        let at_most = text(&parameters, "at_most").map_or(Ok(Vec::new()), pairs)?;
        let at_most = |place: usize| at_most.get(place).copied().unwrap_or(Pair::FULL);
        let Ok(account) = text(&parameters, "account") else {
            return answer(&self.draw(&[(key, counting, at_most(0))], act, now)?);
        };
        let row = DeviceRow { wrong: self.device(key)?, lowest_generation: self.device(account)? };
        if act == Act::Take && !row.knows(number(&parameters, "generation")?) {
            return answer(&BucketAnswer { forgotten: true, ..BucketAnswer::default() });
        }
        let of_all = Counting { limit: limit(number(&parameters, "of_all")?)?, ..counting };
        let buckets = [(key, counting, at_most(0)), (account, of_all, at_most(1))];
        let drawn = self.draw(&buckets, act, now)?;
        if drawn.retry_after_ms.is_none() {
            let change = if act == Act::Take { 1 } else { -1 };
            self.put_device(key, (row.wrong + change).max(0), now)?;
        }
        answer(&drawn)
    }
}

/// Reads what buckets hold at most.
fn pairs(text: &str) -> worker::Result<Vec<Pair>> {
    let number = |text: &str| text.parse().ok().map(Bucket);
    let pair = |text: &str| {
        let (wrong, all) = text.split_once(':')?;
        Some(Pair { wrong: number(wrong)?, all: number(all)? })
    };
    let pairs: Option<Vec<Pair>> = text.split(',').map(pair).collect();
    pairs.ok_or_else(|| worker::Error::RustError("at_most".to_owned()))
}

impl LimiterObject {
    /// Draws from all of these buckets, of which each holds at most so much, or from none; says when to come back where one is empty.
    fn draw(
        &self,
        buckets: &[(&str, Counting, Pair)],
        act: Act,
        now: UnixMs,
    ) -> worker::Result<BucketAnswer> {
        let (mut drawn, mut held) = (Vec::new(), Vec::new());
        for (key, counting, at_most) in buckets {
            let stored = self.find(key, *counting)?;
            let before = counting.bounded(stored.at_most(*at_most), now);
            held.push((before.wrong.0, before.all.0));
            match counting.apply(before, act, now) {
                Ok(after) => drawn.push((key, after, *counting)),
                Err(Empty { retry_after_ms }) => {
                    // Otherwise what is owed beyond the bound would move along with the clock.
                    if before != stored {
                        self.put(key, before, *counting, now)?;
                    }
                    return Ok(BucketAnswer {
                        retry_after_ms: Some(retry_after_ms),
                        ..BucketAnswer::default()
                    });
                }
            }
        }
        for (key, after, counting) in drawn {
            self.put(key, after, counting, now)?;
        }
        Ok(BucketAnswer { held, ..BucketAnswer::default() })
    }

    fn find(&self, key: &str, counting: Counting) -> worker::Result<Pair> {
        let cursor = self.state.storage().sql().exec(FIND, vec![key.into()])?;
        let rows: Vec<Row> = cursor.to_array()?;
        let number =
            |text: &str| text.parse::<i64>().map_err(|_| worker::Error::RustError("bucket".to_owned()));
        let stored = rows.first().map(|row| {
            let (attempts, attempts_of_all) = row.attempts.split_once('/').unwrap_or((&row.attempts, "0"));
            Ok::<_, worker::Error>(StoredPair {
                attempts: number(attempts)?,
                wrong: number(&row.wrong)?,
                attempts_of_all: number(attempts_of_all)?,
                all: number(&row.all_outcomes)?,
            })
        });
        Ok(counting.read(stored.transpose()?))
    }

    fn put(&self, key: &str, pair: Pair, counting: Counting, now: UnixMs) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        let StoredPair { attempts, wrong, attempts_of_all, all } = counting.write(pair);
        sql.exec(
            PUT,
            vec![
                key.into(),
                format!("{attempts}/{attempts_of_all}").into(),
                wrong.to_string().into(),
                all.to_string().into(),
                sorted(counting.full_at(pair).0).into(),
            ],
        )?;
        sql.exec(DROP_FULL, vec![sorted(now.0).into()])?;
        Ok(())
    }

    /// What is counted of a device, or of all devices of an account; nothing is zero.
    fn device(&self, key: &str) -> worker::Result<i64> {
        let rows: Vec<Counted> =
            self.state.storage().sql().exec(FIND_DEVICE, vec![key.into()])?.to_array()?;
        rows.first()
            .map_or(Ok(0), |row| row.count.parse().map_err(|_| worker::Error::RustError("count".to_owned())))
    }

    fn put_device(&self, key: &str, count: i64, now: UnixMs) -> worker::Result<()> {
        let sql = self.state.storage().sql();
        if count == 0 {
            sql.exec(DROP_DEVICE, vec![key.into()])?;
            return Ok(());
        }
        // No token that it could concern lives longer.
        let forget_at = sorted(now.plus_seconds(LIFE_S).0);
        sql.exec(PUT_DEVICE, vec![key.into(), count.to_string().into(), forget_at.into()])?;
        sql.exec(DROP_DEVICES, vec![sorted(now.0).into()])?;
        Ok(())
    }
}
