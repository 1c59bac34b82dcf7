//! What an answer tells the edge alone, which removes it.

use super::incoming::Incoming;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use margrave_shared::header::DEVICE;
use margrave_shared::wire::device::DeviceStanding;

/// The same, where it is an edge that has asked.
pub(crate) fn for_edge(incoming: &Incoming, response: Response, standing: &DeviceStanding) -> Response {
    if incoming.caller.edge.is_some() { with_device_standing(response, standing) } else { response }
}

/// Tells the edge which devices of an account count.
pub(crate) fn with_device_standing(mut response: Response, standing: &DeviceStanding) -> Response {
    if let Ok(value) = HeaderValue::from_str(&standing.print()) {
        response.headers_mut().insert(HeaderName::from_static(DEVICE), value);
    }
    response
}
