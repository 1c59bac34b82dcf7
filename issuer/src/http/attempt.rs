//! A route on which a secret is tried: what became of the attempt is told to the edge that counts it, or counted here.

use super::error::ApiError;
use super::incoming::Incoming;
use crate::app::App;
use crate::limiter::Attempt;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{ATTEMPT, SIGNATURE_INPUT};
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::limiter::rule::Outcome;
use std::sync::Arc;

/// Makes an attempt, where its limits let it. `made` gives the answer, right or refused.
///
/// # Errors
/// `too_many_attempts` of a direct client; what `made` fails with.
pub(crate) async fn attempt(
    app: &App,
    incoming: &Incoming,
    aim: Aim<'_>,
    made: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    let mut attempt = Attempt::begin(app, aim, &incoming.caller).await?;
    attempt.take(app).await?;
    let made = made.await;
    attempt.end(app, judged(&made).0).await?;
    made
}

/// What became of an attempt, and whether it was not let.
pub(crate) fn judged(result: &Result<Response, ApiError>) -> (Outcome, bool) {
    let outcome = result.as_ref().map_or_else(|error| Outcome::of(error.code()), |_| Outcome::Right);
    (outcome, result.as_ref().is_err_and(|error| error.code() == ErrorCode::TooManyAttempts))
}

/// Tells the edge, and only the edge, what became of an attempt.
pub(crate) fn with_outcome(result: Result<Response, ApiError>, incoming: &Incoming) -> Response {
    let (outcome, _) = judged(&result);
    let mut response = result.unwrap_or_else(ApiError::into_response);
    if incoming.caller.edge.is_some() {
        let value = HeaderValue::from_static(outcome.as_str());
        response.headers_mut().insert(HeaderName::from_static(ATTEMPT), value);
    }
    response
}

/// Refuses what no edge has signed before any work, unless the operator lets clients come directly. Whether a signature is good is
/// known when the body has been read.
pub(crate) async fn through_an_edge(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.direct || request.headers().contains_key(SIGNATURE_INPUT) {
        return next.run(request).await;
    }
    let refused = ApiError::new(ErrorCode::EdgeRequired);
    let is_oauth = request.uri().path().starts_with("/oauth/");
    if is_oauth { refused.oauth().into_response() } else { refused.into_response() }
}
