//! The only place where a failure becomes an answer.

use crate::failure::{Denial, Failure};
use crate::storage::StorageError;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use margrave_shared::error::{ErrorCode, Retry, whole_seconds};
use margrave_shared::error_body::{OAuthError, PROBLEM_JSON, Problem, challenge};
use margrave_shared::id::RequestId;

/// In which of the two shapes an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// RFC 9457.
    Problem,
    /// RFC 6749 §5.2.
    OAuth,
}

/// The reason of what is wrong with a request itself: its code says it.
const REQUEST: &str = "request";

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    denial: Denial,
    shape: Shape,
    /// When to come back, in seconds, where that is known better than [`RETRY_AFTER_S`].
    retry_after_s: Option<i64>,
}

impl ApiError {
    /// An error of a code alone.
    pub(crate) const fn new(code: ErrorCode) -> Self {
        Self {
            denial: Denial { code, reason: REQUEST, detail: None, factors_needed: None },
            shape: Shape::Problem,
            retry_after_s: None,
        }
    }

    fn too_many_attempts(retry_after_ms: i64) -> Self {
        let retry_after_s = Some(whole_seconds(retry_after_ms));
        Self { retry_after_s, ..Self::new(ErrorCode::TooManyAttempts) }
    }

    /// In the shape of OAuth endpoints.
    pub(crate) const fn oauth(mut self) -> Self {
        self.shape = Shape::OAuth;
        self
    }

    /// The code.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.denial.code
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(denial) => {
                tracing::debug!(code = denial.code.as_str(), reason = denial.reason, "denied");
                Self { denial, shape: Shape::Problem, retry_after_s: None }
            }
            Failure::Storage(error @ (StorageError::Unavailable(_) | StorageError::Together)) => {
                tracing::error!(%error, "storage");
                Self::new(ErrorCode::StateUnavailable)
            }
            Failure::Storage(StorageError::Conflict) => Self::new(ErrorCode::Conflict),
            Failure::TooManyAttempts { retry_after_ms } => Self::too_many_attempts(retry_after_ms),
            Failure::Overloaded => Self::new(ErrorCode::Overloaded),
            other @ (Failure::Storage(_) | Failure::Internal(_)) => {
                tracing::error!(error = %other, "internal");
                Self::new(ErrorCode::Internal)
            }
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        Failure::Storage(error).into()
    }
}

/// How long a client is asked to wait when something is not available, in seconds.
const RETRY_AFTER_S: i64 = 2;

impl IntoResponse for ApiError {
    /// The status and headers; the body needs the request's id and is written by [`write_body`].
    fn into_response(self) -> Response {
        let code = self.denial.code;
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if code.retry() == Retry::Later {
            let seconds = self.retry_after_s.unwrap_or(RETRY_AFTER_S);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge(code) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Why an answer is a refusal, for the audit.
pub(crate) fn reason_of(response: &Response) -> &'static str {
    match response.extensions().get::<ApiError>() {
        Some(error) if error.denial.reason != REQUEST => error.denial.reason,
        Some(error) => error.denial.code.as_str(),
        None => REQUEST,
    }
}

/// Gives an error's answer its body.
pub(crate) fn write_body(mut response: Response, request_id: &RequestId) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let code = error.denial.code;
    let (media_type, body) = match error.shape {
        Shape::OAuth => {
            let mut body = OAuthError::new(code);
            if let Some(detail) = error.denial.detail {
                body.error_description = detail;
            }
            body.factors_needed = error.denial.factors_needed;
            ("application/json", serde_json::to_vec(&body))
        }
        Shape::Problem => {
            let problem = Problem { detail: error.denial.detail, ..Problem::new(code, request_id.clone()) };
            (PROBLEM_JSON, serde_json::to_vec(&problem))
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    *response.body_mut() = Body::from(body.unwrap_or_default());
    response
}
