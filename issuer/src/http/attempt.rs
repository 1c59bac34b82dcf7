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
    let is_signed = request.headers().contains_key(SIGNATURE_INPUT);
    if app.direct || is_signed {
        let mut response = next.run(request).await;
        // Refused before anybody knew that it is an attempt, because the database is away say: only what says so is not counted.
        let refused = response.extensions().get::<ApiError>().map(|error| Outcome::of(error.code()));
        if let Some(outcome) = refused.filter(|_| is_signed) {
            let value = HeaderValue::from_static(outcome.as_str());
            response.headers_mut().entry(ATTEMPT).or_insert(value);
        }
        return response;
    }
    let refused = ApiError::new(ErrorCode::EdgeRequired);
    let is_oauth = request.uri().path().starts_with("/oauth/");
    if is_oauth { refused.oauth().into_response() } else { refused.into_response() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Serves, router};
    use crate::storage::Db;
    use crate::storage::testing::on_both_databases;
    use crate::testing::World;
    use axum::body::Body;
    use margrave_shared::header::{CONTENT_DIGEST, SIGNATURE, TO_ISSUER};
    use margrave_shared::http_signature::content_digest;
    use margrave_shared::id::uuid_v4;
    use tower::ServiceExt as _;

    async fn who_is_refused_before_they_are_known_has_tried_nothing(db: Db) {
        let world = World::new(db).await;
        let router = router(Arc::clone(&world.app), Serves::All);
        world.app.db.close().await;
        // An edge's call, which nobody can look up now, and a client's own.
        for (is_signed, path) in
            [(true, "/v1/factors/credentials"), (true, "/oauth/token"), (false, "/v1/factors/credentials")]
        {
            let mut request = Request::post(path).header("content-type", "application/json");
            if is_signed {
                let input = format!("edge=(\"@method\");keyid=\"{}\"", uuid_v4(world.app.entropy.bytes()));
                request = request.header(SIGNATURE_INPUT, input).header(SIGNATURE, "edge=:AA==:");
                request = request.header("host", "issuer.test").header(CONTENT_DIGEST, content_digest(b"{}"));
                for name in TO_ISSUER.into_iter().filter(|name| *name != CONTENT_DIGEST) {
                    request = request.header(name, "");
                }
            }
            let answer = router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
            let attempt = answer.headers().get(ATTEMPT).map(|value| value.to_str().unwrap());
            let expected = if is_signed { (503, Some("unevaluated")) } else { (400, None) };
            assert_eq!((answer.status().as_u16(), attempt), expected, "{path}");
        }
    }
    on_both_databases!(unknown, super::who_is_refused_before_they_are_known_has_tried_nothing);
}
