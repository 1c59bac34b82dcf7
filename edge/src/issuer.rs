//! Signed calls to the issuer.

use crate::budget::within;
use crate::clock;
use crate::config::{EdgeConfig, ISSUER};
use crate::entropy;
use crate::origins::authority;
use ed25519_dalek::Signer as _;
use margrave_shared::base64;
use margrave_shared::header::{
    CLIENT_ADDRESS, CONTENT_DIGEST, DEVICE, REQUEST_ID, SESSION_SEEN, SIGNATURE, SIGNATURE_INPUT,
};
use margrave_shared::http_signature::{Algorithm, Message, Parameters, content_digest, sign};
use margrave_shared::wire::report::Report;
use std::time::Duration;
use wasm_bindgen::JsValue;
use worker::{Env, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response};

/// A call to the issuer.
#[derive(Debug, Default)]
pub(crate) struct IssuerCall<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Its path, canonical.
    pub(crate) path: &'a str,
    /// Its query without the question mark.
    pub(crate) query: &'a str,
    /// Its body.
    pub(crate) body: Option<&'a [u8]>,
    /// Headers of the client that go along.
    pub(crate) passed: Vec<(&'a str, String)>,
    /// The client's address.
    pub(crate) client: String,
    /// What the account object has seen of the session.
    pub(crate) session_seen: String,
    /// The known device that the attempt comes from.
    pub(crate) device: String,
    /// The request's id.
    pub(crate) request_id: String,
    /// Whether a good answer completes a login, after which the client's device is known.
    pub(crate) completes_login: bool,
}

/// Signs a call (RFC 9421, Ed25519) and sends it. Redirects are not followed.
pub(crate) async fn call(env: &Env, config: &EdgeConfig, call: &IssuerCall<'_>) -> worker::Result<Response> {
    let digest = content_digest(call.body.unwrap_or_default());
    let signed = [
        (CLIENT_ADDRESS, call.client.as_str()),
        (SESSION_SEEN, call.session_seen.as_str()),
        (DEVICE, call.device.as_str()),
        (REQUEST_ID, call.request_id.as_str()),
        (CONTENT_DIGEST, digest.as_str()),
    ];
    let authority = authority(&config.issuer_url).unwrap_or_default();
    let message = Message {
        method: call.method,
        authority: &authority,
        path: call.path,
        query: call.query,
        headers: &signed,
    };
    let parameters = Parameters {
        created: clock::wall().seconds(),
        key_id: config.edge_id.to_string(),
        nonce: base64::encode_url(&entropy::bytes16().unwrap_or_default()),
        algorithm: Algorithm::Ed25519,
    };
    let signature = sign(&message, &parameters, |base| config.signing_key.sign(base).to_bytes().to_vec());

    let headers = Headers::new();
    for (name, value) in &call.passed {
        headers.set(name, value)?;
    }
    for (name, value) in signed {
        headers.set(name, value)?;
    }
    headers.set(SIGNATURE_INPUT, &signature.input)?;
    headers.set(SIGNATURE, &signature.signature)?;
    let mut init = RequestInit::new();
    init.with_method(Method::from(call.method.to_owned()))
        .with_headers(headers)
        .with_redirect(RequestRedirect::Manual)
        .with_body(call.body.map(|bytes| JsValue::from(js_sys::Uint8Array::from(bytes))));
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    send(env, &format!("{}{}{query}", config.issuer_url, call.path), &init).await
}

/// How long a report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells the issuer what was seen here; gives whether it heard.
pub(crate) async fn report(env: &Env, config: &EdgeConfig, report: &Report) -> bool {
    let body = serde_json::to_vec(report).unwrap_or_default();
    let report = IssuerCall {
        method: "POST",
        path: "/v1/edge/reports",
        body: Some(&body),
        passed: vec![("content-type", "application/json".to_owned())],
        ..IssuerCall::default()
    };
    let answer = within(REPORT_TIMEOUT, call(env, config, &report)).await;
    answer.is_ok_and(|response| (200..300).contains(&response.status_code()))
}

/// Fetches something of the issuer's that everybody may see.
pub(crate) async fn get(env: &Env, config: &EdgeConfig, path: &str) -> worker::Result<Response> {
    let mut init = RequestInit::new();
    init.with_redirect(RequestRedirect::Manual);
    send(env, &format!("{}{path}", config.issuer_url), &init).await
}

async fn send(env: &Env, url: &str, init: &RequestInit) -> worker::Result<Response> {
    let request = Request::new_with_init(url, init)?;
    match env.service(ISSUER) {
        Ok(issuer) => issuer.fetch_request(request).await,
        Err(_) => Fetch::Request(request).send().await,
    }
}
