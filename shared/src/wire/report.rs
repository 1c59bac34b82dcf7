//! The body of `POST /v1/edge/reports`: what an edge has seen. Reports are monotone: the issuer takes the later of
//! two times and never revives what ended.

use crate::id::{MerchantId, SessionId};
use crate::limiter::rule::BucketKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an edge has seen since its last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Sessions of the edge's merchants.
    #[serde(default)]
    pub sessions: Vec<SessionReport>,
    /// How many requests were refused, by public code.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Merchants on whose logins there were so many wrong attempts that somebody is taken to try them all.
    #[serde(default)]
    pub sprayed: BTreeSet<MerchantId>,
    /// How often an application was told why something was refused that others are not told, by its client id.
    #[serde(default)]
    pub told_why: BTreeMap<String, u64>,
    /// How often a bucket had no attempt left, by [`limited_key`]; those for whom there was no room together, as [`BEYOND`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limited: BTreeMap<String, u64>,
}

/// A bucket's name in a report: its kind and its keyed hash.
pub fn limited_key(kind: BucketKind, key: [u8; 16]) -> String {
    format!("{}:{:032x}", kind.as_str(), u128::from_be_bytes(key))
}

/// Reads the name; `None` for any other text.
pub fn read_limited_key(text: &str) -> Option<(BucketKind, &str)> {
    let (kind, key) = text.split_once(':')?;
    let kind = BucketKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let is_hash = key.len() == 32 && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some((kind, key))
}

/// The most buckets in one report that had no attempt left, the others as one of them.
pub const MAX_LIMITED: usize = 100;

/// The name of all buckets together that a report has no room for.
pub const BEYOND: &str = "beyond";

impl Report {
    /// Counts that a bucket had no attempt left.
    pub fn add_limited(limited: &mut BTreeMap<String, u64>, name: String, times: u64) {
        let others = limited.len() - usize::from(limited.contains_key(BEYOND));
        let has_room = limited.contains_key(&name) || others < MAX_LIMITED - 1;
        *limited.entry(if has_room { name } else { BEYOND.to_owned() }).or_default() += times;
    }
}

/// The most merchants in one report that are sprayed.
pub const MAX_SPRAYED: usize = 100;

/// The most applications in one report that were told why.
pub const MAX_TOLD: usize = 100;

/// The most sessions in one report.
pub const MAX_SESSIONS: usize = 200;

/// One session as the edge has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionReport {
    /// The session.
    pub sid: SessionId,
    /// Its merchant.
    pub merchant_id: MerchantId,
    /// Unix milliseconds of the last acknowledged activity.
    pub seen_at: i64,
    /// Whether its idle or absolute limit has ended it.
    #[serde(default)]
    pub ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted_together() {
        let mut limited = BTreeMap::new();
        for round in 1..=2_u64 {
            for number in 0..150_u128 {
                let name = limited_key(BucketKind::Address, number.to_be_bytes());
                Report::add_limited(&mut limited, name, 2);
            }
            assert_eq!((limited.len(), limited[BEYOND]), (MAX_LIMITED, 51 * 2 * round));
        }
        // What did not arrive is counted again as it was.
        let mut again = BTreeMap::new();
        for (name, times) in limited.clone() {
            Report::add_limited(&mut again, name, times);
        }
        assert_eq!(again, limited);
    }

    #[test]
    fn only_the_name_of_a_bucket_is_one() {
        let name = limited_key(BucketKind::RouteAddress, [7; 16]);
        assert_eq!(
            read_limited_key(&name),
            Some((BucketKind::RouteAddress, &name["route-address:".len()..]))
        );
        let hash = "0".repeat(32);
        for text in [
            "",
            "account",
            "account:",
            "Account:",
            "account:x",
            &format!("other:{hash}"),
            &format!("account:{hash}0"),
        ] {
            assert_eq!(read_limited_key(text), None, "{text}");
        }
        assert_eq!(read_limited_key(&format!("account:{}", "A".repeat(32))), None);
    }
}
