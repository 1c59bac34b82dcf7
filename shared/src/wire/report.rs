//! The body of `POST /v1/edge/reports`: what an edge has seen. Reports are monotone: the issuer takes the later of
//! two times and never revives what ended.

use crate::id::{MerchantId, SessionId};
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
