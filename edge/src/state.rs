//! Where the objects are: in this process, or, behind several gates, in the one process that has them for all.
//!
//! Durable Objects of plain workerd belong to one process. A process with the binding `STATE` has none of its own and asks
//! over it; one with the secret `STATE_KEY` and objects answers gates at its entrypoint `State`.

use crate::budget::{Failed, within};
use crate::config::{ACCOUNTS, EdgeConfig, FEED, LIMITERS};
use crate::log::{self, Level};
use crate::{body, clock, entropy, metrics};
use margrave_shared::time::UnixMs;
use margrave_shared::wire::state_call::{
    ASK_AGAIN, MAX_CALL_BYTES, ObjectKind, STATE_PROOF, SeenNonces, StateCall, StateKeys,
};
use serde::de::DeserializeOwned;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use wasm_bindgen::JsValue;
use worker::{Delay, Env, Headers, Method, Request, RequestInit, Response};

/// The binding of the state process.
const STATE: &str = "STATE";

/// Where a call goes; only the binding says which process that is.
const STATE_URL: &str = "http://state/";

thread_local! {
    static SEEN: OnceCell<RefCell<SeenNonces>> = const { OnceCell::new() };
    /// When something was last said of each kind of call that does not count.
    static WARNED_AT: RefCell<BTreeMap<String, UnixMs>> = RefCell::default();
}

/// The pause between two attempts to reach a state process that is not there.
const TRY_AGAIN_MS: i64 = 10;

/// The least pause between two such lines in the log: whoever reaches the port could fill it.
const WARN_EVERY_MS: i64 = 10_000;

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// Twice is as good as once, or at its owner's cost.
    Yes,
    /// Twice would give something to somebody.
    No,
}

/// Whether another process has the objects.
pub(crate) fn is_elsewhere(env: &Env) -> bool {
    js_sys::Reflect::get(env.as_ref(), &STATE.into()).is_ok_and(|binding| !binding.is_falsy())
}

/// Whether there are objects, here or elsewhere.
pub(crate) fn is_there(env: &Env) -> bool {
    is_elsewhere(env) || env.durable_object(ACCOUNTS).is_ok()
}

/// Asks an object, at most for so long.
pub(crate) async fn ask<T: DeserializeOwned>(
    env: &Env,
    limit: Duration,
    call: &StateCall,
    repeatable: Repeatable,
) -> Result<T, Failed> {
    ask_at(env, limit, call, repeatable).await.map(|(answer, _)| answer)
}

/// The same; gives also when the question was put that has been answered.
pub(crate) async fn ask_at<T: DeserializeOwned>(
    env: &Env,
    limit: Duration,
    call: &StateCall,
    repeatable: Repeatable,
) -> Result<(T, UnixMs), Failed> {
    let asked = async {
        let put_at = clock::now();
        let (put_at, status, text) = if is_elsewhere(env) {
            patiently(env, limit, call, repeatable).await?
        } else {
            let (status, text) = within(limit, here(env, call)).await?;
            (put_at, status, text)
        };
        if status != 200 {
            return Err(Failed::Error);
        }
        serde_json::from_str(&text).map(|answer| (answer, put_at)).map_err(|_| Failed::Error)
    };
    metrics::timed(call.kind, asked).await
}

/// Asks the state process; while nobody is there, again and again.
async fn patiently(
    env: &Env,
    limit: Duration,
    call: &StateCall,
    repeatable: Repeatable,
) -> Result<(UnixMs, u16, String), Failed> {
    let Some(config) = EdgeConfig::of(env) else { return Err(Failed::Error) };
    let began = clock::wall();
    // By the tries too: a clock that is set back would let it go on.
    for _ in 0..=config.state_wait_ms / TRY_AGAIN_MS {
        let put_at = clock::now();
        let refused = match within(limit, there(env, &config, call)).await? {
            Reached::Answered(ASK_AGAIN, _) => true,
            Reached::Answered(status, text) => return Ok((put_at, status, text)),
            // It may have been carried out, and the answer lost.
            Reached::Nobody => repeatable == Repeatable::Yes,
        };
        if !refused || clock::wall().since(began) >= config.state_wait_ms {
            break;
        }
        Delay::from(Duration::from_millis(TRY_AGAIN_MS as u64)).await;
    }
    Err(Failed::Error)
}

/// What became of a call of the state process.
enum Reached {
    /// Status and body, proven.
    Answered(u16, String),
    /// No answer came.
    Nobody,
}

fn failed(why: &str) -> worker::Error {
    worker::Error::RustError(why.to_owned())
}

/// Asks an object of this process.
async fn here(env: &Env, call: &StateCall) -> worker::Result<(u16, String)> {
    let binding = match call.kind {
        ObjectKind::Account => ACCOUNTS,
        ObjectKind::Limiter => LIMITERS,
        ObjectKind::Feed => FEED,
    };
    let stub = env.durable_object(binding)?.get_by_name(&call.name)?;
    let mut response = match &call.body {
        None => stub.fetch_with_str(&call.url).await?,
        Some(body) => {
            let mut init = RequestInit::new();
            init.with_method(Method::Post).with_body(Some(JsValue::from(body)));
            stub.fetch_with_request(Request::new_with_init(&call.url, &init)?).await?
        }
    };
    Ok((response.status_code(), response.text().await?))
}

/// Asks the state process once.
async fn there(env: &Env, config: &EdgeConfig, call: &StateCall) -> worker::Result<Reached> {
    let keys = config.state_keys.as_ref().ok_or_else(|| failed("no STATE_KEY"))?;
    let nonce = entropy::bytes16().ok_or_else(|| failed("no randomness"))?;
    let body = serde_json::to_string(call)?;
    let headers = Headers::new();
    headers.set(STATE_PROOF, &keys.prove_call(body.as_bytes(), &nonce, clock::wall()))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_headers(headers).with_body(Some(JsValue::from(body)));
    let request = Request::new_with_init(STATE_URL, &init)?;
    let Ok(mut response) = env.service(STATE)?.fetch_request(request).await else {
        return Ok(Reached::Nobody);
    };
    let proof = response.headers().get(STATE_PROOF)?.unwrap_or_default();
    let (status, text) = (response.status_code(), response.text().await?);
    if let Err(bad) = keys.check_answer(&proof, &nonce, status, text.as_bytes()) {
        warn(&format!("an answer of the state process does not count ({status})"), &bad.to_string());
        return Err(failed("no proof"));
    }
    Ok(Reached::Answered(status, text))
}

/// Answers a gate.
pub(crate) async fn serve(request: Request, env: &Env) -> worker::Result<Response> {
    let Some(config) = EdgeConfig::of(env) else { return Response::error("", 503) };
    let Some(keys) = config.state_keys.as_ref().filter(|_| !is_elsewhere(env)) else {
        warn(
            "a gate asks for the state, and this process has none for it",
            "no STATE_KEY, or objects elsewhere",
        );
        return Response::error("", 503);
    };
    if request.method() == Method::Get && request.path() == "/health" {
        return Response::ok("ok");
    }
    answer(request, env, keys).await
}

async fn answer(mut request: Request, env: &Env, keys: &StateKeys) -> worker::Result<Response> {
    let proof = request.headers().get(STATE_PROOF)?.unwrap_or_default();
    let Ok(body) = body::read(&mut request, MAX_CALL_BYTES).await else { return Response::error("", 400) };
    let now = clock::wall();
    let checked = SEEN.with(|seen| {
        let seen = seen.get_or_init(|| RefCell::new(SeenNonces::new(now)));
        keys.check_call(&proof, &body, now, &mut seen.borrow_mut())
    });
    let answering = match checked {
        Ok(answering) => answering,
        Err(bad) => {
            warn("a call to this state process does not count", &bad.to_string());
            return Response::error("", 403);
        }
    };
    let answered = match serde_json::from_slice(&body) {
        _ if !answering.is_young => Ok((ASK_AGAIN, String::new())),
        Ok(call) => here(env, &call).await,
        Err(error) => {
            warn("a gate's call cannot be read: is it of this version?", &error.to_string());
            Err(error.into())
        }
    };
    let (status, text) = answered.unwrap_or((503, String::new()));
    let headers = Headers::new();
    headers.set(STATE_PROOF, &answering.prove(status, text.as_bytes()))?;
    Ok(Response::ok(text)?.with_headers(headers).with_status(status))
}

fn warn(message: &str, why: &str) {
    let now = clock::wall();
    WARNED_AT.with_borrow_mut(|warned| {
        // Where the reasons are many, strangers make them up.
        let name = if warned.len() < 16 { format!("{message}: {why}") } else { String::new() };
        let last = warned.entry(name).or_insert(UnixMs(0));
        if now.0.abs_diff(last.0) >= WARN_EVERY_MS.unsigned_abs() {
            *last = now;
            log::write(Level::Warn, message, &[("why", why.into())]);
        }
    });
}
