//! Merchant keys in the administration.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::{Administrator, authorize_for};
use crate::app::App;
use crate::failure::Failure;
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::merchants::{
    IssuedKey, MerchantKey, NewKey, create_key_in, find_key, find_keys_after, revoke_key, rotate_key_in,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::KeyId;
use margrave_shared::permission::Permission;
use margrave_shared::role::beyond_the_giver;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A key to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyBody {
    #[schemars(length(min = 1))]
    permissions: BTreeSet<Permission>,
    /// Unix seconds.
    #[serde(default)]
    expires_at: Option<i64>,
}

/// A page of keys.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyPage {
    keys: Vec<MerchantKey>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// A new key; its secret is shown this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownKey {
    key_id: KeyId,
    secret: String,
    /// Unix seconds.
    expires_at: Option<i64>,
}

impl From<&IssuedKey> for ShownKey {
    fn from(key: &IssuedKey) -> Self {
        let expires_at = key.expires_at.map(UnixMs::seconds);
        Self { key_id: key.key_id.clone(), secret: key.secret.expose().to_owned(), expires_at }
    }
}

/// Nobody hands out what they do not hold.
fn check_delegation(administrator: &Administrator, wanted: &BTreeSet<Permission>) -> Result<(), Failure> {
    match beyond_the_giver(&administrator.presented.claims.scope, &BTreeSet::new(), wanted) {
        None => Ok(()),
        Some(_) => Err(Failure::denied(ErrorCode::InsufficientPermission, "gives_what_is_not_held")),
    }
}

/// `GET /merchants/{merchant}/keys`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let keys = find_keys_after(&mut app.db.read().await?, &id, query.after(), limit).await?;
    let next = next_of(&keys, limit, |key| key.key_id.to_string());
    Ok(json(StatusCode::OK, &KeyPage { keys, next }))
}

/// `POST /merchants/{merchant}/keys {permissions, expires_at}` → `201 {key_id, secret}`, once.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let body: KeyBody = incoming.read()?;
    check_delegation(&administrator, &body.permissions)?;
    let new = NewKey { permissions: body.permissions, expires_at: body.expires_at.map(UnixMs::from_seconds) };
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let key = create_key_in(&app, &mut tx, &id, &new, &actor, &incoming.caller).await?;
            created(&app, tx, &place, &ShownKey::from(&key), 0).await
        }
    }
}

/// `POST /merchants/{merchant}/keys/{key}/rotate` → `201 {key_id, secret}`; both live for the overlap.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    Path((id, key)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let key = path_id(&key, KeyId::parse)?;
    let held = find_key(&mut app.db.read().await?, &key).await?.filter(|held| held.merchant_id == id);
    // Rotating shows a secret with the old key's rights: the same rule as for making one.
    let held = held.ok_or(ApiError::new(ErrorCode::NotFound))?;
    check_delegation(&administrator, &held.permissions)?;
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let key = rotate_key_in(&app, &mut tx, &id, &key, &actor, &incoming.caller).await?;
            created(&app, tx, &place, &ShownKey::from(&key), 0).await
        }
    }
}

/// `DELETE /merchants/{merchant}/keys/{key}` → `204`
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path((id, key)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let key = path_id(&key, KeyId::parse)?;
    revoke_key(&app, &id, &key, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
