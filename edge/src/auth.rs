//! `E/auth/…`: an allow-list of the issuer's public routes. Login routes pass the limiter, a refresh passes its
//! session.

use crate::budget::{Failed, within};
use crate::config::EdgeConfig;
use crate::feed::{self, FeedView};
use crate::gate::Corridor;
use crate::issuer::{self, IssuerCall};
use crate::limiter::{self, Aim, Attempt};
use crate::respond::{Refused, refuse, refuse_oauth};
use crate::sessions::{self, Place};
use crate::{body, clock, device, refusals, verify};
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::{Form, MAX_FORM_BYTES};
use margrave_shared::header::{
    ATTEMPT, Credential, DEVICE, PROPAGATED, is_dropped_from_origin, read_authorization,
};
use margrave_shared::limiter::drawing;
use margrave_shared::limiter::rule::Outcome;
use margrave_shared::login::login_key;
use margrave_shared::path::Target;
use margrave_shared::route_policy::{OnStateFailure, RoutePolicy};
use margrave_shared::token::{Expect, verify_refresh};
use margrave_shared::wire::credentials::{CredentialsRequest, MAX_LOGIN_BODY_BYTES};
use margrave_shared::wire::device::DeviceStanding;
use margrave_shared::wire::session_seen::SessionSeen;
use std::time::Duration;
use worker::{Request, Response};

/// What a route is to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answered from the edge's own cache.
    Keys,
    /// Passed on.
    Plain,
    /// Login and password.
    Credentials,
    /// The token endpoint.
    Token,
    /// A secret is tried: counted by address.
    Guessable,
}

/// The issuer's public routes, and no others: never `/admin`, never `/v1/edge`.
fn kind_of(method: &str, path: &str) -> Option<Kind> {
    Some(match (method, path) {
        ("GET" | "HEAD", "/.well-known/jwks.json") => Kind::Keys,
        (
            "GET" | "HEAD",
            "/.well-known/oauth-authorization-server"
            | "/.well-known/openid-configuration"
            | "/v1/me"
            | "/v1/me/devices"
            | "/v1/me/reset"
            | "/reset"
            | "/v1/sessions"
            | "/api/version"
            | "/api/Version"
            | "/v1/status-lists"
            | "/openapi.json",
        )
        | ("POST", "/v1/accounts" | "/v1/logout") => Kind::Plain,
        ("GET" | "HEAD", path) if path.strip_prefix("/v1/status-lists/").is_some_and(is_list) => Kind::Plain,
        // Bounded, since each is written down for good.
        ("DELETE", "/v1/devices") | ("POST", "/v1/me/devices") => Kind::Guessable,
        ("DELETE", "/v1/me/reset") => Kind::Plain,
        ("DELETE", path) if below(path, "/v1/sessions/") || below(path, "/v1/me/devices/") => Kind::Plain,
        ("POST", "/v1/factors/credentials") => Kind::Credentials,
        ("POST", "/oauth/token") => Kind::Token,
        ("POST", "/oauth/revoke" | "/oauth/introspect" | "/v1/password" | "/v1/resets/confirm") => {
            Kind::Guessable
        }
        _ => return None,
    })
}

/// Whether this names a status list: its epoch and its number.
fn is_list(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(epoch, list)| !epoch.is_empty() && !list.contains('/'))
}

/// Whether a path is a folder's and one more name.
fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|name| !name.contains('/'))
}

/// How long the issuer may take: a login waits for its turn to be hashed.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(15);

/// The client's headers that the issuer needs.
const PASSED: [&str; 6] =
    ["authorization", "content-type", "idempotency-key", "accept", "if-none-match", "user-agent"];

/// Answers a request below `/auth`.
pub(crate) async fn handle(
    corridor: &Corridor,
    mut request: Request,
    method: &str,
    path: &str,
    target: &Target,
) -> Result<Response, Refused> {
    let kind = kind_of(method, path).ok_or(ErrorCode::NotFound)?;
    let outcome = match kind {
        Kind::Keys => return Ok(keys(corridor).await?),
        Kind::Plain => pass_on(corridor, &mut request, method, path, target).await,
        Kind::Credentials => credentials(corridor, &mut request, path).await,
        Kind::Token => token(corridor, &mut request, path).await,
        Kind::Guessable => guessable(corridor, &mut request, method, path, target).await,
    };
    outcome.or_else(|refused| {
        refusals::count(refused.code);
        let written = if path.starts_with("/oauth/") {
            refuse_oauth(refused, &corridor.request_id)
        } else {
            refuse(refused, &corridor.request_id)
        };
        written.map_err(|_| ErrorCode::Internal.into())
    })
}

/// The issuer's keys as this isolate knows them.
async fn keys(corridor: &Corridor) -> Result<Response, ErrorCode> {
    let view = feed::fresh(corridor, OnStateFailure::Closed).await?;
    view.keys(clock::now())?;
    let write = || {
        let headers = worker::Headers::new();
        headers.set("content-type", "application/jwk-set+json")?;
        headers.set("cache-control", "public, max-age=60")?;
        Ok::<_, worker::Error>(Response::ok(view.keys_text())?.with_headers(headers))
    };
    write().map_err(|_| ErrorCode::Internal)
}

fn call_of<'a>(corridor: &Corridor, request: &Request, method: &'a str, path: &'a str) -> IssuerCall<'a> {
    let passed = PASSED
        .into_iter()
        .filter_map(|name| request.headers().get(name).ok().flatten().map(|value| (name, value)));
    let traceparent = ("traceparent", corridor.trace.print(corridor.span));
    IssuerCall {
        method,
        path,
        passed: passed.chain([traceparent]).collect(),
        client: corridor.client.map(|address| address.to_string()).unwrap_or_default(),
        request_id: corridor.request_id.to_string(),
        ..IssuerCall::default()
    }
}

/// Sends to the issuer; gives its answer and what it says of the attempt. What it says of devices is done here.
async fn send(corridor: &Corridor, call: &IssuerCall<'_>) -> Result<(Response, Outcome), ErrorCode> {
    let sent = within(ISSUER_TIMEOUT, issuer::call(&corridor.env, &corridor.config, call)).await;
    let response = sent.map_err(|failed| match failed {
        Failed::Error => ErrorCode::UpstreamUnavailable,
        Failed::Timeout => ErrorCode::UpstreamTimeout,
    })?;
    let said = response.headers().get(ATTEMPT).ok().flatten();
    let outcome = Outcome::parse(said.as_deref());
    let clean = || {
        let headers = response.headers().clone();
        let propagated = headers.get(PROPAGATED)?;
        let dropped: Vec<String> = headers.keys().filter(|name| is_dropped_from_origin(name)).collect();
        for name in dropped {
            headers.delete(&name)?;
        }
        if let Some(propagated) = propagated {
            headers.set(PROPAGATED, &propagated)?;
        }
        headers.set(margrave_shared::header::REQUEST_ID, corridor.request_id.as_str())?;
        Ok::<_, worker::Error>(headers)
    };
    let headers = clean().map_err(|_| ErrorCode::UpstreamUnavailable)?;
    let standing = response.headers().get(DEVICE).ok().flatten();
    match standing.and_then(|text| DeviceStanding::parse(&text)) {
        Some(standing) if call.completes_login => {
            device::make_known(corridor, standing, &headers).map_err(|_| ErrorCode::Internal)?;
        }
        Some(standing) => device::forget_others(corridor, &standing).await,
        None => {}
    }
    Ok((response.with_headers(headers), outcome))
}

/// A call of the issuer's own API is activity, so the session's object hears of it. A token that is not for this
/// edge's service is left to the issuer.
async fn count_as_activity(corridor: &Corridor, request: &Request) -> Result<(), Refused> {
    let header = request.headers().get("authorization").ok().flatten();
    let Credential::Bearer(token) = read_authorization(header.as_deref()) else { return Ok(()) };
    let view = feed::fresh(corridor, OnStateFailure::Closed).await?;
    match verify::verify(corridor, &view, token).await {
        Ok(verified) => Ok(sessions::check(corridor, &verified, &RoutePolicy::any_token()).await?),
        Err(ErrorCode::InvalidToken) => Ok(()),
        Err(code) => Err(code.into()),
    }
}

async fn pass_on(
    corridor: &Corridor,
    request: &mut Request,
    method: &str,
    path: &str,
    target: &Target,
) -> Result<Response, Refused> {
    count_as_activity(corridor, request).await?;
    let body = body::read(request, MAX_FORM_BYTES).await?;
    let mut call = call_of(corridor, request, method, path);
    call.query = target.query().unwrap_or("");
    call.body = (!body.is_empty()).then_some(body.as_slice());
    Ok(send(corridor, &call).await?.0)
}

/// Takes an attempt, sends, and settles. A send that fails, or an answer that is lost, gives nothing back.
async fn attempt(corridor: &Corridor, aim: Aim<'_>, call: &IssuerCall<'_>) -> Result<Response, Refused> {
    let taken = limiter::take(&corridor.env, &corridor.config, aim, corridor.client).await?;
    settled(corridor, taken, call).await
}

async fn settled(corridor: &Corridor, taken: Attempt, call: &IssuerCall<'_>) -> Result<Response, Refused> {
    let (response, outcome) = send(corridor, call).await?;
    limiter::settle(&corridor.env, taken, outcome).await;
    Ok(response)
}

async fn credentials(corridor: &Corridor, request: &mut Request, path: &str) -> Result<Response, Refused> {
    expect_type(request, "application/json")?;
    let body = body::read(request, MAX_LOGIN_BODY_BYTES).await?;
    let login = CredentialsRequest::parse(&body).map_err(|_| ErrorCode::InvalidRequest)?;
    let written = login.print();
    let mut call = call_of(corridor, request, "POST", path);
    call.body = Some(written.expose().as_bytes());
    let key = login_key(&login.login);
    let known = device::of_attempt(corridor, &key);
    let aim = Aim::Login { login: &key, merchant: &login.merchant_id, device: known.as_ref() };
    let taken = limiter::take(&corridor.env, &corridor.config, aim, corridor.client).await?;
    if let Some(known) = known.filter(|_| taken.is_by_known_device()) {
        call.device = device::claim(&known);
    }
    settled(corridor, taken, &call).await
}

async fn token(corridor: &Corridor, request: &mut Request, path: &str) -> Result<Response, Refused> {
    expect_type(request, "application/x-www-form-urlencoded")?;
    let body = body::read(request, MAX_FORM_BYTES).await?;
    let form = Form::parse(&body).map_err(|_| ErrorCode::InvalidRequest)?;
    let written = form.print();
    let basic = request.headers().get("authorization").ok().flatten();
    let basic = match basic.as_deref() {
        None => None,
        Some(value) => Some(Basic::parse(value).ok_or(ErrorCode::InvalidClient)?),
    };
    let mut call = call_of(corridor, request, "POST", path);
    call.body = Some(written.as_bytes());
    let devices = device::of_client(corridor);
    let exchange = Aim::Exchange(&devices);
    let key = basic.map(|basic| login_key(&basic.id));
    match drawing::Aim::of_grant(form.get("grant_type"), key.as_deref()) {
        drawing::Aim::Key(key) => attempt(corridor, Aim::Key(key), &call).await,
        drawing::Aim::Refresh => {
            let taken = limiter::take(&corridor.env, &corridor.config, exchange, corridor.client).await?;
            drop(taken);
            if let Some(seen) = refreshed_session(corridor, form.get("refresh_token").unwrap_or("")).await? {
                call.session_seen = seen.print();
            }
            Ok(send(corridor, &call).await?.0)
        }
        drawing::Aim::Factors => {
            call.completes_login = true;
            attempt(corridor, exchange, &call).await
        }
        drawing::Aim::Login { .. } | drawing::Aim::Nothing => attempt(corridor, Aim::Nothing, &call).await,
    }
}

/// What the account object knows of the session that a refresh is for. A refresh token whose key is gone is left to
/// the issuer, which goes by its row.
async fn refreshed_session(corridor: &Corridor, token: &str) -> Result<Option<SessionSeen>, Refused> {
    let view = feed::fresh(corridor, OnStateFailure::Closed).await?;
    let Some((place, until_s)) = read_refresh(&corridor.config, &view, token) else { return Ok(None) };
    match sessions::seen(corridor, &place, until_s).await {
        Ok(seen) => Ok(seen.map(|seen_at| SessionSeen { sid: place.sid, seen_at })),
        // To a client of the token endpoint an ended session is an invalid grant.
        Err(ErrorCode::SessionEnded) => Err(ErrorCode::InvalidGrant.into()),
        Err(code) => Err(code.into()),
    }
}

fn read_refresh(config: &EdgeConfig, view: &FeedView, token: &str) -> Option<(Place, i64)> {
    let now = clock::now();
    let audiences = [config.issuer.clone()];
    let expect = Expect { issuer: &config.issuer, audiences: &audiences, now, max_life_s: i64::MAX };
    let claims = verify_refresh(token, view.keys(now).ok()?, &expect).ok()?;
    let place = Place { merchant: claims.merchant_id, person: claims.sub, sid: claims.sid };
    Some((place, claims.exp))
}

async fn guessable(
    corridor: &Corridor,
    request: &mut Request,
    method: &str,
    path: &str,
    target: &Target,
) -> Result<Response, Refused> {
    let body = body::read(request, MAX_FORM_BYTES).await?;
    let mut call = call_of(corridor, request, method, path);
    call.query = target.query().unwrap_or("");
    call.body = Some(&body);
    let taken = limiter::take(&corridor.env, &corridor.config, Aim::Nothing, corridor.client).await?;
    let (response, outcome) = send(corridor, &call).await?;
    // These routes say by their status what became of the secret.
    let outcome = match response.status_code() {
        401 | 403 => outcome,
        _ => Outcome::Right,
    };
    limiter::settle(&corridor.env, taken, outcome).await;
    Ok(response)
}

fn expect_type(request: &Request, wanted: &str) -> Result<(), ErrorCode> {
    let value = request.headers().get("content-type").ok().flatten().unwrap_or_default();
    let bare = value.split(';').next().unwrap_or("").trim();
    if bare.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(ErrorCode::UnsupportedMediaType) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_routes_are_reached() {
        for (method, path, kind) in [
            ("GET", "/.well-known/jwks.json", Some(Kind::Keys)),
            ("POST", "/oauth/token", Some(Kind::Token)),
            ("GET", "/oauth/token", None),
            ("POST", "/v1/factors/credentials", Some(Kind::Credentials)),
            ("DELETE", "/v1/sessions/current", Some(Kind::Plain)),
            ("DELETE", "/v1/sessions/a/b", None),
            ("DELETE", "/v1/me/devices/a", Some(Kind::Plain)),
            ("DELETE", "/v1/me/devices/a/b", None),
            ("GET", "/reset", Some(Kind::Plain)),
            ("POST", "/reset", None),
            ("POST", "/v1/resets/confirm", Some(Kind::Guessable)),
            ("DELETE", "/v1/me/reset", Some(Kind::Plain)),
            ("DELETE", "/v1/me", None),
            ("GET", "/v1/edge/events", None),
            ("POST", "/v1/edge/reports", None),
            ("GET", "/admin/v1/merchants", None),
            ("GET", "/readyz", None),
            ("GET", "/", None),
        ] {
            assert_eq!(kind_of(method, path), kind, "{method} {path}");
        }
    }
}
