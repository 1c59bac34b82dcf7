//! The demo origin, which answers with the request it received.
//!
//! The origin does what every origin behind an edge should do: it refuses what the edge has not signed, and what was
//! signed before. Public routes carry no identity and so no signature.

use crate::Outcome;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use margrave_origin::{Guard, guard};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The name of the demo's hop key.
pub(crate) const HOP_KEY_ID: &str = "demo-1";

/// Starts the origin on a port; it runs until the process ends.
pub(crate) async fn start(port: u16, hop_key: &str) -> Outcome<()> {
    let keys = [format!("{HOP_KEY_ID}:{hop_key}")];
    let state = Arc::new(Guard::new(&keys).map_err(|error| error.to_string())?);
    let router = Router::new()
        .fallback(any(echo))
        .layer(from_fn_with_state(state, guard))
        // What the edge calls public comes unsigned.
        .route("/public", any(echo))
        .route("/public/{*rest}", any(echo));
    serve(port, router, "demo origin").await
}

/// Serves on a port of this machine until the process ends.
pub(crate) async fn serve(port: u16, router: Router, name: &str) -> Outcome<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("the {name} cannot listen on {address}: {error}"))?;
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(())
}

async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let body = to_bytes(body, 16 << 20).await.unwrap_or_default();
    let mut headers = Map::new();
    let mut raw = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        raw.push(json!([name.as_str(), value]));
        let joined = match headers.get(name.as_str()).and_then(Value::as_str) {
            Some(former) => format!("{former}, {value}"),
            None => value,
        };
        headers.insert(name.as_str().to_owned(), Value::String(joined));
    }
    answer(
        StatusCode::OK,
        &json!({
            "method": parts.method.as_str(),
            "path": path,
            "query": query,
            "headers": headers,
            "raw_headers": raw,
            "body": String::from_utf8_lossy(&body),
        }),
    )
}

/// An answer of JSON.
pub(crate) fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response()
}
