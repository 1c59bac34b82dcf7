//! The parameters of a path. What cannot be read as text names nothing that is there.

use super::error::ApiError;
use axum::extract::{FromRequestParts, Path as Parameters};
use axum::http::request::Parts;
use margrave_shared::error::ErrorCode;
use serde::de::DeserializeOwned;

/// The parameters of a path, decoded.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Parameters::from_request_parts(parts, state).await;
        read.map(|Parameters(read)| Self(read)).map_err(|_| ApiError::new(ErrorCode::NotFound))
    }
}
