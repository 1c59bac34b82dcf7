//! `/healthz`, `/readyz` and `/api/version`.

use crate::app::App;
use crate::http::answer::json;
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::storage::is_current;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The process runs.
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// The process can serve: it is not about to stop, the database answers, is migrated, and there is a key that signs.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    app.db.ping().await?;
    if app.draining.is_leaving() || !is_current(&app.db).await? || app.keyring.signer().is_err() {
        return Err(ApiError::new(ErrorCode::StateUnavailable));
    }
    Ok("ready")
}

/// The program's version.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Version {
    version: &'static str,
}

/// The version, for authorised callers only (L1).
pub(crate) async fn version(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authenticate(&app, &incoming).await?;
    Ok(json(StatusCode::OK, &Version { version: env!("CARGO_PKG_VERSION") }))
}
