//! Merchant keys in the administration.

use super::authorize::{Act, Administrator, Realm, authorize};
use super::routes::path_id;
use crate::accounts::routes::json;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::merchants::{IssuedKey, NewKey, create_key, find_keys, revoke_key, rotate_key};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::{Permission, holds};
use margrave_shared::time::UnixMs;
use serde::Deserialize;
use serde_json::json as value;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    permissions: BTreeSet<Permission>,
    /// Unix seconds.
    #[serde(default)]
    expires_at: Option<i64>,
}

fn issued(key: &IssuedKey) -> Response {
    let body = value!({
        "key_id": key.key_id,
        "secret": key.secret.expose(),
        "expires_at": key.expires_at.map(UnixMs::seconds),
    });
    json(StatusCode::CREATED, &body)
}

/// Nobody hands out what they do not hold.
fn check_delegation(administrator: &Administrator, wanted: &BTreeSet<Permission>) -> Result<(), ApiError> {
    let scope = &administrator.presented.claims.scope;
    let privileged =
        |p: &&Permission| p.as_str().starts_with("admin:") || p.as_str().starts_with("platform:");
    if wanted.iter().filter(privileged).all(|p| holds(scope, p)) {
        Ok(())
    } else {
        Err(ApiError::new(ErrorCode::InsufficientPermission))
    }
}

/// `GET /merchants/{merchant}/keys`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    authorize(&app, &incoming, Realm::Merchant(&id), Act::Read).await?;
    let mut tx = app.db.read().await?;
    Ok(json(StatusCode::OK, &value!({ "keys": find_keys(&mut tx, &id).await? })))
}

/// `POST /merchants/{merchant}/keys {permissions, expires_at}` → `201 {key_id, secret}`, once.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    let administrator = authorize(&app, &incoming, Realm::Merchant(&id), Act::Write).await?;
    incoming.json()?;
    let body: CreateBody =
        serde_json::from_slice(&incoming.body).map_err(|_| ApiError::new(ErrorCode::InvalidField))?;
    check_delegation(&administrator, &body.permissions)?;
    let new = NewKey { permissions: body.permissions, expires_at: body.expires_at.map(UnixMs::from_seconds) };
    Ok(issued(&create_key(&app, &id, &new, &administrator.actor(), &incoming.caller).await?))
}

/// `POST /merchants/{merchant}/keys/{key}/rotate` → `201 {key_id, secret}`; both live for the overlap.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    Path((id, key)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    let key = path_id(&key, KeyId::parse)?;
    let administrator = authorize(&app, &incoming, Realm::Merchant(&id), Act::Write).await?;
    let mut tx = app.db.read().await?;
    let held = find_keys(&mut tx, &id).await?.into_iter().find(|k| k.key_id == key);
    drop(tx);
    // Rotating shows a secret with the old key's rights: the same rule as for making one.
    let held = held.ok_or(ApiError::new(ErrorCode::NotFound))?;
    check_delegation(&administrator, &held.permissions)?;
    Ok(issued(&rotate_key(&app, &id, &key, &administrator.actor(), &incoming.caller).await?))
}

/// `DELETE /merchants/{merchant}/keys/{key}` → `204`
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path((id, key)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    let key = path_id(&key, KeyId::parse)?;
    let administrator = authorize(&app, &incoming, Realm::Merchant(&id), Act::Write).await?;
    revoke_key(&app, &id, &key, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
