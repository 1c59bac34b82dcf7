//! Signing keys in the administration.

use super::asked::{Query, path_id};
use super::authorize::{Realm, authorize};
use crate::app::App;
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::keys::{self, Rotated};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::Rotation;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A signing key.
#[derive(Serialize, JsonSchema)]
pub(super) struct SigningKey {
    kid: Kid,
    /// `standby`, `active`, `retiring` or `retired`.
    state: &'static str,
    published_at: UnixMs,
    changed_at: UnixMs,
}

/// Every signing key.
#[derive(Serialize, JsonSchema)]
pub(super) struct SigningKeys {
    signing_keys: Vec<SigningKey>,
}

/// `GET /signing-keys`
pub(super) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    Query::read(&incoming, &[])?;
    let keys = keys::list(&app.db).await?.into_iter().map(|key| SigningKey {
        kid: key.kid,
        state: key.state.as_str(),
        published_at: key.published_at,
        changed_at: key.changed_at,
    });
    Ok(json(StatusCode::OK, &SigningKeys { signing_keys: keys.collect() }))
}

/// `POST /signing-keys/rotate` → `204`, or `409` while the standby has not been published long enough.
pub(super) async fn rotate(State(app): State<Arc<App>>, incoming: Incoming) -> Result<StatusCode, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    match keys::rotate(&app, Rotation::Requested, &administrator.actor(), &incoming.caller).await? {
        Rotated::Promoted => Ok(StatusCode::NO_CONTENT),
        Rotated::NotYet => Err(ApiError::new(ErrorCode::Conflict)),
    }
}

/// `POST /signing-keys/{kid}/retire` → `204`: at once, and every edge refuses it for ever.
pub(super) async fn retire(
    State(app): State<Arc<App>>,
    Path(kid): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let kid = path_id(&kid, Kid::parse)?;
    keys::retire_now(&app, &kid, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
