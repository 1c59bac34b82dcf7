//! The demo origin, which answers with the request it received, and the development outbox.
//!
//! The origin does what every origin behind an edge should do: it refuses what the edge has not signed, and what was
//! signed before. Public routes carry no identity and so no signature.

use crate::Outcome;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use margrave_shared::header::{SIGNATURE, SIGNATURE_INPUT, TO_ORIGIN};
use margrave_shared::http_signature::{Algorithm, Message, SignatureHeaders, verify};
use margrave_shared::secret::{SecretKey, equal_in_constant_time};
use margrave_shared::time::UnixMs;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// The name of the demo's hop key.
pub(crate) const HOP_KEY_ID: &str = "demo-1";

struct Origin {
    hop_key: SecretKey,
    nonces: Mutex<Nonces>,
}

/// The nonces of the last minute or two, in two generations, so that nothing has to be searched for what is old: a
/// signature is believed for 30 seconds either way.
#[derive(Default)]
struct Nonces {
    young: HashSet<String>,
    old: HashSet<String>,
    turned_at: i64,
}

impl Nonces {
    /// Remembers a nonce; `false` when it was used before.
    fn remember(&mut self, nonce: String, now_s: i64) -> bool {
        if now_s - self.turned_at > 60 {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = now_s;
        }
        !self.old.contains(&nonce) && self.young.insert(nonce)
    }
}

/// Starts the origin on a port; it runs until the process ends.
pub(crate) async fn start(port: u16, hop_key: &str) -> Outcome<()> {
    let hop_key = SecretKey::parse(hop_key).map_err(|error| format!("the hop key: {error}"))?;
    let origin = Arc::new(Origin { hop_key, nonces: Mutex::default() });
    let router = Router::new().fallback(any(echo)).with_state(origin);
    serve(port, router, "demo origin").await
}

/// Starts the outbox on a port: what the issuer sends to people is posted here and read back.
pub(crate) async fn start_outbox(port: u16) -> Outcome<()> {
    let messages: Arc<Mutex<Vec<Value>>> = Arc::default();
    let router = Router::new().fallback(any(outbox)).with_state(messages);
    serve(port, router, "outbox").await
}

async fn serve(port: u16, router: Router, name: &str) -> Outcome<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("the {name} cannot listen on {address}: {error}"))?;
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(())
}

async fn outbox(State(messages): State<Arc<Mutex<Vec<Value>>>>, request: Request) -> Response {
    if request.method() == "POST" {
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
        let message = serde_json::from_slice(&body).unwrap_or(Value::Null);
        messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        return StatusCode::NO_CONTENT.into_response();
    }
    let list = messages.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answer(StatusCode::OK, &Value::Array(list))
}

#[expect(clippy::disallowed_methods, reason = "the demo origin checks signatures by the real time")]
fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMs(since.as_millis() as i64)
}

async fn echo(State(origin): State<Arc<Origin>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    if !path.starts_with("/public/") && path != "/public" {
        let trusted = check(&origin, parts.method.as_str(), &path, &query, &parts.headers);
        if let Err(reason) = trusted {
            return answer(
                StatusCode::FORBIDDEN,
                &json!({ "error": "not through the edge", "reason": reason }),
            );
        }
    }
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

fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response()
}

fn check(
    origin: &Origin,
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<(), &'static str> {
    let single = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (Some(Ok(text)), None) => Ok(text),
            _ => Err("a signed header is missing or stands twice"),
        }
    };
    let signed: Vec<(&str, &str)> =
        TO_ORIGIN.iter().map(|name| single(name).map(|value| (*name, value))).collect::<Result<_, _>>()?;
    let authority = single("host")?.to_ascii_lowercase();
    let message = Message { method, authority: &authority, path, query, headers: &signed };
    let signature = SignatureHeaders {
        input: single(SIGNATURE_INPUT)?.to_owned(),
        signature: single(SIGNATURE)?.to_owned(),
    };
    let now = now();
    let parameters = verify(&message, &signature, Algorithm::HmacSha256, now, |key_id, base, bytes| {
        key_id == HOP_KEY_ID && equal_in_constant_time(&origin.hop_key.sign(base), bytes)
    })
    .map_err(|_| "the signature does not verify")?;
    let mut nonces = origin.nonces.lock().unwrap_or_else(PoisonError::into_inner);
    if nonces.remember(parameters.nonce, now.seconds()) {
        Ok(())
    } else {
        Err("this signature was used before")
    }
}

#[cfg(test)]
mod tests {
    use super::Nonces;

    #[test]
    fn a_nonce_counts_once_for_as_long_as_its_signature_is_believed() {
        let mut nonces = Nonces::default();
        assert!(nonces.remember("a".to_owned(), 1000));
        assert!(!nonces.remember("a".to_owned(), 1059));
        assert!(!nonces.remember("a".to_owned(), 1061), "one generation later it is still known");
        assert!(nonces.remember("b".to_owned(), 1061));
        assert!(nonces.remember("a".to_owned(), 1200));
    }
}
