//! Where the issuer listens: at its own address, or at a socket that it is handed (systemd's `LISTEN_FDS`), which stays open
//! while the issuer is restarted, so that requests wait and none is refused.

use super::CommandError;
use crate::config::Config;
use listenfd::ListenFd;
use std::fmt;
use std::net::SocketAddr;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

/// A socket that is listened on.
#[derive(Debug)]
pub(super) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, always one that was handed over.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("tcp"),
            },
            #[cfg(unix)]
            Self::Unix(_) => f.write_str("a Unix socket"),
        }
    }
}

/// Takes the socket that was handed over, or listens at `listen`.
///
/// # Errors
/// With what to do about it.
pub(super) async fn listen(config: &Config) -> Result<Listener, CommandError> {
    // The crate checks whom `LISTEN_PID` names, and takes its absence for a yes; afterwards it is gone.
    let named = std::env::var_os("LISTEN_PID").is_some();
    let mut handed = ListenFd::from_env();
    if named && handed.len() > 0 {
        return handed_over(&mut handed).map_err(|error| {
            CommandError::Text(format!(
                "the socket that was handed over (LISTEN_FDS) cannot be used: {error}"
            ))
        });
    }
    bind(config.listen, "listen").await
}

/// Listens at an address, which a setting names.
///
/// # Errors
/// With what to do about it.
pub(super) async fn bind(address: SocketAddr, setting: &str) -> Result<Listener, CommandError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        CommandError::Text(format!(
            "{address} cannot be listened on: {error}. Is another issuer running there? `{setting}` names another address"
        ))
    })?;
    Ok(Listener::Tcp(listener))
}

fn handed_over(handed: &mut ListenFd) -> std::io::Result<Listener> {
    #[cfg(unix)]
    if let Ok(Some(listener)) = handed.take_unix_listener(0) {
        listener.set_nonblocking(true)?;
        return UnixListener::from_std(listener).map(Listener::Unix);
    }
    let listener = handed.take_tcp_listener(0)?;
    let listener = listener.ok_or_else(|| std::io::Error::other("there is none at the first place"))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Listener::Tcp)
}
