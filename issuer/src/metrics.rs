//! What is counted and measured, for Prometheus: served on a listener of its own (`metrics_listen`), never where the public calls. No
//! label holds a name, an address or an id of a person; edges and merchants' keys are not told apart either, but for the edges' lag.

use crate::app::App;
use crate::audit::count_unsealed;
use crate::clock::Stopwatch;
use crate::edges::find_edges;
use crate::failure::Failure;
use crate::merchants::find_last_reset;
use crate::notify::count_waiting;
use crate::revocations::store::find_head;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use margrave_shared::limiter::rule::Outcome;
use margrave_shared::time::UnixMs;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use std::sync::Arc;
use std::time::Duration;

/// Buckets of every duration, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// After how long a gauge that nobody sets is no longer shown.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);

/// How long the database may take to say what it knows.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often what was measured is put into its buckets, so that it does not pile up while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Begins to count. Without it everything below does nothing.
///
/// # Errors
/// When it has begun already.
pub(crate) fn install() -> Result<PrometheusHandle, Failure> {
    let refused = |_| Failure::Internal("metrics cannot be installed");
    let builder =
        PrometheusBuilder::new().set_buckets(&SECONDS).map_err(|_| Failure::Internal("no buckets"))?;
    // What is no more, or cannot be looked at, must not stand there as it last was.
    let builder = builder.idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN_AFTER));
    let handle = builder.install_recorder().map_err(refused)?;
    describe_counter!("margrave_requests_total", "Requests, by route and status.");
    describe_histogram!("margrave_request_seconds", "How long requests took, by route.");
    describe_counter!("margrave_logins_total", "Attempts at a password, by outcome.");
    describe_counter!("margrave_tokens_total", "Requests for tokens, by grant and outcome.");
    describe_histogram!("margrave_password_wait_seconds", "How long hashing waited for its turn.");
    describe_gauge!("margrave_password_queue", "Passwords that are hashed or wait for it.");
    describe_counter!("margrave_password_overloaded_total", "Attempts that found the queue full.");
    describe_histogram!("margrave_database_seconds", "How long a transaction took to begin, and to commit.");
    describe_counter!("margrave_database_errors_total", "Failures of the database, by kind.");
    describe_gauge!("margrave_feed_seq", "The number of the last ending.");
    describe_gauge!(
        "margrave_feed_behind",
        "How many endings an edge that takes pushes has not acknowledged."
    );
    describe_gauge!(
        "margrave_edge_silent_seconds",
        "For how long this issuer has heard nothing of an edge; with several issuers the least of them counts."
    );
    describe_histogram!("margrave_ending_seconds", "How long endings' answers waited for the edges.");
    describe_counter!("margrave_endings_total", "Endings' answers, by whether every edge had them.");
    describe_gauge!("margrave_audit_unsealed", "Audit entries that are not sealed yet.");
    describe_gauge!("margrave_audit_unsealed_seconds", "How long the oldest of them has been waiting.");
    describe_gauge!(
        "margrave_admin_reset_timestamp_seconds",
        "When `margrave admin reset` was last used, in Unix seconds; 0 where it never was."
    );
    describe_counter!("margrave_mails_total", "Mails, by what became of them.");
    describe_gauge!("margrave_notices_waiting", "Notices that have not been sent yet.");
    describe_gauge!("margrave_signing_ready", "Whether there is a key that signs.");
    // What has not happened yet is a zero: without one an alert has nothing to look at.
    for outcome in ["sent", "deferred"] {
        counter!("margrave_mails_total", "outcome" => outcome).increment(0);
    }
    Ok(handle)
}

/// A request was answered.
pub(crate) fn request(method: &str, route: &str, status: u16, took: Stopwatch) {
    let (method, route) = (method.to_owned(), route.to_owned());
    counter!("margrave_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!("margrave_request_seconds", "route" => route).record(took.seconds());
}

/// A password was tried.
pub(crate) fn login(outcome: Outcome, is_limited: bool) {
    counter!("margrave_logins_total", "outcome" => name_of(outcome, is_limited)).increment(1);
}

/// A token was asked for.
pub(crate) fn token(grant: &'static str, outcome: Outcome, is_limited: bool) {
    counter!("margrave_tokens_total", "grant" => grant, "outcome" => name_of(outcome, is_limited))
        .increment(1);
}

fn name_of(outcome: Outcome, is_limited: bool) -> &'static str {
    if is_limited { "limited" } else { outcome.as_str() }
}

/// A password waited for its turn.
pub(crate) fn password_waited(waited: Stopwatch) {
    histogram!("margrave_password_wait_seconds").record(waited.seconds());
}

/// The queue of passwords was full.
pub(crate) fn password_overloaded() {
    counter!("margrave_password_overloaded_total").increment(1);
}

/// A transaction began or was committed.
pub(crate) fn database(step: &'static str, took: Stopwatch) {
    histogram!("margrave_database_seconds", "step" => step).record(took.seconds());
}

/// The database failed.
pub(crate) fn database_failed(kind: &'static str) {
    counter!("margrave_database_errors_total", "kind" => kind).increment(1);
}

/// A mail was `sent` or `deferred`.
pub(crate) fn mail(outcome: &'static str) {
    counter!("margrave_mails_total", "outcome" => outcome).increment(1);
}

/// An ending's answer has waited for the edges.
pub(crate) fn ending(propagated: bool, waited: Stopwatch) {
    histogram!("margrave_ending_seconds").record(waited.seconds());
    counter!("margrave_endings_total", "propagated" => if propagated { "true" } else { "false" })
        .increment(1);
}

/// What is looked at when somebody asks.
async fn sample(app: &App) -> Result<(), Failure> {
    gauge!("margrave_password_queue").set(app.kdf.waits() as f64);
    gauge!("margrave_signing_ready").set(f64::from(u8::from(app.keyring.signer().is_ok())));
    let mut tx = app.db.glance().await?;
    let head = find_head(&mut tx).await?;
    gauge!("margrave_feed_seq").set(head.seq as f64);
    let edges = find_edges(&mut tx).await?;
    for edge in &edges {
        gauge!("margrave_edge_silent_seconds", "edge" => edge.name.clone()).set(app.heard.silent_s(&edge.id));
    }
    for edge in edges.iter().filter(|edge| edge.push_url.is_some()) {
        // An edge that acknowledges nothing, with several isolates say, is not behind for that.
        if let Some(behind) = app.propagation.behind(&edge.id, &head) {
            gauge!("margrave_feed_behind", "edge" => edge.name.clone()).set(behind as f64);
        }
    }
    let reset_at = find_last_reset(&mut tx).await?.map_or(0, UnixMs::seconds);
    gauge!("margrave_admin_reset_timestamp_seconds").set(reset_at as f64);
    gauge!("margrave_notices_waiting").set(count_waiting(&mut tx).await? as f64);
    let (unsealed, oldest) = count_unsealed(&mut tx).await?;
    gauge!("margrave_audit_unsealed").set(unsealed as f64);
    let waiting_ms = oldest.map_or(0, |at| (app.clock.now().0 - at).max(0));
    gauge!("margrave_audit_unsealed_seconds").set(waiting_ms as f64 / 1000.0);
    Ok(())
}

/// The listener's router: `GET /metrics` in Prometheus' text format.
pub(crate) fn router(app: Arc<App>, handle: PrometheusHandle) -> Router {
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Router::new().route("/metrics", get(scrape)).with_state((app, handle))
}

async fn scrape(State((app, handle)): State<(Arc<App>, PrometheusHandle)>) -> Response {
    // With the database down the counters are worth all the more.
    match tokio::time::timeout(SAMPLE_TIMEOUT, sample(&app)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "what the database knows is not measured"),
        Err(_) => tracing::warn!("the database does not say in time what it knows"),
    }
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], handle.render()).into_response()
}
