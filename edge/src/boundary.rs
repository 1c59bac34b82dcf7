//! What JavaScript calls. Rules only: `entry.js` and `carry.js` read the request's head, carry out what is decided
//! here, and decide nothing.

use crate::config::{AddressSource, EdgeConfig};
use crate::gate::{self, Decision};
use crate::respond::refuse;
use crate::{metrics, refusals, state, watch};
use futures_util::task::AtomicWaker;
use margrave_shared::error::ErrorCode;
use margrave_shared::forwarding;
use margrave_shared::header_list::HeaderList;
use margrave_shared::id::RequestId;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::future_to_promise;
use web_sys::{Request, Response};
use worker::{Env, worker_sys};

/// The head of a request.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Its method, as the runtime normalised it.
    pub(crate) method: String,
    /// Its whole URL.
    pub(crate) url: String,
    /// Who opened the connection, where that counts and is known.
    pub(crate) peer: String,
    /// Its headers.
    pub(crate) headers: HeaderList,
}

impl Head {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().map(str::to_owned);
        let (method, url, peer) = (line()?, line()?, line()?);
        Some(Self { method, url, peer, headers: HeaderList::read(lines).ok()? })
    }
}

/// Answers a gate's call of an object.
#[wasm_bindgen]
pub fn serve_state(request: Request, env: Env) -> js_sys::Promise {
    future_to_promise(async move {
        let answer = state::serve(request.into(), &env).await?;
        Ok(Response::from(answer).into())
    })
}

/// Nothing: `entry.js` says what it is for.
#[wasm_bindgen]
pub fn ready() {}

/// Whether the connection's peer is the client, so that the head must name it.
#[wasm_bindgen]
pub fn wants_peer(env: &Env) -> bool {
    EdgeConfig::of(env).is_some_and(|config| config.client_address == AddressSource::Peer)
}

/// Judges a request: a plan to forward it (a text, for `carry`), a `Response`, or a promise of either.
///
/// # Errors
/// Where not even a refusal can be written.
#[wasm_bindgen]
pub fn judge(
    head: &str,
    request: Request,
    env: Env,
    context: worker_sys::Context,
) -> Result<JsValue, JsValue> {
    let head = Head::read(head);
    let mut judging = Box::pin(gate::handle(head, request, env, worker::Context::new(context)));
    // Nearly every request is judged from memory, and then there is nothing to wait for.
    let relay = Arc::new(Relay::default());
    let waker = Waker::from(Arc::clone(&relay));
    if let Poll::Ready(decision) = judging.as_mut().poll(&mut Context::from_waker(&waker)) {
        return decision.map(Decision::into_js).map_err(JsValue::from);
    }
    let rest = poll_fn(move |executor| {
        relay.0.register(executor.waker());
        judging.as_mut().poll(&mut Context::from_waker(&waker))
    });
    Ok(future_to_promise(async move { Ok(rest.await?.into_js()) }).into())
}

/// Wakes the executor once there is one. What a request waits for may keep the waker of its first poll for ever, as
/// `Delay` does, and that poll comes before the executor.
#[derive(Default)]
struct Relay(AtomicWaker);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// An origin's headers as the client gets them, in lines.
///
/// # Errors
/// Where the headers are no pairs, which the runtime does not do.
#[wasm_bindgen]
pub fn answer_headers(
    headers: &str,
    personal: bool,
    request_id: &str,
    cors: &str,
) -> Result<String, JsValue> {
    let received = HeaderList::read(headers.split('\n').skip(1)).map_err(|_| JsValue::NULL)?;
    let mut text = String::with_capacity(headers.len() + 100);
    forwarding::of_origin(&received, personal, request_id, &read_cors(cors)?).write_to(&mut text);
    Ok(text)
}

/// Whether a stream may go on: nothing, or the code of the reason why not.
#[wasm_bindgen]
pub fn watched(id: String, active: bool) -> js_sys::Promise {
    future_to_promise(
        async move { Ok(watch::look(&id, active).await.err().map_or("", ErrorCode::as_str).into()) },
    )
}

/// A stream is over.
#[wasm_bindgen]
pub fn unwatch(id: &str) {
    watch::end(id);
}

/// A caller was told why the origin refused, as its application may be: the audit hears of it.
#[wasm_bindgen]
pub fn told_why(client: &str) {
    refusals::told_why(client);
}

/// The answer in place of the origin's.
///
/// # Errors
/// Where the answer cannot be written.
#[wasm_bindgen]
pub fn instead(why: &str, request_id: &str, cors: &str) -> Result<Response, JsValue> {
    let code = match why {
        "timeout" => ErrorCode::UpstreamTimeout,
        "too_large" => ErrorCode::PayloadTooLarge,
        "busy" => ErrorCode::StateUnavailable,
        "refused" => ErrorCode::RequestRefused,
        _ => ErrorCode::UpstreamUnavailable,
    };
    metrics::instead(code);
    let request_id = RequestId::parse(request_id).map_err(|_| JsValue::NULL)?;
    let mut response = refuse(code.into(), &request_id)?;
    for (name, value) in read_cors(cors)?.iter() {
        response.headers_mut().set(name, value)?;
    }
    Ok(response.into())
}

/// The line of the plan in which an answer's CORS headers crossed.
fn read_cors(line: &str) -> Result<HeaderList, JsValue> {
    HeaderList::read(line.split('\t').filter(|_| !line.is_empty())).map_err(|_| JsValue::NULL)
}
