//! `GET /.well-known/jwks.json`.

use crate::app::App;
use crate::http::error::ApiError;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// The published keys (RFC 7517 §5), with an entity tag.
pub(crate) async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let snapshot = app.keyring.snapshot();
    let cache = format!("public, max-age={}", app.keys_config.max_age_s());
    let common = [(header::CACHE_CONTROL, cache), (header::ETAG, snapshot.etag.clone())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known
        .is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == snapshot.etag))
    {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, "application/jwk-set+json")];
    Ok((common, content_type, snapshot.jwks.clone()).into_response())
}
