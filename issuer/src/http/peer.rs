//! Who opened a connection.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use std::net::IpAddr;
use tokio::net::TcpListener;

/// The address of who opened the connection; none over a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(Some(stream.remote_addr().ip()))
    }
}

#[cfg(unix)]
impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self(None)
    }
}
