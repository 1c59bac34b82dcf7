//! `margrave serve`: until told to stop, and then within ten seconds.

use super::listener::{Listener, bind, listen};
use super::{CommandError, open};
use crate::app::App;
use crate::audit::{run_sealer, seal_some};
use crate::clock::Clock;
use crate::config::Config;
use crate::edges::push;
use crate::http::draining::Draining;
use crate::http::peer::Peer;
use crate::keys::run_rotation;
use crate::limiter::{run_refusals, write_refusals};
use crate::merchants::watch_resets;
use crate::notify::run_sender;
use crate::router::{Serves, router};
use crate::sampling::Share;
use crate::storage::run_checkpoints;
use crate::{metrics, sweeper, telemetry};
use axum::Router;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long what comes after them may take.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How long running requests may take to end once no more are taken.
const GRACE: Duration = Duration::from_millis(6500);

pub(super) async fn run(config: &Config) -> Result<(), CommandError> {
    let masters = config.master_keys()?;
    let share = Share::new(&masters.current, config.otlp_ratio);
    let traces = telemetry::start_for_a_server(config.otlp_endpoint.as_deref(), share)?;
    let db = open(config).await?;
    // Before anything is counted.
    let counted = match config.metrics_listen {
        Some(address) => Some((bind(address, "metrics_listen").await?, metrics::install()?)),
        None => None,
    };
    let app = Arc::new(App::build(config, &masters, db, Clock::System).await?);
    let listener = listen(config).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(bind(address, "admin_listen").await?),
        None => None,
    };
    tracing::info!(listen = %listener, issuer = %app.public_url, direct = app.direct, "serving");
    tokio::spawn(run_rotation(Arc::clone(&app)));
    tokio::spawn(sweeper::run(Arc::clone(&app)));
    tokio::spawn(push::run(Arc::clone(&app)));
    tokio::spawn(run_sealer(Arc::clone(&app)));
    tokio::spawn(run_refusals(Arc::clone(&app)));
    tokio::spawn(watch_resets(Arc::clone(&app)));
    tokio::spawn(run_sender(Arc::clone(&app)));
    tokio::spawn(run_checkpoints(app.db.clone()));

    let mut serving = JoinSet::new();
    let serves = if admin.is_some() { Serves::Public } else { Serves::All };
    serve(&mut serving, listener, router(Arc::clone(&app), serves), &app.draining);
    if let Some(admin) = admin {
        tracing::info!(listen = %admin, "serving the administration");
        serve(&mut serving, admin, router(Arc::clone(&app), Serves::Administration), &app.draining);
    }
    if let Some((listener, handle)) = counted {
        tracing::info!(listen = %listener, "serving metrics");
        serve(&mut serving, listener, metrics::router(Arc::clone(&app), handle), &app.draining);
    }
    signal().await;
    tracing::info!("stopping");
    app.draining.stop().await;
    // Long polls would hold the stop up; their edges ask again.
    app.feed.stop();
    let ended = tokio::time::timeout(GRACE, serving.join_all()).await;
    if ended.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    let last = async {
        let _ = write_refusals(&app).await;
        // Nothing is left that anybody could change.
        let _ = seal_some(&app).await;
        traces.end().await;
        app.db.close().await;
    };
    let _ = tokio::time::timeout(AFTERWARDS, last).await;
    Ok(())
}

/// Serves on one socket until the server stops.
fn serve(serving: &mut JoinSet<()>, listener: Listener, router: Router, draining: &Draining) {
    let service = router.into_make_service_with_connect_info::<Peer>();
    let closing = draining.closing();
    let served: Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> = match listener {
        Listener::Tcp(listener) => Box::pin(
            axum::serve(draining.door(listener), service).with_graceful_shutdown(closing).into_future(),
        ),
        #[cfg(unix)]
        Listener::Unix(listener) => Box::pin(
            axum::serve(draining.door(listener), service).with_graceful_shutdown(closing).into_future(),
        ),
    };
    serving.spawn(async move {
        let served = served.await;
        if let Err(error) = served {
            tracing::error!(%error, "a listener ended");
        }
    });
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
