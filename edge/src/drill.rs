//! For drills: a clock that is set by hand, objects that fail, and the signature check by itself. Only with the feature
//! `drill`; what is deployed does not have it, and a test looks.

use crate::body;
use crate::own::json;
use ed25519_dalek::VerifyingKey;
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use margrave_shared::path::Target;
use margrave_shared::token::verify::verify_ed25519;
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use worker::{Delay, Request, Response};

/// By this the build for drills is told from the one that is deployed.
const MARK: &str = "this edge was built for drills and guards nothing";

/// How an object fails.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It does not answer.
    Hang,
    /// It answers with an error.
    Error,
    /// It answers too late.
    Slow,
    /// It takes the whole instance with it.
    Trap,
}

thread_local! {
    /// How far ahead the clock is, in milliseconds. Objects run in the same isolate and see the same.
    static AHEAD_MS: Cell<i64> = const { Cell::new(0) };
    /// How often objects were called.
    static CALLS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
    static FAULTS: RefCell<BTreeMap<String, Fault>> = const { RefCell::new(BTreeMap::new()) };
}

/// How far ahead the clock is.
pub(crate) fn ahead_ms() -> i64 {
    AHEAD_MS.get()
}

/// Counts a call of an object, and fails as its kind was told to.
pub(crate) async fn fail_as_told(object: &'static str) -> worker::Result<()> {
    CALLS.with_borrow_mut(|calls| *calls.entry(object).or_default() += 1);
    match FAULTS.with_borrow(|faults| faults.get(object).copied()) {
        None => {}
        Some(Fault::Hang) => Delay::from(Duration::from_mins(1)).await,
        Some(Fault::Error) => return Err(worker::Error::RustError("told to fail".to_owned())),
        Some(Fault::Trap) => std::process::abort(),
        Some(Fault::Slow) => Delay::from(Duration::from_millis(400)).await,
    }
    Ok(())
}

#[derive(Deserialize)]
struct Case {
    key: String,
    message: String,
    signature: String,
}

impl Case {
    fn verifies(&self) -> Option<bool> {
        let bytes = |text: &str| base64::decode_url(text).ok();
        let Ok(key) = VerifyingKey::from_bytes(&bytes(&self.key)?.try_into().ok()?) else {
            return Some(false);
        };
        let Ok(signature) = <[u8; 64]>::try_from(bytes(&self.signature)?) else { return Some(false) };
        Some(verify_ed25519(&key, &bytes(&self.message)?, &signature).is_ok())
    }
}

/// Answers below `/.margrave/drill`.
pub(crate) async fn handle(mut request: Request, path: &str, target: &Target) -> Result<Response, ErrorCode> {
    let query =
        Form::parse(target.query().unwrap_or("").as_bytes()).map_err(|_| ErrorCode::InvalidRequest)?;
    match path {
        "/drill/clock" => {
            let ahead = query.get("ahead_ms").and_then(|text| text.parse().ok());
            AHEAD_MS.set(ahead.ok_or(ErrorCode::InvalidRequest)?);
        }
        "/drill/fault" => {
            let object = query.get("object").ok_or(ErrorCode::InvalidRequest)?.to_owned();
            let fault = match query.get("kind") {
                Some("hang") => Some(Fault::Hang),
                Some("error") => Some(Fault::Error),
                Some("slow") => Some(Fault::Slow),
                Some("trap") => Some(Fault::Trap),
                _ => None,
            };
            FAULTS.with_borrow_mut(|faults| match fault {
                Some(fault) => faults.insert(object, fault),
                None => faults.remove(&object),
            });
        }
        "/drill/calls" => return json(&serde_json::json!(CALLS.with_borrow(Clone::clone))),
        "/drill/trap" => std::process::abort(),
        "/drill/ed25519" => {
            let cases = body::read(&mut request, 1 << 20).await?;
            let cases: Vec<Case> = serde_json::from_slice(&cases).map_err(|_| ErrorCode::InvalidRequest)?;
            let verdicts: Option<Vec<bool>> = cases.iter().map(Case::verifies).collect();
            return json(&serde_json::json!(verdicts.ok_or(ErrorCode::InvalidRequest)?));
        }
        _ => return Err(ErrorCode::NotFound),
    }
    json(&serde_json::json!({ "note": MARK }))
}
