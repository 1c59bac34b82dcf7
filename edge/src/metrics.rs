//! Numbers for Prometheus (text format 0.0.4). Each isolate counts for itself: in plain workerd that is all there is, on
//! Cloudflare a scrape sees one isolate of many.

use crate::config::EdgeConfig;
use crate::{clock, feed, watch};
use core::fmt::Write as _;
use margrave_shared::error::ErrorCode;
use margrave_shared::limiter::rule::BucketKind;
use margrave_shared::wire::state_call::ObjectKind;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Upper bounds of what calls of objects took, in milliseconds.
const BOUNDS_MS: [i64; 8] = [1, 2, 5, 10, 25, 50, 100, 200];

#[derive(Debug, Default)]
struct Calls {
    /// How many took at most so long, each bound by itself.
    within: [u64; BOUNDS_MS.len()],
    count: u64,
    sum_ms: i64,
    failed: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    /// By public code; `passed` for what went to the origin.
    decisions: BTreeMap<&'static str, u64>,
    /// Of what went to the origin: what came back in place of its answer.
    instead: BTreeMap<&'static str, u64>,
    calls: BTreeMap<ObjectKind, Calls>,
    limited: BTreeMap<&'static str, u64>,
    sprayed: u64,
}

thread_local! {
    static NUMBERS: RefCell<Numbers> = RefCell::default();
}

/// A request went to its origin.
pub(crate) fn passed() {
    decided("passed");
}

/// A request was refused.
pub(crate) fn refused(code: ErrorCode) {
    decided(code.as_str());
}

fn decided(code: &'static str) {
    NUMBERS.with_borrow_mut(|numbers| *numbers.decisions.entry(code).or_default() += 1);
}

/// A request went to its origin, and its answer did not come back.
pub(crate) fn instead(code: ErrorCode) {
    NUMBERS.with_borrow_mut(|numbers| *numbers.instead.entry(code.as_str()).or_default() += 1);
}

/// A bucket had no attempt left.
pub(crate) fn limited(kind: BucketKind) {
    NUMBERS.with_borrow_mut(|numbers| *numbers.limited.entry(kind.as_str()).or_default() += 1);
}

/// A merchant's logins are being tried.
pub(crate) fn sprayed() {
    NUMBERS.with_borrow_mut(|numbers| numbers.sprayed += 1);
}

/// Calls an object and notes how long that took, and whether it failed.
pub(crate) async fn timed<T, E>(
    object: ObjectKind,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = clock::wall();
    let result = call.await;
    let took_ms = clock::wall().since(began).max(0);
    NUMBERS.with_borrow_mut(|numbers| {
        let calls = numbers.calls.entry(object).or_default();
        for (bound, count) in BOUNDS_MS.iter().zip(&mut calls.within) {
            *count += u64::from(took_ms <= *bound);
        }
        calls.count += 1;
        calls.sum_ms += took_ms;
        calls.failed += u64::from(result.is_err());
    });
    result
}

/// All of it.
pub(crate) fn text(config: &EdgeConfig) -> String {
    let mut out = String::new();
    NUMBERS.with_borrow(|numbers| write_counters(&mut out, numbers));
    let now = clock::now();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            family(&mut out, name, "gauge", help);
            line(&mut out, name, "", value);
        }
    };
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let view = feed::present();
    let view = view.as_deref();
    gauge(
        "margrave_keys_age_seconds",
        "Since the issuer's keys were fetched.",
        view.and_then(|view| view.keys_age_ms(config, now)).map(seconds),
    );
    let has_feed = view.filter(|_| config.revocations.has_feed());
    gauge(
        "margrave_feed_age_seconds",
        "Since the issuer was last heard of endings.",
        has_feed.map(|view| seconds(view.silent_ms(now))),
    );
    gauge(
        "margrave_clock_skew_seconds",
        "How far this clock is ahead of the issuer's; above 5 either way the log warns.",
        view.and_then(crate::feed::FeedView::skew_s).map(|s| s as f64),
    );
    gauge("margrave_endings", "Endings in force.", view.map(|view| view.endings() as f64));
    gauge("margrave_streams", "Streams that are watched over.", Some(watch::count() as f64));
    out
}

fn write_counters(out: &mut String, numbers: &Numbers) {
    family(out, "margrave_decisions_total", "counter", "Requests by what became of them.");
    for (code, count) in &numbers.decisions {
        line(out, "margrave_decisions_total", &format!("{{code=\"{code}\"}}"), *count as f64);
    }
    family(out, "margrave_instead_total", "counter", "Of what passed: answers in place of the origin's.");
    for (code, count) in &numbers.instead {
        line(out, "margrave_instead_total", &format!("{{code=\"{code}\"}}"), *count as f64);
    }
    family(out, "margrave_limited_total", "counter", "Attempts that a bucket refused, by its kind.");
    for (kind, count) in &numbers.limited {
        line(out, "margrave_limited_total", &format!("{{bucket=\"{kind}\"}}"), *count as f64);
    }
    family(
        out,
        "margrave_sprayed_total",
        "counter",
        "Alarms: one password tried on many logins of a merchant.",
    );
    line(out, "margrave_sprayed_total", "", numbers.sprayed as f64);
    family(out, "margrave_object_seconds", "histogram", "How long calls of objects took.");
    for (object, calls) in &numbers.calls {
        let object = object.as_str();
        for (bound, count) in BOUNDS_MS.iter().zip(&calls.within) {
            let labels = format!("{{object=\"{object}\",le=\"{}\"}}", *bound as f64 / 1000.0);
            line(out, "margrave_object_seconds_bucket", &labels, *count as f64);
        }
        let labels = format!("{{object=\"{object}\",le=\"+Inf\"}}");
        line(out, "margrave_object_seconds_bucket", &labels, calls.count as f64);
        let labels = format!("{{object=\"{object}\"}}");
        line(out, "margrave_object_seconds_sum", &labels, calls.sum_ms as f64 / 1000.0);
        line(out, "margrave_object_seconds_count", &labels, calls.count as f64);
    }
    family(
        out,
        "margrave_object_failures_total",
        "counter",
        "Calls of objects that failed or took too long.",
    );
    for (object, calls) in &numbers.calls {
        let labels = format!("{{object=\"{}\"}}", object.as_str());
        line(out, "margrave_object_failures_total", &labels, calls.failed as f64);
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let calls = Calls { within: [1, 1, 2, 2, 2, 2, 2, 2], count: 3, sum_ms: 304, failed: 1 };
        let numbers = Numbers {
            decisions: BTreeMap::from([("invalid_token", 2), ("passed", 7)]),
            instead: BTreeMap::from([("upstream_timeout", 1)]),
            calls: BTreeMap::from([(ObjectKind::Limiter, calls)]),
            limited: BTreeMap::from([("address", 4)]),
            sprayed: 0,
        };
        let mut out = String::new();
        write_counters(&mut out, &numbers);
        for wanted in [
            "# TYPE margrave_decisions_total counter\nmargrave_decisions_total{code=\"invalid_token\"} 2\n",
            "margrave_decisions_total{code=\"passed\"} 7\n",
            "margrave_instead_total{code=\"upstream_timeout\"} 1\n",
            "margrave_limited_total{bucket=\"address\"} 4\n",
            "margrave_object_seconds_bucket{object=\"limiter\",le=\"0.001\"} 1\n",
            "margrave_object_seconds_bucket{object=\"limiter\",le=\"0.2\"} 2\n",
            "margrave_object_seconds_bucket{object=\"limiter\",le=\"+Inf\"} 3\n",
            "margrave_object_seconds_sum{object=\"limiter\"} 0.304\n",
            "margrave_object_failures_total{object=\"limiter\"} 1\n",
        ] {
            assert!(out.contains(wanted), "{wanted}\n{out}");
        }
    }
}
