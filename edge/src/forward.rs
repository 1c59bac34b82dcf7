//! To the origin and back: header hygiene both ways, and the signature by which the origin knows that a request came
//! through here.

use crate::clock;
use crate::config::ORIGIN;
use crate::entropy;
use crate::gate::Corridor;
use crate::verify::Verified;
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{self as names, TO_ORIGIN, is_dropped_from_client, is_dropped_from_origin};
use margrave_shared::http_signature::{Algorithm, Message, Parameters, sign};
use margrave_shared::path::Target;
use margrave_shared::permission::print_scope;
use margrave_shared::route_policy::RoutePolicy;
use wasm_bindgen::JsValue;
use worker::{CacheMode, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response};

/// How long the origin may take to answer.
const ORIGIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

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
    let mut init = RequestInit::new();
    init.with_method(Method::from(method.to_owned()))
        .with_headers(headers)
        .with_redirect(RequestRedirect::Manual)
        .with_body(request.inner().body().map(JsValue::from));
    if identity.is_some() {
        init.with_cache(CacheMode::NoStore);
    }
    let url = format!("{}{}", corridor.config.origin_url, target.path_and_query());
    let call = async {
        let outgoing = Request::new_with_init(&url, &init)?;
        match corridor.env.service(ORIGIN) {
            Ok(origin) => origin.fetch_request(outgoing).await,
            Err(_) => Fetch::Request(outgoing).send().await,
        }
    };
    let response = crate::budget::within(ORIGIN_TIMEOUT, call).await.map_err(|failed| match failed {
        crate::budget::Failed::Error => ErrorCode::UpstreamUnavailable,
        crate::budget::Failed::Timeout => ErrorCode::UpstreamTimeout,
    })?;
    incoming(corridor, response, identity.is_some()).map_err(|_| ErrorCode::UpstreamUnavailable)
}

fn outgoing(
    corridor: &Corridor,
    request: &Request,
    method: &str,
    target: &Target,
    identity: Option<(&Verified, &RoutePolicy)>,
) -> worker::Result<Headers> {
    let headers = Headers::new();
    let nominated: Vec<String> = request
        .headers()
        .get("connection")?
        .map(|value| names::nominated(&value).collect())
        .unwrap_or_default();
    for (name, value) in request.headers() {
        if is_dropped_from_client(&name) || nominated.contains(&name) {
            continue;
        }
        if name == "cookie" {
            if let Some(kept) = names::without_own_cookies(&value) {
                headers.set(&name, &kept)?;
            }
            continue;
        }
        headers.append(&name, &value)?;
    }
    // Always set: the address and the request's id are of use on public routes too.
    let client = corridor.client.map(|address| address.to_string()).unwrap_or_default();
    let Some((verified, policy)) = identity else {
        headers.set(names::CLIENT_ADDRESS, &client)?;
        headers.set(names::REQUEST_ID, corridor.request_id.as_str())?;
        return Ok(headers);
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
        headers.set(name, value)?;
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
    headers.set(names::SIGNATURE_INPUT, &signature.input)?;
    headers.set(names::SIGNATURE, &signature.signature)?;
    // A token that the issuer itself would take must not fall into an origin's hands.
    let for_issuer = claims.aud.contains(&corridor.config.issuer);
    if policy.pass_token
        && !for_issuer
        && let Some(token) = request.headers().get("authorization")?
    {
        headers.set("authorization", &token)?;
    }
    Ok(headers)
}

fn incoming(corridor: &Corridor, response: Response, protected: bool) -> worker::Result<Response> {
    let headers = response.headers().clone();
    let dropped: Vec<String> = headers.keys().filter(|name| is_dropped_from_origin(name)).collect();
    for name in dropped {
        headers.delete(&name)?;
    }
    if headers.has("set-cookie")? {
        let cookies = headers.get_all("set-cookie")?;
        if cookies.iter().any(|cookie| names::is_own_cookie(cookie)) {
            headers.delete("set-cookie")?;
            for cookie in cookies.iter().filter(|cookie| !names::is_own_cookie(cookie)) {
                headers.append("set-cookie", cookie)?;
            }
        }
    }
    if protected {
        // What somebody may see must not lie in a cache that everybody asks.
        let said = headers.get("cache-control")?.unwrap_or_default();
        headers.set("cache-control", &names::private_cache_control(&said))?;
        for name in ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"] {
            headers.delete(name)?;
        }
    }
    headers.set(names::REQUEST_ID, corridor.request_id.as_str())?;
    Ok(response.with_headers(headers))
}
