//! Ports: free ones, unless given.

use crate::Outcome;
use crate::secrets::random_bytes;
use std::fs::File;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Where ports are looked for: below those that systems give to outgoing connections, one of which could have taken a
/// port between this look and the start of what shall listen there.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const TRIES: usize = 32;

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
    let random = random_bytes::<{ 2 * TRIES }>()?;
    let random = random.as_chunks().0.iter().map(|two| FIRST + u16::from_le_bytes(*two) % COUNT);
    let mut ports = remembered.into_iter().chain(random);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok() && reserve(*port))
        .ok_or_else(|| format!("there is no free port for the {what}"))
}

/// Keeps other runs of this program from choosing a port that nothing listens on yet; until the process ends.
fn reserve(port: u16) -> bool {
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("margrave-ports");
    let reserved = std::fs::create_dir_all(&folder)
        .and_then(|()| File::create(folder.join(port.to_string())))
        .map(|file| file.try_lock().is_ok().then_some(file));
    match reserved {
        Ok(Some(file)) => {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            true
        }
        Ok(None) => false,
        // Where nothing can be written, luck has to do.
        Err(_) => true,
    }
}
