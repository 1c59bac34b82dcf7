//! Roles in the administration.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::authorize_for;
use crate::app::App;
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::permissions::{Role, change_role, create_role, delete_role, find_role, find_roles};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::Permission;
use margrave_shared::role::RoleName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A role to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRoleBody {
    name: RoleName,
    #[schemars(length(max = 100))]
    permissions: BTreeSet<Permission>,
}

/// What a role is changed to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleBody {
    #[schemars(length(max = 100))]
    permissions: BTreeSet<Permission>,
}

/// A page of roles.
#[derive(Serialize, JsonSchema)]
pub(super) struct RolePage {
    roles: Vec<Role>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// `GET /merchants/{merchant}/roles`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let roles = find_roles(&mut app.db.read().await?, &id, query.after(), limit).await?;
    let next = next_of(&roles, limit, |role| role.name.to_string());
    Ok(json(StatusCode::OK, &RolePage { roles, next }))
}

/// `POST /merchants/{merchant}/roles {name, permissions}` → `201`
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let NewRoleBody { name, permissions } = incoming.read()?;
    let actor = administrator.actor();
    let giver = administrator.giver(&app, &id, &actor).await?;
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let caller = &incoming.caller;
            let role = create_role(&app, &mut tx, &id, name, permissions, giver, caller).await?;
            created(&app, tx, &place, &role, role.version).await
        }
    }
}

/// `GET /merchants/{merchant}/roles/{role}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path((id, role)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let name = path_id(&role, RoleName::parse)?;
    let role = find_role(&mut app.db.read().await?, &id, &name).await?;
    let role = role.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(versioned(json(StatusCode::OK, &role), role.version))
}

/// `PUT /merchants/{merchant}/roles/{role} {permissions}`
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path((id, role)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let name = path_id(&role, RoleName::parse)?;
    let version = version_to_change(&incoming)?;
    let RoleBody { permissions } = incoming.read()?;
    let actor = administrator.actor();
    let giver = administrator.giver(&app, &id, &actor).await?;
    let role = change_role(&app, &id, &name, permissions, version, giver, &incoming.caller).await?;
    Ok(versioned(json(StatusCode::OK, &role), role.version))
}

/// `DELETE /merchants/{merchant}/roles/{role}` → `204`
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path((id, role)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let name = path_id(&role, RoleName::parse)?;
    let version = version_to_change(&incoming)?;
    delete_role(&app, &id, &name, version, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
