//! A person's devices. Those that an edge knows, by the account's device generation; and those that the person is told something on (X5),
//! registered and kept up by the person's own program. Nothing is sent to the latter yet.

mod forget;
mod register;
pub(crate) mod routes;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use forget::{forget_account_devices, forget_devices};
#[cfg(test)]
pub(crate) use register::{NewDevice, register_device};
pub(crate) use register::{delete_dead, find_devices, find_targets, remove_device};
pub(crate) use store::delete_devices;

use margrave_shared::id::DeviceId;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;

/// A device, without what it is reached by.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Device {
    /// Its id.
    pub(crate) device_id: DeviceId,
    /// What its owner calls it.
    pub(crate) name: String,
    /// `fcm`, `apns` or `web`.
    pub(crate) kind: String,
    /// When it was registered.
    pub(crate) created_at: UnixMs,
    /// When its program last said that it is there.
    pub(crate) seen_at: UnixMs,
}
