//! `E/.margrave/…`: the edge's own routes.

use crate::config::Isolates;
use crate::gate::Corridor;
use crate::respond::Refused;
use crate::{body, clock, feed, metrics, refusals, sessions, state, verify};
use margrave_shared::error::ErrorCode;
use margrave_shared::event::MAX_PUSH_BYTES;
use margrave_shared::header::{Credential, FEED_LATER, FEED_POSITION, read_authorization};
use margrave_shared::permission::print_scope;
use margrave_shared::route_policy::{OnStateFailure, RoutePolicy};
use margrave_shared::secret::equal_in_constant_time;
use worker::{Headers, Request, Response};

/// Answers a request below `/.margrave`.
pub(crate) async fn handle(
    corridor: &Corridor,
    request: Request,
    method: &str,
    path: &str,
) -> Result<Response, Refused> {
    match (method, path) {
        ("GET" | "HEAD", "/health") => Ok(health(corridor).await?),
        ("GET" | "HEAD", "/session") => Ok(session(corridor).await?),
        ("GET" | "HEAD", "/metrics") => Ok(numbers(corridor)?),
        ("POST", "/events") => events(corridor, request).await,
        _ => Err(ErrorCode::NotFound.into()),
    }
}

/// The issuer pushes endings (RFC 8935 §2): 202, or 400 with an error object (§2.3) that names no reason. Beside the RFC,
/// the answer says where the edge stands, and 409 that the batch does not continue there.
async fn events(corridor: &Corridor, mut request: Request) -> Result<Response, Refused> {
    if !corridor.config.revocations.has_feed() {
        return Err(ErrorCode::NotFound.into());
    }
    let media_type = request.headers().get("content-type").ok().flatten().unwrap_or_default();
    if !media_type.eq_ignore_ascii_case("application/secevent+jwt") {
        return Err(ErrorCode::UnsupportedMediaType.into());
    }
    let body = body::read(&mut request, MAX_PUSH_BYTES).await?;
    let pushed = match String::from_utf8(body) {
        Ok(token) => feed::push(corridor, token).await,
        Err(_) => Err(ErrorCode::InvalidRequest),
    };
    let written = match pushed {
        Ok(standing) => stands(&standing, corridor.config.revocations.isolates),
        Err(ErrorCode::InvalidRequest) => {
            refusals::count(ErrorCode::InvalidRequest);
            Response::from_json(&serde_json::json!({ "err": "invalid_request", "description": "not taken" }))
                .map(|response| response.with_status(400))
        }
        Err(code) => return Err(code.into()),
    };
    written.map_err(|_| ErrorCode::Internal.into())
}

/// Says where the edge stands; 409 when the batch does not continue there.
fn stands(standing: &feed::Standing, isolates: Isolates) -> worker::Result<Response> {
    let headers = Headers::new();
    if isolates == Isolates::Many {
        // The others hear with their next question.
        headers.set(FEED_LATER, "poll")?;
    }
    headers.set(FEED_POSITION, &standing.position.to_string())?;
    let status = if standing.taken { 202 } else { 409 };
    Ok(Response::empty()?.with_headers(headers).with_status(status))
}

/// Numbers for Prometheus, for who holds the key.
fn numbers(corridor: &Corridor) -> Result<Response, ErrorCode> {
    let key = corridor.config.metrics_key.as_ref().ok_or(ErrorCode::NotFound)?;
    match read_authorization(corridor.head.headers.get("authorization")) {
        Credential::Bearer(token) if equal_in_constant_time(token.as_bytes(), key.expose().as_bytes()) => {}
        _ => return Err(ErrorCode::InvalidToken),
    }
    let write = || {
        let headers = Headers::new();
        headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8")?;
        headers.set("cache-control", "no-store")?;
        Ok::<_, worker::Error>(Response::ok(metrics::text(&corridor.config))?.with_headers(headers))
    };
    write().map_err(|_| ErrorCode::Internal)
}

pub(crate) fn json(value: &serde_json::Value) -> Result<Response, ErrorCode> {
    let write = || {
        let headers = Headers::new();
        headers.set("content-type", "application/json")?;
        headers.set("cache-control", "no-store")?;
        Ok::<_, worker::Error>(Response::ok(value.to_string())?.with_headers(headers))
    };
    write().map_err(|_| ErrorCode::Internal)
}

/// Whether requests can be judged: the objects answer, and there are keys.
async fn health(corridor: &Corridor) -> Result<Response, ErrorCode> {
    let view = feed::fresh(corridor, OnStateFailure::Closed).await?;
    view.keys(clock::now())?;
    if !state::is_there(&corridor.env) {
        return Err(ErrorCode::StateUnavailable);
    }
    json(&serde_json::json!({ "status": "ok" }))
}

/// Who am I. Reading it is no activity.
async fn session(corridor: &Corridor) -> Result<Response, ErrorCode> {
    let token = match read_authorization(corridor.head.headers.get("authorization")) {
        Credential::Bearer(token) => token,
        Credential::None | Credential::Unusable => return Err(ErrorCode::InvalidToken),
        Credential::Ambiguous => return Err(ErrorCode::AmbiguousRequest),
    };
    let view = feed::fresh(corridor, OnStateFailure::Closed).await?;
    let verified = verify::verify(corridor, &view, token).await?;
    if view.ending_of(&verified).is_some() {
        return Err(ErrorCode::SessionEnded);
    }
    let question = RoutePolicy { activity: false, ..RoutePolicy::any_token() };
    sessions::check(corridor, &verified, &question).await?;
    let claims = &verified.claims;
    let ends = sessions::ends_in_s(&verified, clock::now());
    json(&serde_json::json!({
        "subject": claims.sub,
        "merchant_id": claims.merchant_id,
        "account_id": claims.account_id,
        "user_type": claims.user_type,
        "permissions": print_scope(&claims.scope),
        "sid": claims.sid,
        "idle_s": ends.idle_s,
        "absolute_s": ends.absolute_s,
    }))
}
