//! The corridor: route → clean → credential → verify → revoked? → session → authorize → forward. What is not named is
//! refused.

use crate::boundary::Head;
use crate::config::EdgeConfig;
use crate::respond::{Refused, refuse};
use crate::{address, auth, clock, entropy, feed, forward, own, refusals, sessions, verify};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{Credential, read_authorization};
use margrave_shared::id::RequestId;
use margrave_shared::path::Target;
use margrave_shared::route_policy::RoutePolicy;
use std::net::IpAddr;
use std::rc::Rc;
use verify::Verified;
use wasm_bindgen::JsValue;
use web_sys::Request;
use worker::{Context, Env, Response};

/// What every part of the corridor needs to know of a request.
pub(crate) struct Corridor {
    /// The configuration.
    pub(crate) config: Rc<EdgeConfig>,
    /// The bindings.
    pub(crate) env: Env,
    /// For work that goes on after the answer.
    pub(crate) context: Context,
    /// The request's head.
    pub(crate) head: Head,
    /// The request's id.
    pub(crate) request_id: RequestId,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
}

/// The methods that pass.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is passed on, as the plan says.
    Forward(String),
    /// It is answered.
    Answer(Response),
}

impl Decision {
    /// A text or a `Response`.
    pub(crate) fn into_js(self) -> JsValue {
        match self {
            Self::Forward(plan) => plan.into(),
            Self::Answer(response) => web_sys::Response::from(response).into(),
        }
    }
}

/// Judges a request.
pub(crate) async fn handle(
    head: Option<Head>,
    request: Request,
    env: Env,
    context: Context,
) -> worker::Result<Decision> {
    let random = entropy::bytes16();
    let request_id = RequestId::from_random(random.unwrap_or_default());
    let (Some(config), Some(_)) = (EdgeConfig::of(&env), random) else {
        return refuse(ErrorCode::StateUnavailable.into(), &request_id).map(Decision::Answer);
    };
    let Some(head) = head else {
        return refuse(ErrorCode::InvalidRequest.into(), &request_id).map(Decision::Answer);
    };
    let client = address::client_address(&head, config.client_address);
    let corridor = Corridor { config, env, context, head, request_id, client };
    let walked = walk(&corridor, request).await;
    refusals::tell_in_time(&corridor);
    walked.or_else(|refused| {
        refusals::count(refused.code);
        refuse(refused, &corridor.request_id).map(Decision::Answer)
    })
}

async fn walk(corridor: &Corridor, request: Request) -> Result<Decision, Refused> {
    let target = Target::parse(&corridor.head.url).map_err(|_| ErrorCode::AmbiguousRequest)?;
    let method = corridor.head.method.as_str();
    if !METHODS.contains(&method) {
        return Err(ErrorCode::MethodNotAllowed.into());
    }
    if let Some(path) = target.below("auth") {
        return auth::handle(corridor, request.into(), method, &path, &target).await.map(Decision::Answer);
    }
    if let Some(path) = target.below(".margrave") {
        #[cfg(feature = "drill")]
        if path.starts_with("/drill/") {
            return Ok(Decision::Answer(crate::drill::handle(request.into(), &path, &target).await?));
        }
        return own::handle(corridor, request.into(), method, &path).await.map(Decision::Answer);
    }
    let policy = corridor.config.routes.find(&target).ok_or(ErrorCode::NotFound)?;
    if policy.public {
        return Ok(Decision::Forward(forward::plan(corridor, &target, None)?));
    }
    let verified = admit(corridor, policy).await?;
    Ok(Decision::Forward(forward::plan(corridor, &target, Some((&verified, policy)))?))
}

/// Everything between the route and the origin.
async fn admit(corridor: &Corridor, policy: &RoutePolicy) -> Result<Rc<Verified>, Refused> {
    let token = match read_authorization(corridor.head.headers.get("authorization")) {
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
