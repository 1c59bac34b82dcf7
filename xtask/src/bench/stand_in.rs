//! A stand-in for the issuer: keys, a feed with one ending, and a login at which every password is wrong. It counts what
//! it is asked.

use super::tokens::{REVOKED, jwks, now, sign};
use crate::Outcome;
use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use margrave_shared::form::Form;
use margrave_shared::header::ATTEMPT;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// What it was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    requests: Arc<AtomicU64>,
    attempts: Arc<AtomicU64>,
}

impl Asked {
    /// Requests, but for the feed, the keys and reports.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Login attempts.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::SeqCst)
    }
}

/// Starts it on a port; it runs until the process ends.
pub(super) async fn start(port: u16, asked: Asked) -> Outcome<String> {
    let Asked { requests, attempts } = asked;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let url = format!("http://{address}");
    let issuer = url.clone();
    let router = Router::new()
        .route("/.well-known/jwks.json", get(async || ([(header::CONTENT_TYPE, "application/json")], jwks())))
        .route(
            "/v1/edge/events",
            get(async move |RawQuery(query): RawQuery| {
                let query = Form::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
                let known = query.get("epoch") == Some("bench");
                if known {
                    let wait = query.get("wait_s").and_then(|text| text.parse().ok()).unwrap_or(0);
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                }
                let ending = json!({ "seq": 1, "until": now() + 4000, "type": "token", "jti": REVOKED });
                let events = if known { json!([]) } else { json!([ending]) };
                let from = i64::from(known);
                let batch = json!({
                    "iss": issuer, "aud": "edge", "iat": now(), "exp": now() + 120, "jti": "batch", "epoch": "bench",
                    "from": from, "to": 1, "head": 1, "events": events,
                });
                sign("secevent+jwt", &batch).into_response()
            }),
        )
        .route("/v1/edge/reports", post(async || StatusCode::NO_CONTENT))
        .route(
            "/v1/factors/credentials",
            post(async move || {
                attempts.fetch_add(1, Ordering::SeqCst);
                (StatusCode::UNAUTHORIZED, [(ATTEMPT, "wrong")])
            }),
        )
        .fallback(async move || {
            requests.fetch_add(1, Ordering::SeqCst);
            StatusCode::NOT_FOUND
        });
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(url)
}
