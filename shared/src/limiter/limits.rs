//! `[limits]`: how many attempts there may be, as an operator sets it for an edge, and for an issuer that clients reach
//! directly.

use super::Limit;
use super::rule::ALL_OUTCOMES_FACTOR;
use crate::device;
use serde::{Deserialize, Serialize};

/// `[limits]` as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Wrong attempts on one login. Default 5.
    pub account_attempts: i64,
    /// … in so many seconds. Default 300.
    pub account_window_s: i64,
    /// Wrong attempts from one address. Default 30.
    pub address_attempts: i64,
    /// … in so many seconds. Default 300.
    pub address_window_s: i64,
    /// Wrong attempts on all logins of one merchant in the address's window, after which somebody is taken to try many
    /// logins: the log says so, and strangers' addresses have `tight_attempts`. Default ten times `address_attempts`.
    pub merchant_attempts: Option<i64>,
    /// Wrong attempts from one address meanwhile. Default a tenth of `address_attempts`.
    pub tight_attempts: Option<i64>,
    /// Refreshes and factors grants from one address in a minute. Default 600.
    pub exchange_attempts: i64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            account_attempts: 5,
            account_window_s: 300,
            address_attempts: 30,
            address_window_s: 300,
            merchant_attempts: None,
            tight_attempts: None,
            exchange_attempts: 600,
        }
    }
}

/// The limits that apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one login, or one key.
    pub account: Limit,
    /// Of one address.
    pub address: Limit,
    /// Of all logins of a merchant.
    pub merchant: Limit,
    /// Of an address while a merchant's logins are being tried.
    pub tight: Limit,
    /// Of a known device.
    pub device: Limit,
    /// Of one address for refreshes and factors grants.
    pub exchange: Limit,
}

const MINUTE_S: i64 = 60;

impl LimitSettings {
    /// What they mean; nothing, and what is wrong in `problems`, where they cannot be used.
    pub fn limits(&self, problems: &mut Vec<String>) -> Option<Limits> {
        let mut limit = |name: &str, attempts, window_s| {
            Limit::new(attempts, window_s)
                .map_err(|error| problems.push(format!("`limits.{name}`: {error}")))
                .ok()
        };
        let of_merchant = self
            .merchant_attempts
            .unwrap_or_else(|| self.address_attempts.saturating_mul(10).min(Limit::MOST_ATTEMPTS));
        let of_tight = self.tight_attempts.unwrap_or_else(|| (self.address_attempts / 10).max(1));
        let account = limit("account_attempts", self.account_attempts, self.account_window_s);
        let address = limit("address_attempts", self.address_attempts, self.address_window_s);
        let merchant = limit("merchant_attempts", of_merchant, self.address_window_s);
        let tight = limit("tight_attempts", of_tight, self.address_window_s);
        let device = limit("account_window_s", device::ATTEMPTS, self.account_window_s);
        let exchange = limit("exchange_attempts", self.exchange_attempts, MINUTE_S);
        if of_tight > self.address_attempts {
            problems.push("`limits.tight_attempts` is at most `limits.address_attempts`".to_owned());
        }
        Some(Limits {
            account: account?,
            address: address?,
            merchant: merchant?,
            tight: tight?,
            device: device?,
            exchange: exchange?,
        })
    }
}

/// How many attempts there may be of whatever outcome.
pub fn all_outcomes(limit: Limit) -> Limit {
    let attempts = limit.attempts.saturating_mul(ALL_OUTCOMES_FACTOR).min(Limit::MOST_ATTEMPTS);
    Limit { attempts, ..limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(settings: LimitSettings) -> Vec<String> {
        let mut problems = Vec::new();
        let limits = settings.limits(&mut problems);
        assert_eq!(limits.is_some(), !problems.iter().any(|problem| problem.contains("a limit is")));
        problems
    }

    #[test]
    fn what_is_not_set_follows_from_what_is() {
        let settings = LimitSettings { address_attempts: 50, ..LimitSettings::default() };
        let limits = settings.limits(&mut Vec::new()).unwrap();
        assert_eq!((limits.merchant.attempts, limits.tight.attempts), (500, 5));
        assert_eq!((limits.exchange.attempts, limits.exchange.window_s), (600, 60));
        let few = LimitSettings { address_attempts: 3, ..settings }.limits(&mut Vec::new()).unwrap();
        assert_eq!(few.tight.attempts, 1, "never none");
        assert_eq!(all_outcomes(limits.account).attempts, 50);
        assert_eq!(all_outcomes(Limit::new(1_000_000, 1).unwrap()).attempts, 1_000_000);
    }

    #[test]
    fn every_limit_out_of_range_is_named() {
        let defaults = LimitSettings::default();
        assert_eq!(problems(defaults), [""; 0]);
        for (settings, named) in [
            (LimitSettings { account_attempts: 0, ..defaults }, "limits.account_attempts"),
            (LimitSettings { account_window_s: 0, ..defaults }, "limits.account_window_s"),
            (LimitSettings { address_window_s: -1, ..defaults }, "limits.address_attempts"),
            (LimitSettings { merchant_attempts: Some(0), ..defaults }, "limits.merchant_attempts"),
            (LimitSettings { tight_attempts: Some(31), ..defaults }, "at most `limits.address_attempts`"),
            (LimitSettings { exchange_attempts: 0, ..defaults }, "limits.exchange_attempts"),
        ] {
            let problems = problems(settings);
            assert!(problems.iter().any(|problem| problem.contains(named)), "{named}: {problems:?}");
        }
    }
}
