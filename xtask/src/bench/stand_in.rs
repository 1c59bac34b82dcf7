//! A stand-in for the issuer: keys, and a feed with one ending.

use super::tokens::{REVOKED, jwks, now, sign};
use crate::Outcome;
use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use margrave_shared::form::Form;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// Starts it on a port; it runs until the process ends.
pub(super) async fn start(port: u16) -> Outcome<String> {
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
        .route("/v1/edge/reports", post(async || StatusCode::NO_CONTENT));
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(url)
}
