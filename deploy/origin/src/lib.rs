//! For a service behind Margrave's edge: believes the edge's signature, refuses whatever did not come through it or came
//! through before, and hands on who the request is about.
//!
//! ```no_run
//! use axum::{Router, middleware::from_fn_with_state, routing::get};
//! use margrave_origin::{Caller, Guard, guard};
//! use std::sync::Arc;
//!
//! async fn hello(caller: Caller) -> String {
//!     format!("hello {}", caller.subject)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `HOP_KEY` as the edge has it; while it is rotated, the next one beside it.
//! let keys = [std::env::var("HOP_KEY")?];
//! let app: Router = Router::new()
//!     .route("/hello", get(hello))
//!     .layer(from_fn_with_state(Arc::new(Guard::new(&keys)?), guard));
//! # Ok(()) }
//! ```
//!
//! The signature (RFC 9421, `hmac-sha256`) covers method, authority, path, query and the ten identity headers, not the body.
//! Routes that the edge calls public come unsigned: mount them beside the guarded ones.

mod caller;
mod nonces;

pub use caller::Caller;

use axum::extract::{OriginalUri, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::header::{SIGNATURE, SIGNATURE_INPUT, TO_ORIGIN};
use margrave_shared::http_signature::{Algorithm, Message, SignatureHeaders, verify};
use margrave_shared::id::is_opaque_id;
use margrave_shared::secret::{SecretKey, equal_in_constant_time};
use margrave_shared::time::UnixMs;
use nonces::Nonces;
use std::sync::{Arc, Mutex, PoisonError};

/// What a service knows of its edge.
#[derive(Debug)]
pub struct Guard {
    keys: Vec<(String, SecretKey)>,
    nonces: Mutex<Nonces>,
}

/// A hop key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a hop key is written as <key id>:<key>, the key being 32 bytes in base64url (43 characters); one at least, no two of one id"
)]
pub struct NotAHopKey;

/// A request, as far as its signature covers it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, as it was sent.
    pub path: &'a str,
    /// Its query without the question mark.
    pub query: &'a str,
    /// Its authority as HTTP/2 has it, where there is no `Host`.
    pub authority: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// Why a request is refused. For logs: the client is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header that is signed is missing, stands twice or is no text.
    #[error("a signed header is missing, stands twice or is no text")]
    Headers,
    /// The signature is malformed, old, by an unknown key, or of another request.
    #[error("the signature does not verify")]
    Signature,
    /// It has come before.
    #[error("the signature was used before")]
    Repeated,
}

impl Guard {
    /// With the keys of the edge, each `<key id>:<key>`: the one in use, and during a rotation the next.
    ///
    /// # Errors
    /// [`NotAHopKey`].
    pub fn new(keys: &[impl AsRef<str>]) -> Result<Self, NotAHopKey> {
        let keys: Vec<_> = keys.iter().map(|key| read_key(key.as_ref())).collect::<Result<_, _>>()?;
        let doubled =
            keys.iter().enumerate().any(|(i, (id, _))| keys.iter().take(i).any(|(other, _)| other == id));
        if keys.is_empty() || doubled {
            return Err(NotAHopKey);
        }
        Ok(Self { keys, nonces: Mutex::default() })
    }

    /// Judges a request and remembers it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(&self, request: Signed<'_>, now: UnixMs) -> Result<Caller, Refused> {
        let Signed { method, path, query, authority, headers } = request;
        let single = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next().map(|value| value.to_str()), values.next()) {
                (Some(Ok(text)), None) => Ok(text),
                _ => Err(Refused::Headers),
            }
        };
        let signed: Vec<(&str, &str)> = TO_ORIGIN
            .iter()
            .map(|name| single(name).map(|value| (*name, value)))
            .collect::<Result<_, _>>()?;
        let host = match authority {
            Some(authority) if !headers.contains_key("host") => authority,
            _ => single("host")?,
        };
        let authority = host.to_ascii_lowercase();
        let message = Message { method, authority: &authority, path, query, headers: &signed };
        let signature = SignatureHeaders {
            input: single(SIGNATURE_INPUT)?.to_owned(),
            signature: single(SIGNATURE)?.to_owned(),
        };
        let known = |id: &str, base: &[u8], bytes: &[u8]| {
            let key = self.keys.iter().find(|(known, _)| known == id);
            key.is_some_and(|(_, key)| equal_in_constant_time(&key.sign(base), bytes))
        };
        let parameters = verify(&message, &signature, Algorithm::HmacSha256, now, known)
            .map_err(|_| Refused::Signature)?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.remember(parameters.nonce, now.seconds()) {
            Ok(Caller::of(|name| single(name).unwrap_or("")))
        } else {
            Err(Refused::Repeated)
        }
    }
}

fn read_key(text: &str) -> Result<(String, SecretKey), NotAHopKey> {
    let (id, key) = text.trim().split_once(':').filter(|(id, _)| is_opaque_id(id)).ok_or(NotAHopKey)?;
    Ok((id.to_owned(), SecretKey::parse(key).map_err(|_| NotAHopKey)?))
}

/// The layer: `axum::middleware::from_fn_with_state(Arc::new(guard), guard)`. A handler behind it takes a [`Caller`].
pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    // In a nested router the path is shortened; what was signed is the whole of it.
    let uri =
        request.extensions().get::<OriginalUri>().map_or_else(|| request.uri().clone(), |uri| uri.0.clone());
    let signed = Signed {
        method: request.method().as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or(""),
        authority: uri.authority().map(Authority::as_str),
        headers: request.headers(),
    };
    match guard.judge(signed, now()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(_) => refusal(),
    }
}

/// The answer where somebody in particular is needed and nobody came.
pub(crate) fn nobody() -> Response {
    let body = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Log in first."}"#;
    (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// The answer to whatever did not come through the edge, whatever the reason.
pub(crate) fn refusal() -> Response {
    let body = r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"This service answers to its edge only."}"#;
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

#[expect(clippy::disallowed_methods, reason = "signatures are judged by the real time")]
fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use margrave_shared::http_signature::{Parameters, sign};
    use tower::ServiceExt as _;

    #[test]
    fn only_whole_keys_are_taken() {
        let key = SecretKey::from_bytes([1; 32]).to_text().expose().to_owned();
        assert!(Guard::new(&[format!("a:{key}"), format!("b:{key}\n")]).is_ok());
        for bad in [key.clone(), format!(":{key}"), format!("a b:{key}"), "a:short".to_owned()] {
            assert_eq!(Guard::new(&[bad]).err(), Some(NotAHopKey));
        }
        assert_eq!(Guard::new(&[] as &[&str]).err(), Some(NotAHopKey));
    }

    fn signed(uri: &str, nonce: &str) -> Request {
        signed_by(uri, nonce, "acc")
    }

    fn signed_by(uri: &str, nonce: &str, subject: &str) -> Request {
        let key = SecretKey::from_bytes([1; 32]);
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let headers: Vec<(&str, &str)> = TO_ORIGIN
            .iter()
            .map(|name| (*name, if name.ends_with("subject") { subject } else { "" }))
            .collect();
        let message = Message { method: "GET", authority: "svc:80", path, query, headers: &headers };
        let parameters = Parameters {
            created: now().seconds(),
            key_id: "k1".into(),
            nonce: nonce.into(),
            algorithm: Algorithm::HmacSha256,
        };
        let signature = sign(&message, &parameters, |base| key.sign(base).to_vec());
        let mut request = Request::builder().uri(uri).header("host", "SVC:80");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request = request.header(SIGNATURE_INPUT, signature.input).header(SIGNATURE, signature.signature);
        request.body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn behind_the_layer_a_handler_knows_the_caller_and_strangers_see_nothing() {
        let key = SecretKey::from_bytes([1; 32]).to_text().expose().to_owned();
        let state = Arc::new(Guard::new(&[format!("k1:{key}")]).unwrap());
        let inner = Router::new().route("/hello", get(async |caller: Caller| caller.subject));
        let app = Router::new().nest("/api", inner.layer(from_fn_with_state(state, guard)));
        let status = async |request: Request| app.clone().oneshot(request).await.unwrap().status();
        assert_eq!(status(signed("/api/hello?a=b", "n1")).await, 200);
        assert_eq!(status(signed("/api/hello?a=b", "n1")).await, 403, "a second time");
        let plain =
            Request::builder().uri("/api/hello").header("host", "svc:80").body(Body::empty()).unwrap();
        assert_eq!(status(plain).await, 403);
        let mut forged = signed("/api/hello", "n2");
        forged.headers_mut().insert("margrave-subject", "other".parse().unwrap());
        assert_eq!(status(forged).await, 403);
        let mut twice = signed("/api/hello", "n3");
        twice.headers_mut().append("margrave-subject", "acc".parse().unwrap());
        assert_eq!(status(twice).await, 403);
    }

    #[tokio::test]
    async fn nobody_is_no_caller_unless_a_handler_says_so() {
        let key = SecretKey::from_bytes([1; 32]).to_text().expose().to_owned();
        let state = Arc::new(Guard::new(&[format!("k1:{key}")]).unwrap());
        let either = async |caller: Option<Caller>| caller.map_or("nobody".to_owned(), |c| c.subject);
        let app = Router::new()
            .route("/one", get(async |caller: Caller| caller.subject))
            .route("/either", get(either))
            .layer(from_fn_with_state(state, guard));
        for (uri, subject, status) in
            [("/one", "acc", 200), ("/one", "", 401), ("/either", "acc", 200), ("/either", "", 200)]
        {
            let nonce = format!("n-{}-{subject}", uri.trim_start_matches('/'));
            let answer = app.clone().oneshot(signed_by(uri, &nonce, subject)).await.unwrap();
            assert_eq!(answer.status(), status, "{uri} {subject}");
        }
    }

    #[tokio::test]
    async fn a_handler_that_was_not_guarded_gets_no_caller() {
        let app: Router = Router::new().route("/hello", get(async |caller: Caller| caller.subject));
        assert_eq!(app.oneshot(signed("/hello", "n1")).await.unwrap().status(), 403);
    }
}
