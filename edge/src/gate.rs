//! The corridor: route → clean → credential → verify → revoked? → session → authorize → forward. What is not named is
//! refused.

use crate::boundary::Head;
use crate::config::{EdgeConfig, LoggedRequests};
use crate::forward::Identity;
use crate::limiter::{self, Aim};
use crate::log::{self, Level};
use crate::metrics;
use crate::respond::{Refused, preflight, refuse};
use crate::{address, auth, clock, entropy, feed, forward, own, refusals, sessions, trial, verify, watch};
use margrave_shared::cors::is_preflight;
use margrave_shared::error::ErrorCode;
use margrave_shared::forwarding::asks_for_socket;
use margrave_shared::header::{Credential, read_authorization};
use margrave_shared::header_list::HeaderList;
use margrave_shared::id::RequestId;
use margrave_shared::path::Target;
use margrave_shared::route_policy::{Auth, Mode, RoutePolicy};
use margrave_shared::trace::Trace;
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
    /// The trace that it belongs to, and this edge's span of it.
    pub(crate) trace: Trace,
    pub(crate) span: [u8; 8],
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
    /// The same, and what it opens is watched over as long as it lasts.
    Stream(String, Rc<Verified>, Box<RoutePolicy>),
    /// It is answered.
    Answer(Response),
}

impl Decision {
    /// A text or a `Response`.
    pub(crate) fn into_js(self) -> JsValue {
        match self {
            Self::Forward(plan) | Self::Stream(plan, ..) => plan.into(),
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
    let (Some(config), Some(random)) = (EdgeConfig::of(&env), random) else {
        return refuse(ErrorCode::StateUnavailable.into(), &request_id).map(Decision::Answer);
    };
    let Some(head) = head else {
        return refuse(ErrorCode::InvalidRequest.into(), &request_id).map(Decision::Answer);
    };
    let client = address::client_address(&head, config.client_address);
    // A trace of its own bears the request's id.
    let trace = Trace::of(head.headers.get("traceparent"), random);
    let span = random.last_chunk().copied().unwrap_or_default();
    let corridor = Corridor { config, env, context, head, request_id, trace, span, client };
    let walked = walk(&corridor, request).await;
    note(&corridor, &walked);
    refusals::tell_in_time(&corridor);
    match walked {
        Ok(Decision::Stream(plan, verified, policy)) => {
            watch::begin(corridor, verified, *policy);
            Ok(Decision::Forward(plan))
        }
        Err(refused) => refusal(refused, &corridor.request_id, &cors_of(&corridor)),
        Ok(decided) => Ok(decided),
    }
}

/// The answer to a refused request. A page of another origin may read why, where its route lets it.
fn refusal(refused: Refused, request_id: &RequestId, cors: &HeaderList) -> worker::Result<Decision> {
    refusals::count(refused.code);
    let mut response = refuse(refused, request_id)?;
    for (name, value) in cors.iter() {
        response.headers_mut().set(name, value)?;
    }
    Ok(Decision::Answer(response))
}

/// Counts what became of a request, and writes it down where that is asked for.
fn note(corridor: &Corridor, walked: &Result<Decision, Refused>) {
    let code = match walked {
        Ok(Decision::Forward(_) | Decision::Stream(..)) => {
            metrics::passed();
            "passed"
        }
        Ok(Decision::Answer(_)) => "answered",
        Err(refused) => refused.code.as_str(),
    };
    let logged = match corridor.config.logged {
        LoggedRequests::Off => false,
        LoggedRequests::Refused => walked.is_err(),
        LoggedRequests::All => true,
    };
    if logged {
        let fields = [
            ("request_id", corridor.request_id.as_str().into()),
            ("trace_id", corridor.trace.id().into()),
            ("method", corridor.head.method.as_str().into()),
            // As it is configured: a path may name persons.
            ("route", route_of(corridor).map_or("", |route| &route.name).into()),
            ("code", code.into()),
        ];
        log::write(Level::Info, "request", &fields);
    }
}

/// The route that a request is for, unless it is one of the edge's own.
fn route_of(corridor: &Corridor) -> Option<&RoutePolicy> {
    let target = Target::parse(&corridor.head.url).ok()?;
    let ours = target.below("auth").is_some() || target.below(".margrave").is_some();
    corridor.config.routes.find(&target).filter(|_| !ours)
}

/// The CORS headers of the route that a request is for.
fn cors_of(corridor: &Corridor) -> HeaderList {
    let cors = route_of(corridor).and_then(|route| route.cors.as_ref());
    cors.map(|cors| cors.of_answer(corridor.head.headers.get("origin"))).unwrap_or_default()
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
    let headers = &corridor.head.headers;
    if let Some(cors) = policy.cors.as_ref().filter(|_| is_preflight(method, headers)) {
        let headers = cors.of_preflight(headers.get("origin").unwrap_or(""));
        return preflight(&headers, &corridor.request_id)
            .map(Decision::Answer)
            .map_err(|_| ErrorCode::Internal.into());
    }
    // A browser asks no preflight for a WebSocket: whose page it is stands in `Origin`, and nowhere else.
    if policy.streams && asks_for_socket(method, headers) && !may_connect(&target, policy, headers) {
        return Err(ErrorCode::InsufficientPermission.into());
    }
    let forward = |identity| Ok(Decision::Forward(forward::plan(corridor, &target, policy, identity)?));
    if policy.public {
        limit(corridor, policy, None).await?;
        return forward(Identity::Unsaid);
    }
    let nobody = policy.auth == Auth::Optional && headers.get("authorization").is_none();
    let verdict = if nobody { Ok(None) } else { admit(corridor, policy).await.map(Some) };
    let verdict = match verdict {
        Ok(verified) => limit(corridor, policy, verified.as_deref()).await.map(|()| verified),
        refused => refused,
    };
    match (verdict, policy.mode) {
        (Ok(Some(verified)), Mode::Enforce) if policy.streams => {
            watch::has_room(&verified)?;
            let plan = forward::plan(corridor, &target, policy, Identity::Of(&verified))?;
            Ok(Decision::Stream(plan, verified, Box::new(policy.clone())))
        }
        (Ok(Some(verified)), Mode::Enforce) => forward(Identity::Of(&verified)),
        (Ok(None), Mode::Enforce) => forward(Identity::Nobody),
        (Err(refused), Mode::Enforce) => Err(refused),
        (verdict, Mode::Report) => {
            if let Err(refused) = verdict {
                trial::note(refused.code, clock::now());
            }
            forward(Identity::Unsaid)
        }
    }
}

/// Whether a page may open a WebSocket: one of the edge's own host, or of an origin that the route's `cors` names. What is no
/// browser sends no `Origin`.
fn may_connect(target: &Target, policy: &RoutePolicy, headers: &HeaderList) -> bool {
    let Some(origin) = headers.get("origin") else { return true };
    let own = origin.split_once("://").is_some_and(|(_, host)| host.eq_ignore_ascii_case(target.host()));
    own || policy.cors.as_ref().is_some_and(|cors| cors.allows(origin))
}

/// Counts a request to a route that says how often it may be asked.
async fn limit(
    corridor: &Corridor,
    policy: &RoutePolicy,
    verified: Option<&Verified>,
) -> Result<(), Refused> {
    let Some(limit) = policy.limit else { return Ok(()) };
    let subject = verified.map(|verified| verified.claims.sub.print());
    let aim = Aim::Route { route: &policy.name, limit, subject: subject.as_deref() };
    // Whatever becomes of it, it counts.
    limiter::take(&corridor.env, &corridor.config, aim, corridor.client).await.map(drop)
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
    // A token for another origin's service is none here.
    if !verified.claims.aud.contains(&corridor.config.origins.of(policy).audience) {
        return Err(ErrorCode::InvalidToken.into());
    }
    sessions::check(corridor, &verified, policy).await?;
    policy.authorize(&verified.claims, now)?;
    Ok(verified)
}
