//! What an answer tells the edge alone, which removes it.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use margrave_shared::header::DEVICE;
use margrave_shared::wire::device::DeviceStanding;

/// Tells the edge which devices of an account count.
pub(crate) fn with_device_standing(mut response: Response, standing: &DeviceStanding) -> Response {
    if let Ok(value) = HeaderValue::from_str(&standing.print()) {
        response.headers_mut().insert(HeaderName::from_static(DEVICE), value);
    }
    response
}
