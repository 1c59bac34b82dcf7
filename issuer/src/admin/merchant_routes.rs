//! Merchants in the administration.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::{Realm, authorize, authorize_for};
use super::{disable_merchant, enable_merchant, end_merchant_sessions};
use crate::app::App;
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::merchants::{
    Merchant, MerchantLimits, MerchantSettings, NewMerchant, Service, change_limits, change_merchant,
    change_services, create_merchant_in, find_limits, find_merchant, find_merchants, find_services,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A merchant to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMerchantBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[serde(default)]
    #[schemars(length(max = 200))]
    services: Vec<Service>,
    #[serde(default)]
    settings: MerchantSettings,
}

/// What a merchant is changed to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MerchantBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    settings: MerchantSettings,
}

/// A merchant's services, all of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServicesBody {
    #[schemars(length(max = 200))]
    services: Vec<Service>,
}

/// A page of merchants.
#[derive(Serialize, JsonSchema)]
pub(super) struct MerchantPage {
    merchants: Vec<Merchant>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// A merchant that was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeMerchant {
    merchant_id: MerchantId,
    merchant: Merchant,
}

/// A merchant with its services and limits.
#[derive(Serialize, JsonSchema)]
pub(super) struct WholeMerchant {
    merchant: Merchant,
    services: Vec<Service>,
    limits: MerchantLimits,
}

/// How many accounts had something to end.
#[derive(Serialize, JsonSchema)]
pub(super) struct EndedAccounts {
    accounts: usize,
}

/// `GET /merchants`
pub(super) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit", "disabled"])?;
    let limit = query.limit()?;
    let mut tx = app.db.read().await?;
    let merchants = find_merchants(&mut tx, query.parsed("disabled")?, query.after(), limit).await?;
    let next = next_of(&merchants, limit, |merchant| merchant.id.to_string());
    Ok(json(StatusCode::OK, &MerchantPage { merchants, next }))
}

/// `POST /merchants {name, services, settings}` → `201`.
pub(super) async fn create(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let NewMerchantBody { name, services, settings } = incoming.read()?;
    let new = NewMerchant { name, platform: false, services, settings };
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let merchant = create_merchant_in(&app, &mut tx, new, &actor, &incoming.caller).await?;
            let made = MadeMerchant { merchant_id: merchant.id.clone(), merchant };
            created(&app, tx, &place, &made, 0).await
        }
    }
}

async fn whole(app: &App, id: &MerchantId) -> Result<Response, ApiError> {
    let mut tx = app.db.read().await?;
    let merchant = find_merchant(&mut tx, id).await?.ok_or(ApiError::new(ErrorCode::NotFound))?;
    let services = find_services(&mut tx, id).await?;
    let limits = find_limits(&mut tx, id).await?;
    let version = merchant.version;
    Ok(versioned(json(StatusCode::OK, &WholeMerchant { merchant, services, limits }), version))
}

/// `GET /merchants/{merchant}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    whole(&app, &id).await
}

/// `PUT /merchants/{merchant} {name, settings}`
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let version = version_to_change(&incoming)?;
    let MerchantBody { name, settings } = incoming.read()?;
    let actor = administrator.actor();
    let by = (actor.as_str(), &administrator.presented.claims.scope);
    change_merchant(&app, &id, &name, &settings, version, by, &incoming.caller).await?;
    whole(&app, &id).await
}

/// `PUT /merchants/{merchant}/services {services}`: an audience decides what a token opens, so this is the platform's.
pub(super) async fn services(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, MerchantId::parse)?;
    let version = version_to_change(&incoming)?;
    let ServicesBody { services } = incoming.read()?;
    let actor = administrator.actor();
    change_services(&app, &id, &services, version, &actor, &incoming.caller).await?;
    whole(&app, &id).await
}

/// `POST /merchants/{merchant}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, MerchantId::parse)?;
    disable_merchant(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /merchants/{merchant}/enable` → `204`
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, MerchantId::parse)?;
    enable_merchant(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /merchants/{merchant}/limits {accounts?, keys?, applications?}`: no merchant sets its own.
pub(super) async fn limits(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, MerchantId::parse)?;
    let version = version_to_change(&incoming)?;
    let limits: MerchantLimits = incoming.read()?;
    change_limits(&app, &id, &limits, version, &administrator.actor(), &incoming.caller).await?;
    whole(&app, &id).await
}

/// `DELETE /merchants/{merchant}/sessions`: every session of every account ends.
pub(super) async fn end_sessions(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let accounts = end_merchant_sessions(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(json(StatusCode::OK, &EndedAccounts { accounts }))
}
