//! What every request passes: an id, a time limit, a guard against panics, a log line and the security headers.

use super::context::KnownAs;
use super::error::{ApiError, write_body};
use crate::app::App;
use crate::clock::Stopwatch;
use crate::edges;
use crate::failure::Failure;
use crate::metrics;
use crate::revocations::noting_endings;
use crate::revocations::store::find_head;
use crate::telemetry::continue_trace;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{PROPAGATED, REQUEST_ID, SIGNATURE_INPUT};
use margrave_shared::id::RequestId;
use margrave_shared::revocation::Cursor;
use margrave_shared::trace::Trace;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Longer than a long poll of the feed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// The outermost layer.
pub(crate) async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let request_id = RequestId::from_random(app.entropy.bytes());
    request.extensions_mut().insert(request_id.clone());
    let known_as = KnownAs::default();
    request.extensions_mut().insert(known_as.clone());
    let (started, watch) = (app.clock.now(), Stopwatch::start());
    let route =
        request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let trace = Trace::of(traceparent, app.entropy.bytes());

    let span = tracing::debug_span!(
        "request",
        otel.name = format!("{} {route}", known_method(&method)),
        otel.kind = "server",
        http.request.method = known_method(&method),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    // A trace is an edge's to begin, or to go on with. Whether the signature is good is not known yet: what somebody gains who makes
    // one up, any client has through the edge.
    if request.headers().contains_key(SIGNATURE_INPUT)
        && let Some(traceparent) = request.headers().get("traceparent").and_then(|value| value.to_str().ok())
    {
        continue_trace(&span, traceparent);
    }

    // Of a token that was none its answer says as much as of one that was (RFC 7009 §2.2).
    let tells_always = route == "/oauth/revoke";
    // A task of its own, so that a panic in a handler is an answer and not a broken connection.
    let handler = Arc::clone(&app);
    let handled = async move {
        let (mut response, ending) = noting_endings(next.run(request)).await;
        // A refusal does not tell by waiting that it ended something, as that of a refresh token's second use does.
        if response.status().is_success() && (ending.is_some() || tells_always) {
            // Boxed: it is large, and few requests need it.
            let propagated = Box::pin(propagated(&handler, ending)).await;
            let value = HeaderValue::from_static(if propagated { "true" } else { "false" });
            response.headers_mut().insert(HeaderName::from_static(PROPAGATED), value);
        }
        response
    }
    .instrument(span.clone());
    let mut handling = Handled { is_waiting: route == LONG_POLL, task: tokio::spawn(handled) };
    let handled = tokio::time::timeout(REQUEST_TIMEOUT, &mut handling.task).await;
    let response = match handled {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            tracing::error!(%panic, "a handler panicked");
            ApiError::new(ErrorCode::Internal).into_response()
        }
        Err(_) => {
            // What was looked at is shown to nobody, and must not keep its place for as long as a database that is gone.
            if method.is_safe() {
                handling.task.abort();
            }
            ApiError::new(ErrorCode::StateUnavailable).into_response()
        }
    };
    // Whoever asks what became of their request names the one id that they have seen.
    let request_id = known_as.get().cloned().unwrap_or(request_id);
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    drop(span);
    let took_ms = app.clock.now().since(started);
    metrics::request(known_method(&method), &route, status, watch);
    // Not the path: somebody may have typed a name into it.
    tracing::info!(%request_id, trace_id = trace.id(), %method, route, status, took_ms, "request");

    let mut response = write_body(response, &request_id);
    let headers = response.headers_mut();
    for (name, value) in
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::REFERRER_POLICY, "no-referrer")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page says what it needs.
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(HeaderName::from_static(REQUEST_ID), value);
    }
    if app.draining.is_leaving() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Where somebody waits for what may not come for long.
const LONG_POLL: &str = "/v1/edge/events";

/// Work on a request. Who goes away ends it where it only waits; the rest is brought to its end, a look too: the database would go on with
/// it anyway, and whoever bounds how many look at once, or writes down who did, must not be told that it is over.
struct Handled {
    is_waiting: bool,
    task: JoinHandle<Response>,
}

impl Drop for Handled {
    fn drop(&mut self) {
        if self.is_waiting {
            self.task.abort();
        }
    }
}

/// A method as a label: what is made up is one.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Whether every edge has an ending, or whatever there is where none is named.
async fn propagated(app: &App, ending: Option<Cursor>) -> bool {
    let told = async {
        let place = match ending {
            Some(place) => place,
            None => find_head(&mut app.db.glance().await?).await?,
        };
        let edges = edges::find_standing(app).await?;
        let watch = Stopwatch::start();
        let settled = app.propagation.settled(&edges, &place).await;
        metrics::ending(settled, watch);
        Ok::<_, Failure>(settled)
    };
    // Whom it concerns cannot be known: then nobody is said to know.
    told.await.unwrap_or(false)
}

/// What no route names.
pub(crate) async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}

/// A method that a route does not have.
pub(crate) async fn method_not_allowed() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed)
}
