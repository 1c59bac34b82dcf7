//! `margrave serve`: until told to stop, and then within ten seconds.

use super::listener::{Listener, listen};
use super::{CommandError, open};
use crate::app::App;
use crate::audit::{run_sealer, seal_some};
use crate::clock::Clock;
use crate::config::Config;
use crate::edges::push;
use crate::http::peer::Peer;
use crate::keys::run_rotation;
use crate::router::router;
use crate::{sweeper, telemetry};
use std::sync::Arc;
use std::time::Duration;

/// How long running requests may take to end after the signal.
const GRACE: Duration = Duration::from_secs(8);

pub(super) async fn run(config: &Config) -> Result<(), CommandError> {
    telemetry::start(false);
    let master_key = config.master_key()?;
    let db = open(config).await?;
    let app = Arc::new(App::build(config, &master_key, db, Clock::System).await?);
    let listener = listen(config).await?;
    tracing::info!(listen = %listener, issuer = %app.public_url, direct = app.direct, "serving");
    tokio::spawn(run_rotation(Arc::clone(&app)));
    tokio::spawn(sweeper::run(Arc::clone(&app)));
    tokio::spawn(push::run(Arc::clone(&app)));
    tokio::spawn(run_sealer(Arc::clone(&app)));

    let (stop, mut stopping) = tokio::sync::watch::channel(());
    let service = router(Arc::clone(&app)).into_make_service_with_connect_info::<Peer>();
    let stopping = async move {
        // The sender is dropped when the signal comes.
        while stopping.changed().await.is_ok() {}
    };
    let serving = match listener {
        Listener::Tcp(listener) => {
            tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(stopping).into_future())
        }
        #[cfg(unix)]
        Listener::Unix(listener) => {
            tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(stopping).into_future())
        }
    };
    signal().await;
    tracing::info!("stopping");
    drop(stop);
    // Long polls would hold the stop up; their edges ask again.
    app.feed.stop();
    let ended = tokio::time::timeout(GRACE, serving).await;
    if ended.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    // Nothing is left that anybody could change.
    let _ = tokio::time::timeout(Duration::from_secs(1), seal_some(&app)).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), app.db.close()).await;
    Ok(())
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
