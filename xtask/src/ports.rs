//! Ports: free ones, unless given.

use crate::Outcome;
use std::net::TcpListener;

/// A port that is free now. A wanted one that is not free is an error; a remembered one is replaced.
pub(crate) fn choose(what: &str, wanted: Option<u16>, remembered: Option<u16>) -> Outcome<u16> {
    if let Some(port) = wanted {
        return match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => Ok(port),
            Err(error) => Err(format!(
                "port {port} for the {what} cannot be used ({error}). Stop what listens there, or leave the port out \
                 to get a free one"
            )),
        };
    }
    for port in remembered.into_iter().chain([0]) {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port))
            && let Ok(address) = listener.local_addr()
        {
            return Ok(address.port());
        }
    }
    Err(format!("there is no free port for the {what}"))
}
