//! Devices of accounts in the administration.

use super::account_routes::account_for;
use super::asked::{Query, path_id};
use crate::app::App;
use crate::devices::routes::Devices;
use crate::devices::{find_devices, forget_account_devices, remove_device};
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::id::DeviceId;
use std::sync::Arc;

/// `GET /accounts/{account}/devices`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    Query::read(&incoming, &[])?;
    let devices = find_devices(&app, &mut app.db.glance().await?, &account.id).await?;
    Ok(json(StatusCode::OK, &Devices { devices }))
}

/// `DELETE /accounts/{account}/devices/{device}` → `204`
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path((id, device)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    let device = path_id(&device, DeviceId::parse)?;
    remove_device(&app, &account.id, &device, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /accounts/{account}/devices` → `204`: all of them are strangers, and none is registered any more.
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    forget_account_devices(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
