//! `/v1/me/devices` and `DELETE /v1/devices`.

use super::register::{NewDevice, register_device};
use super::{Device, find_devices, forget_account_devices, remove_device};
use crate::accounts::device_standing;
use crate::app::App;
use crate::http::answer::json;
use crate::http::attempt::attempt;
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::path::Path;
use crate::http::to_edge::for_edge;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::DeviceId;
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::push_target::PushTarget;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A device to be registered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeviceBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    target: PushTarget,
}

/// A device that was registered.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RegisteredDevice {
    device_id: DeviceId,
}

/// Devices.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Devices {
    pub(crate) devices: Vec<Device>,
}

/// `POST /v1/me/devices {name, target}` → `201 {device_id}`; again with the same target it is renewed.
pub(crate) async fn register(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    // Bounded, since each is written down for good.
    attempt(&app, &incoming, Aim::Nothing, async {
        let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
        let NewDeviceBody { name, target } = incoming.read()?;
        let new = NewDevice { name, target };
        let id = register_device(&app, &account.id, new, &presented.actor(), &incoming.caller).await?;
        Ok(json(StatusCode::CREATED, &RegisteredDevice { device_id: id }))
    })
    .await
}

/// `GET /v1/me/devices`
pub(crate) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let devices = find_devices(&app, &mut app.db.glance().await?, &account.id).await?;
    Ok(json(StatusCode::OK, &Devices { devices }))
}

/// `DELETE /v1/me/devices/{device}` → `204`
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let id = DeviceId::parse(&id).map_err(|_| ApiError::new(ErrorCode::NotFound))?;
    remove_device(&app, &account.id, &id, &presented.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// "That was not me": forgets every device that was known. `204`
pub(crate) async fn forget(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    // Bounded, since each is written down for good.
    attempt(&app, &incoming, Aim::Nothing, async {
        let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
        let account = forget_account_devices(&app, &account.id, &presented.actor(), &incoming.caller).await?;
        Ok(for_edge(&incoming, StatusCode::NO_CONTENT.into_response(), &device_standing(&account)))
    })
    .await
}
