//! To the origin and back: header hygiene both ways, and the signature by which the origin knows that a request came
//! through here.

use crate::budget::{Failed, within};
use crate::clock;
use crate::config::ORIGIN;
use crate::entropy;
use crate::gate::Corridor;
use crate::header_map;
use crate::verify::Verified;
use js_sys::{Function, Promise, Reflect};
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{self as names, TO_ORIGIN, is_dropped_from_client, is_dropped_from_origin};
use margrave_shared::http_signature::{Algorithm, Message, Parameters, sign};
use margrave_shared::path::Target;
use margrave_shared::permission::print_scope;
use margrave_shared::route_policy::RoutePolicy;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Env, Headers, Request, Response};

/// How long the origin may take to answer.
const ORIGIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

thread_local! {
    /// The origin's binding and its `fetch`, looked up once.
    static ORIGIN_FETCH: OnceCell<Option<(JsValue, Function)>> = const { OnceCell::new() };
}

/// `env.ORIGIN.fetch`, or the global `fetch` where there is no such binding.
fn origin_fetch(env: &Env) -> Option<(JsValue, Function)> {
    ORIGIN_FETCH.with(|found| {
        found
            .get_or_init(|| {
                let binding = Reflect::get(env, &ORIGIN.into()).ok().filter(|value| value.is_object());
                let this = binding.unwrap_or_else(|| js_sys::global().into());
                let fetch = Reflect::get(&this, &"fetch".into()).ok()?.dyn_into().ok()?;
                Some((this, fetch))
            })
            .clone()
    })
}

/// Passes a request on. Without a verified token it goes without identity, on public routes.
pub(crate) async fn to_origin(
    corridor: &Corridor,
    request: Request,
    method: &str,
    target: &Target,
    identity: Option<(&Verified, &RoutePolicy)>,
) -> Result<Response, ErrorCode> {
    let headers =
        outgoing(corridor, &request, method, target, identity).map_err(|_| ErrorCode::InvalidRequest)?;
    let init = web_sys::RequestInit::new();
    init.set_method(method);
    init.set_headers(&headers);
    // The origin's redirects are the client's to follow.
    init.set_redirect(web_sys::RequestRedirect::Manual);
    if let Some(body) = request.inner().body() {
        // As it streams in, it streams out.
        init.set_body(&body);
    }
    if identity.is_some() {
        init.set_cache(web_sys::RequestCache::NoStore);
    }
    let url = format!("{}{}", corridor.config.origin_url, target.path_and_query());
    let (this, fetch) = origin_fetch(&corridor.env).ok_or(ErrorCode::UpstreamUnavailable)?;
    let call = async {
        let promise: Promise = fetch.call2(&this, &url.into(), &init)?.dyn_into()?;
        Ok(JsFuture::from(promise).await?.dyn_into::<web_sys::Response>()?)
    };
    let response = within(ORIGIN_TIMEOUT, call).await.map_err(|failed| match failed {
        Failed::Error => ErrorCode::UpstreamUnavailable,
        Failed::Timeout => ErrorCode::UpstreamTimeout,
    })?;
    incoming(corridor, &response, identity.is_some()).map_err(|_| ErrorCode::UpstreamUnavailable)
}

fn outgoing(
    corridor: &Corridor,
    request: &Request,
    method: &str,
    target: &Target,
    identity: Option<(&Verified, &RoutePolicy)>,
) -> Result<web_sys::Headers, JsValue> {
    let received = header_map::read(&request.inner().headers())?;
    let nominated: Vec<String> =
        received.get("connection").map(|value| names::nominated(value).collect()).unwrap_or_default();
    let token = received.get("authorization").cloned();
    let mut headers = BTreeMap::new();
    for (name, value) in received {
        if is_dropped_from_client(&name) || nominated.contains(&name) {
            continue;
        }
        let value = if name == "cookie" { names::without_own_cookies(&value) } else { Some(value) };
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    // Always set: the address and the request's id are of use on public routes too.
    let client = corridor.client.map(|address| address.to_string()).unwrap_or_default();
    let mut set = |name: &str, value: &str| headers.insert(name.to_owned(), value.to_owned());
    let Some((verified, policy)) = identity else {
        set(names::CLIENT_ADDRESS, &client);
        set(names::REQUEST_ID, corridor.request_id.as_str());
        return header_map::write(&headers);
    };
    let claims = &verified.claims;
    let subject = claims.sub.print();
    let permissions = print_scope(&claims.scope);
    let text = |id: Option<&str>| id.unwrap_or("").to_owned();
    let cabinet = if claims.cabinet.is_some() { subject.clone() } else { String::new() };
    let values: [String; 10] = [
        subject,
        claims.merchant_id.to_string(),
        text(claims.account_id.as_ref().map(|id| id.as_str())),
        permissions,
        text(claims.user_type.map(|t| t.as_str())),
        text(claims.sid.as_ref().map(|id| id.as_str())),
        cabinet,
        text(claims.act.as_ref().map(|act| act.sub.as_str())),
        client,
        corridor.request_id.to_string(),
    ];
    let signed: Vec<(&str, &str)> = TO_ORIGIN.into_iter().zip(values.iter().map(String::as_str)).collect();
    for (name, value) in &signed {
        set(name, value);
    }
    let path = target.path();
    let message = Message {
        method,
        authority: &corridor.config.origin_authority,
        path: &path,
        query: target.query().unwrap_or(""),
        headers: &signed,
    };
    let parameters = Parameters {
        created: clock::now().seconds(),
        key_id: corridor.config.hop_key_id.clone(),
        nonce: base64::encode_url(&entropy::bytes16().unwrap_or_default()),
        algorithm: Algorithm::HmacSha256,
    };
    let signature = sign(&message, &parameters, |base| corridor.config.hop_key.sign(base).to_vec());
    set(names::SIGNATURE_INPUT, &signature.input);
    set(names::SIGNATURE, &signature.signature);
    // A token that the issuer itself would take must not fall into an origin's hands.
    let for_issuer = claims.aud.contains(&corridor.config.issuer);
    if let Some(token) = token.filter(|_| policy.pass_token && !for_issuer) {
        set("authorization", &token);
    }
    header_map::write(&headers)
}

/// What is dropped from every answer to somebody in particular, so that no shared cache keeps it.
const SHARED_CACHE: [&str; 3] = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];

fn incoming(corridor: &Corridor, response: &web_sys::Response, protected: bool) -> Result<Response, JsValue> {
    let headers = web_sys::Headers::new_with_headers(&response.headers())?;
    let present = header_map::names(&headers)?;
    for name in &present {
        if is_dropped_from_origin(name) || (protected && SHARED_CACHE.contains(&name.as_str())) {
            headers.delete(name)?;
        }
    }
    if present.iter().any(|name| name == "set-cookie") {
        drop_own_cookies(&headers)?;
    }
    if protected {
        // What somebody may see must not lie in a cache that everybody asks.
        let said = headers.get("cache-control")?.unwrap_or_default();
        headers.set("cache-control", &names::private_cache_control(&said))?;
    }
    headers.set(names::REQUEST_ID, corridor.request_id.as_str())?;
    let init = web_sys::ResponseInit::new();
    init.set_status(response.status());
    init.set_status_text(&response.status_text());
    init.set_headers(&headers);
    let body = response.body();
    Ok(web_sys::Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init)?.into())
}

/// Cookies stay separate; those that bear our names are not the origin's to set.
fn drop_own_cookies(headers: &web_sys::Headers) -> Result<(), JsValue> {
    let cookies = Headers(headers.clone()).get_all("set-cookie").map_err(|_| JsValue::NULL)?;
    if cookies.iter().any(|cookie| names::is_own_cookie(cookie)) {
        headers.delete("set-cookie")?;
        for cookie in cookies.iter().filter(|cookie| !names::is_own_cookie(cookie)) {
            headers.append("set-cookie", cookie)?;
        }
    }
    Ok(())
}
