//! Stopping without losing a request.
//!
//! Who keeps a connection may write on it in the very moment in which it is closed, and a POST that got no answer must not be sent
//! again by itself (RFC 9110 §9.2.2). So a server that stops first says on every answer that it closes the connection (RFC 9112 §9.6),
//! while it still takes new ones; then it takes no more and reads what the last ones bring; only then it closes those that are idle.

use axum::serve::Listener;
use std::time::Duration;
use tokio::sync::watch;

/// How long clients are told to go elsewhere.
const LEAVING: Duration = Duration::from_secs(1);

/// How long the first request of a connection may take to come.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Leaving,
    Shut,
    Closing,
}

/// How far a server has got with stopping.
#[derive(Debug)]
pub(crate) struct Draining(watch::Sender<Stage>);

impl Default for Draining {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Serving))
    }
}

impl Draining {
    /// Whether answers close their connection.
    pub(crate) fn is_leaving(&self) -> bool {
        *self.0.borrow() >= Stage::Leaving
    }

    /// Goes through all stages. Afterwards no request is taken any more; those that run go on.
    pub(crate) async fn stop(&self) {
        self.0.send_replace(Stage::Leaving);
        tokio::time::sleep(LEAVING).await;
        self.0.send_replace(Stage::Shut);
        tokio::time::sleep(LAST_REQUESTS).await;
        self.0.send_replace(Stage::Closing);
    }

    /// Waits until idle connections are to be closed.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        reached(self.0.subscribe(), Stage::Closing)
    }

    /// The listener, until no more connections are to be taken.
    pub(crate) fn door<L: Listener>(&self, listener: L) -> Door<L> {
        Door { listener: Some(listener), stages: self.0.subscribe() }
    }
}

async fn reached(mut stages: watch::Receiver<Stage>, stage: Stage) {
    // Whoever holds the other end stops by going, too.
    let _ = stages.wait_for(|reached| *reached >= stage).await;
}

/// A listener that is closed once no more connections are to be taken, when those that wait have been. Whoever comes then is
/// refused, or waits for the next process where the socket was handed over; left open, it would take requests that nobody reads.
#[derive(Debug)]
pub(crate) struct Door<L> {
    listener: Option<L>,
    stages: watch::Receiver<Stage>,
}

impl<L: Listener> Listener for Door<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                accepted = listener.accept() => return accepted,
                () = reached(self.stages.clone(), Stage::Shut) => {}
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.as_ref().ok_or_else(|| std::io::Error::other("the listener is closed"))?.local_addr()
    }
}
