//! Organisations in the administration.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::authorize_for;
use crate::app::App;
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::organizations::{
    Organization, OrganizationFacts, change_organization, create_organization, disable_organization,
    enable_organization, find_organization, find_organizations,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A page of organisations.
#[derive(Serialize, JsonSchema)]
pub(super) struct OrganizationPage {
    organizations: Vec<Organization>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// `GET /merchants/{merchant}/organizations`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let organizations = find_organizations(&mut app.db.read().await?, &id, query.after(), limit).await?;
    let next = next_of(&organizations, limit, |organization| organization.id.to_string());
    Ok(json(StatusCode::OK, &OrganizationPage { organizations, next }))
}

/// `POST /merchants/{merchant}/organizations {name, heads}` → `201`
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let facts: OrganizationFacts = incoming.read()?;
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let caller = &incoming.caller;
            let organization = create_organization(&app, &mut tx, &id, facts, &actor, caller).await?;
            created(&app, tx, &place, &organization, 0).await
        }
    }
}

/// `GET /merchants/{merchant}/organizations/{organization}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path((id, organization)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let organization = path_id(&organization, OrganizationId::parse)?;
    let found = find_organization(&mut app.db.read().await?, &organization).await?;
    let found = found.filter(|found| found.merchant_id == id).ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(versioned(json(StatusCode::OK, &found), found.version))
}

/// `PUT /merchants/{merchant}/organizations/{organization} {name, heads}`
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path((id, organization)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let organization = path_id(&organization, OrganizationId::parse)?;
    let version = version_to_change(&incoming)?;
    let facts: OrganizationFacts = incoming.read()?;
    let (actor, caller) = (administrator.actor(), &incoming.caller);
    let changed = change_organization(&app, (&id, &organization), facts, version, &actor, caller).await?;
    Ok(versioned(json(StatusCode::OK, &changed), changed.version))
}

/// `POST /merchants/{merchant}/organizations/{organization}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path((id, organization)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let organization = path_id(&organization, OrganizationId::parse)?;
    let caller = &incoming.caller;
    disable_organization(&app, (&id, &organization), &administrator.actor(), caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /merchants/{merchant}/organizations/{organization}/enable` → `204`
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    Path((id, organization)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let organization = path_id(&organization, OrganizationId::parse)?;
    let caller = &incoming.caller;
    enable_organization(&app, (&id, &organization), &administrator.actor(), caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
