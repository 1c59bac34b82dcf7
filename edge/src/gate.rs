//! The corridor: route → clean → credential → verify → revoked? → session → authorize → forward. What is not named is
//! refused.

use crate::config::EdgeConfig;
use crate::respond::{Refused, refuse};
use crate::{address, auth, clock, entropy, feed, forward, own, sessions, verify};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{Credential, read_authorization};
use margrave_shared::id::RequestId;
use margrave_shared::path::Target;
use margrave_shared::route_policy::RoutePolicy;
use std::net::IpAddr;
use std::rc::Rc;
use verify::Verified;
use worker::{Context, Env, Request, Response};

/// What every part of the corridor needs to know of a request.
pub(crate) struct Corridor {
    /// The configuration.
    pub(crate) config: Rc<EdgeConfig>,
    /// The bindings.
    pub(crate) env: Env,
    /// For work that goes on after the answer.
    pub(crate) context: Context,
    /// The request's id.
    pub(crate) request_id: RequestId,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
}

/// The methods that pass.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Answers a request.
pub(crate) async fn handle(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let random = entropy::bytes16();
    let request_id = RequestId::from_random(random.unwrap_or_default());
    let (Some(config), Some(_)) = (EdgeConfig::of(&env), random) else {
        return refuse(ErrorCode::StateUnavailable.into(), &request_id);
    };
    let client = address::client_address(&request, config.client_address);
    let corridor = Corridor { config, env, context, request_id, client };
    match walk(&corridor, request).await {
        Ok(response) => Ok(response),
        Err(refused) => refuse(refused, &corridor.request_id),
    }
}

async fn walk(corridor: &Corridor, request: Request) -> Result<Response, Refused> {
    let target = Target::parse(&request.inner().url()).map_err(|_| ErrorCode::AmbiguousRequest)?;
    let method = request.inner().method();
    if !METHODS.contains(&method.as_str()) {
        return Err(ErrorCode::MethodNotAllowed.into());
    }
    if let Some(path) = target.below("auth") {
        return auth::handle(corridor, request, &method, &path, &target).await;
    }
    if let Some(path) = target.below(".margrave") {
        return own::handle(corridor, &request, &method, &path).await;
    }
    let policy = corridor.config.routes.find(&target).ok_or(ErrorCode::NotFound)?;
    if policy.public {
        return Ok(forward::to_origin(corridor, request, &method, &target, None).await?);
    }
    let verified = admit(corridor, &request, policy).await?;
    Ok(forward::to_origin(corridor, request, &method, &target, Some((&verified, policy))).await?)
}

/// Everything between the route and the origin.
async fn admit(
    corridor: &Corridor,
    request: &Request,
    policy: &RoutePolicy,
) -> Result<Rc<Verified>, Refused> {
    let header = request.headers().get("authorization").map_err(|_| ErrorCode::InvalidRequest)?;
    let token = match read_authorization(header.as_deref()) {
        Credential::Bearer(token) => token,
        Credential::None | Credential::Unusable => return Err(ErrorCode::InvalidToken.into()),
        Credential::Ambiguous => return Err(ErrorCode::AmbiguousRequest.into()),
    };
    let feed = feed::fresh(corridor, policy.on_state_failure).await?;
    let verified = verify::verify(corridor, &feed, token).await?;
    let now = clock::now();
    // Looking for a key may have taken a while: the newest view judges.
    let feed = feed::present().unwrap_or(feed);
    match feed.ending_of(&verified) {
        None => {}
        Some("session" | "account") => return Err(ErrorCode::SessionEnded.into()),
        Some(_) => return Err(ErrorCode::InvalidToken.into()),
    }
    sessions::check(corridor, &verified, policy).await?;
    policy.authorize(&verified.claims, now)?;
    Ok(verified)
}
