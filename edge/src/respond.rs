//! The only place where a refusal becomes an answer.

use margrave_shared::error::{ErrorCode, Retry, whole_seconds};
use margrave_shared::error_body::{OAuthError, PROBLEM_JSON, Problem, challenge};
use margrave_shared::header::REQUEST_ID;
use margrave_shared::header_list::HeaderList;
use margrave_shared::id::RequestId;
use worker::{Headers, Response, ResponseBuilder};

/// A refusal on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The code.
    pub(crate) code: ErrorCode,
    /// For `too_many_attempts`: when to come back, in milliseconds.
    pub(crate) retry_after_ms: Option<i64>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, retry_after_ms: None }
    }
}

/// The answer to a refused request.
pub(crate) fn refuse(refused: Refused, request_id: &RequestId) -> worker::Result<Response> {
    let problem = Problem::new(refused.code, request_id.clone());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    answer(refused, request_id, PROBLEM_JSON, body)
}

/// The answer to a browser's question whether it may ask.
pub(crate) fn preflight(cors: &HeaderList, request_id: &RequestId) -> worker::Result<Response> {
    let headers = Headers::new();
    for (name, value) in cors.iter() {
        headers.set(name, value)?;
    }
    headers.set(REQUEST_ID, request_id.as_str())?;
    Ok(ResponseBuilder::new().with_status(204).with_headers(headers).empty())
}

/// The same in the shape of an OAuth endpoint.
pub(crate) fn refuse_oauth(refused: Refused, request_id: &RequestId) -> worker::Result<Response> {
    let body = serde_json::to_vec(&OAuthError::new(refused.code)).unwrap_or_default();
    answer(refused, request_id, "application/json", body)
}

fn answer(
    refused: Refused,
    request_id: &RequestId,
    media_type: &str,
    body: Vec<u8>,
) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", media_type)?;
    headers.set("cache-control", "no-store")?;
    headers.set("x-content-type-options", "nosniff")?;
    headers.set(REQUEST_ID, request_id.as_str())?;
    if let Some(challenge) = challenge(refused.code) {
        headers.set("www-authenticate", challenge)?;
    }
    if refused.code.retry() == Retry::Later {
        let seconds = refused.retry_after_ms.map_or(1, |ms| whole_seconds(ms).max(1));
        headers.set("retry-after", &seconds.to_string())?;
    }
    Ok(ResponseBuilder::new().with_status(refused.code.status()).with_headers(headers).fixed(body))
}
