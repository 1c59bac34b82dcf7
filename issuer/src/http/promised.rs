//! Every answer that any test gets of a route is held against what the OpenAPI document says of it.

use super::error::ApiError;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use margrave_shared::error::{ErrorCode, Retry};
use std::sync::Arc;

/// What the document promises of an operation.
pub(crate) struct Promised {
    pub(super) id: &'static str,
    pub(super) statuses: Vec<u16>,
    pub(super) codes: Vec<ErrorCode>,
    pub(super) is_tagged: bool,
}

/// Panics where an answer is not as promised.
pub(crate) async fn hold(promised: Arc<Promised>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let (id, status) = (promised.id, response.status());
    match response.extensions().get::<ApiError>().map(ApiError::code) {
        // Ours, and no promise.
        Some(ErrorCode::Internal) => {}
        Some(code) => {
            assert!(promised.codes.contains(&code), "{id} refuses with {code:?}, and does not say so");
            let is_later = code.retry() == Retry::Later;
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), is_later, "{id}: {code:?}");
        }
        None => {
            assert!(
                promised.statuses.contains(&status.as_u16()),
                "{id} answers {status}, and does not say so"
            );
            let is_tagged = response.headers().contains_key(header::ETAG);
            assert_eq!(is_tagged, promised.is_tagged, "{id}: the ETag of its answer");
        }
    }
    response
}
