//! Merchants in the administration.

use super::authorize::{Act, Realm, authorize};
use super::routes::{page, path_id};
use crate::accounts::routes::json;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::merchants::{
    MerchantSettings, NewMerchant, Service, create_merchant, disable_merchant, find_merchant, find_merchants,
    find_services,
};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::Permission;
use serde::Deserialize;
use serde_json::json as value;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    name: String,
    #[serde(default)]
    services: Vec<ServiceBody>,
    #[serde(default)]
    settings: MerchantSettings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceBody {
    audience: String,
    permissions: BTreeSet<Permission>,
}

/// `GET /merchants`: all for the platform, one's own for others.
pub(super) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let page = page(&incoming)?;
    let mut tx = app.db.read().await?;
    let merchants = find_merchants(&mut tx, &page.after, page.limit).await?;
    Ok(json(StatusCode::OK, &value!({ "merchants": merchants })))
}

/// `POST /merchants {name, services, settings}` → `201`.
pub(super) async fn create(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    incoming.json()?;
    let body: CreateBody =
        serde_json::from_slice(&incoming.body).map_err(|_| ApiError::new(ErrorCode::InvalidField))?;
    let services = body
        .services
        .into_iter()
        .map(|service| Service { audience: service.audience, permissions: service.permissions })
        .collect();
    let new = NewMerchant { name: body.name, platform: false, services, settings: body.settings };
    let merchant = create_merchant(&app, new, &administrator.actor(), &incoming.caller).await?;
    Ok(json(StatusCode::CREATED, &value!({ "merchant_id": merchant.id, "merchant": merchant })))
}

/// `GET /merchants/{merchant}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    authorize(&app, &incoming, Realm::Merchant(&id), Act::Read).await?;
    let mut tx = app.db.read().await?;
    let merchant = find_merchant(&mut tx, &id).await?.ok_or(ApiError::new(ErrorCode::NotFound))?;
    let services = find_services(&mut tx, &id).await?;
    Ok(json(StatusCode::OK, &value!({ "merchant": merchant, "services": services })))
}

/// `POST /merchants/{merchant}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let id = path_id(&id, MerchantId::parse)?;
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    disable_merchant(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
