//! A request with its body read and its caller known: the one extractor of routes that take a body or care who
//! calls.

use super::acting::Acting;
use super::context::{Caller, KnownAs};
use super::error::ApiError;
use super::peer::Peer;
use crate::app::App;
use crate::edges::{EdgeCall, verify_call};
use crate::failure::Failure;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::{HeaderMap, Uri, header};
use http_body_util::BodyExt as _;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::MAX_FORM_BYTES;
use margrave_shared::header as names;
use margrave_shared::id::RequestId;
use margrave_shared::json::Json;
use margrave_shared::wire::device::DeviceClaim;
use margrave_shared::wire::session_seen::SessionSeen;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A request, read.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its path and query.
    pub(crate) uri: Uri,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, at most [`MAX_FORM_BYTES`].
    pub(crate) body: Vec<u8>,
    /// Who calls.
    pub(crate) caller: Caller,
    /// Whose act it is, to be filled in.
    pub(crate) acting: Acting,
}

/// How much of a body that is too large is read and dropped: who is still writing when the connection closes gets a broken
/// pipe instead of the answer.
const MAX_IGNORED: usize = 4 * 1024 * 1024;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl FromRequest<Arc<App>> for Incoming {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let late = |_| ApiError::new(ErrorCode::InvalidRequest);
        let body = tokio::time::timeout(BODY_TIMEOUT, read(body)).await.map_err(late)??;
        let mut caller = Caller {
            address: parts.extensions.get::<ConnectInfo<Peer>>().and_then(|peer| peer.0.0),
            request_id: parts.extensions.get::<RequestId>().cloned(),
            user_agent: text(&parts.headers, "user-agent").map(str::to_owned),
            idempotency_key: idempotency_key(&parts.headers)?,
            ..Caller::default()
        };
        if parts.headers.contains_key(names::SIGNATURE_INPUT) {
            let call = EdgeCall {
                method: parts.method.as_str(),
                path: parts.uri.path(),
                query: parts.uri.query().unwrap_or(""),
                headers: &parts.headers,
                body: &body,
            };
            let edge = verify_call(app, &call).await?;
            // What an edge signs is believed: it has judged the client's address.
            let signed = |name| text(&parts.headers, name).unwrap_or("");
            caller.edge = Some(edge);
            caller.address = signed(names::CLIENT_ADDRESS).parse::<IpAddr>().ok();
            caller.session_seen = SessionSeen::parse(signed(names::SESSION_SEEN));
            caller.device = DeviceClaim::parse(signed(names::DEVICE));
            if let Ok(id) = RequestId::parse(signed(names::REQUEST_ID)) {
                if let Some(known) = parts.extensions.get::<KnownAs>() {
                    known.set(id.clone());
                }
                caller.request_id = Some(id);
            }
        }
        let acting = parts.extensions.get::<Acting>().cloned().unwrap_or_default();
        Ok(Self { acting, uri: parts.uri, headers: parts.headers, body, caller })
    }
}

/// Reads a body of at most [`MAX_FORM_BYTES`].
async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut beyond) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
        let Ok(data) = frame.into_data() else { continue };
        if beyond == 0 && bytes.len() + data.len() <= MAX_FORM_BYTES {
            bytes.extend_from_slice(&data);
            continue;
        }
        beyond += data.len();
        if beyond > MAX_IGNORED {
            break;
        }
    }
    if beyond == 0 { Ok(bytes) } else { Err(ApiError::new(ErrorCode::PayloadTooLarge)) }
}

/// A text that a list holds twice: no list that this API takes may.
fn repeated(json: &Json) -> Option<&str> {
    match json {
        Json::Array(items) => {
            let mut seen = BTreeSet::new();
            let texts = items.iter().filter_map(Json::as_str);
            texts.into_iter().find(|text| !seen.insert(*text)).or_else(|| items.iter().find_map(repeated))
        }
        Json::Object(members) => members.iter().find_map(|(_, member)| repeated(member)),
        _ => None,
    }
}

/// The client's `Idempotency-Key`. One that cannot be read must not be taken for none: the client relies on it.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text.to_owned())),
        _ => Err(ApiError::new(ErrorCode::InvalidRequest)),
    }
}

/// A header's text; `None` when absent or not plain text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Incoming {
    /// The value of `Authorization`; two of them are an error.
    pub(crate) fn authorization(&self) -> Result<Option<&str>, ApiError> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::new(ErrorCode::AmbiguousRequest));
        }
        match first.map(|value| value.to_str()) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(ApiError::new(ErrorCode::InvalidRequest)),
        }
    }

    /// The body as strict JSON.
    pub(crate) fn json(&self) -> Result<Json, ApiError> {
        self.expect_type("application/json")?;
        Json::parse(&self.body).map_err(|_| ApiError::new(ErrorCode::InvalidRequest))
    }

    /// The body as what it should be. What is wrong with it is said: who may call knows how.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if let Some(text) = repeated(&self.json()?) {
            let why = format!("`{}` stands twice in one list", text.chars().take(100).collect::<String>());
            return Err(Failure::explained(ErrorCode::InvalidField, why).into());
        }
        let mut unknown = None;
        let mut deserializer = serde_json::Deserializer::from_slice(&self.body);
        let read = serde_ignored::deserialize(&mut deserializer, |path| unknown = Some(path.to_string()));
        let why = match (read, unknown) {
            (Ok(read), None) => return Ok(read),
            (Ok(_), Some(path)) => format!("`{path}` is not known"),
            (Err(error), _) => error.to_string(),
        };
        let why: String = why.chars().take(300).collect();
        Err(Failure::explained(ErrorCode::InvalidField, why).into())
    }

    /// Whether the body's media type is this one, parameters aside.
    pub(crate) fn expect_type(&self, wanted: &str) -> Result<(), ApiError> {
        let media_type = text(&self.headers, "content-type").unwrap_or("");
        let bare = media_type.split(';').next().unwrap_or("").trim();
        if bare.eq_ignore_ascii_case(wanted) {
            Ok(())
        } else {
            Err(ApiError::new(ErrorCode::UnsupportedMediaType))
        }
    }
}
