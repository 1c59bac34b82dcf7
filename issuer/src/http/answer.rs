//! Answers: JSON, and the version of what is answered (`ETag`, RFC 9110 §8.8.3), by which a change says what it was made from.

use super::error::ApiError;
use super::incoming::Incoming;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use serde::Serialize;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    written(status, serde_json::to_string(body).unwrap_or_default())
}

/// An answer whose JSON is written already.
pub(crate) fn written(status: StatusCode, text: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

/// The same with the version of what it shows.
pub(crate) fn versioned(mut response: Response, version: i64) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"v{version}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// The version that a change was made from.
///
/// # Errors
/// `precondition_required` without `If-Match`, `precondition_failed` for what is no version, `invalid_request` for several or any.
pub(crate) fn version_to_change(incoming: &Incoming) -> Result<i64, ApiError> {
    let mut values = incoming.headers.get_all(header::IF_MATCH).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(ApiError::new(ErrorCode::PreconditionRequired)),
        (Some(value), None) => value.to_str().map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?.trim(),
        (Some(_), Some(_)) => return Err(ApiError::new(ErrorCode::InvalidRequest)),
    };
    if value == "*" || value.contains(',') {
        return Err(ApiError::new(ErrorCode::InvalidRequest));
    }
    let number = value.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    let number =
        number.filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok());
    number.ok_or(ApiError::new(ErrorCode::PreconditionFailed))
}
