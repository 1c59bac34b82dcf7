//! Who opened a connection.

use super::draining::Door;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use std::net::IpAddr;
use tokio::net::TcpListener;

/// The address of who opened the connection; none over a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

impl Connected<IncomingStream<'_, Door<TcpListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door<TcpListener>>) -> Self {
        Self(Some(stream.remote_addr().ip()))
    }
}

#[cfg(unix)]
impl Connected<IncomingStream<'_, Door<tokio::net::UnixListener>>> for Peer {
    fn connect_info(_: IncomingStream<'_, Door<tokio::net::UnixListener>>) -> Self {
        Self(None)
    }
}
