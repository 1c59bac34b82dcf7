//! Applications in the administration.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::authorize_for;
use crate::app::App;
use crate::applications::{
    Application, Change, Class, change_application, create_application, disable_application,
    enable_application, find_any_application, find_applications,
};
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::ClientId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What an application is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplicationBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    class: Class,
}

/// A page of applications.
#[derive(Serialize, JsonSchema)]
pub(super) struct ApplicationPage {
    applications: Vec<Application>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// `GET /merchants/{merchant}/applications`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let applications = find_applications(&mut app.db.read().await?, &id, query.after(), limit).await?;
    let next = next_of(&applications, limit, |application| application.id.to_string());
    Ok(json(StatusCode::OK, &ApplicationPage { applications, next }))
}

/// `POST /merchants/{merchant}/applications {name, class}` → `201`
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let ApplicationBody { name, class } = incoming.read()?;
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let caller = &incoming.caller;
            let application = create_application(&app, &mut tx, &id, &name, class, &actor, caller).await?;
            created(&app, tx, &place, &application, 0).await
        }
    }
}

/// `GET /merchants/{merchant}/applications/{application}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path((id, client)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let client = path_id(&client, ClientId::parse)?;
    let found = find_any_application(&mut app.db.read().await?, &client).await?;
    let application =
        found.filter(|found| found.merchant_id == id).ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(versioned(json(StatusCode::OK, &application), application.version))
}

/// `PUT /merchants/{merchant}/applications/{application} {name, class}`
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path((id, client)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let client = path_id(&client, ClientId::parse)?;
    let version = version_to_change(&incoming)?;
    let ApplicationBody { name, class } = incoming.read()?;
    let change = Change { id: &client, name: &name, class };
    let actor = administrator.actor();
    let application = change_application(&app, &id, change, version, &actor, &incoming.caller).await?;
    Ok(versioned(json(StatusCode::OK, &application), application.version))
}

/// `POST /merchants/{merchant}/applications/{application}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path((id, client)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let client = path_id(&client, ClientId::parse)?;
    disable_application(&app, &id, &client, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /merchants/{merchant}/applications/{application}/enable` → `204`
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    Path((id, client)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let client = path_id(&client, ClientId::parse)?;
    enable_application(&app, &id, &client, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
