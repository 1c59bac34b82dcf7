//! Edges in the administration: the platform's alone.

use super::asked::{Begun, Query, begin, created, next_of, path_id};
use super::authorize::{Realm, authorize};
use crate::app::App;
use crate::edges::{Edge, EdgeFacts, change_edge, create_edge, disable_edge, find_edge, find_edges};
use crate::failure::Failure;
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::base64;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::EdgeId;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What an edge is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EdgeBody {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Ed25519, 32 bytes in base64url.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    public_key: String,
    /// The key that it is about to sign with; both count until the next change.
    #[serde(default)]
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{43}$"))]
    next_public_key: Option<String>,
    /// The ids of the merchants it stands before; `*` = all.
    #[schemars(length(min = 1, max = 100))]
    merchants: Vec<String>,
    /// Where it takes pushed endings.
    #[serde(default)]
    push_url: Option<String>,
}

/// An edge.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownEdge {
    edge_id: EdgeId,
    name: String,
    public_key: String,
    next_public_key: Option<String>,
    /// When it was first seen to sign with the next one: from then on the present one may be dropped.
    next_key_used_at: Option<UnixMs>,
    merchants: Vec<String>,
    push_url: Option<String>,
    created_at: UnixMs,
}

/// A page of the edges that are not disabled.
#[derive(Serialize, JsonSchema)]
pub(super) struct EdgePage {
    edges: Vec<ShownEdge>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

impl From<&Edge> for ShownEdge {
    fn from(edge: &Edge) -> Self {
        let EdgeFacts { name, public_key, next_public_key, merchants, push_url } = edge.facts.clone();
        Self {
            edge_id: edge.id.clone(),
            name,
            public_key: base64::encode_url(&public_key),
            next_public_key: next_public_key.map(|key| base64::encode_url(&key)),
            next_key_used_at: edge.next_key_used_at,
            merchants,
            push_url,
            created_at: edge.created_at,
        }
    }
}

impl EdgeBody {
    fn facts(self) -> Result<EdgeFacts, ApiError> {
        let key = |text: &str| -> Result<[u8; 32], ApiError> {
            let bytes = base64::decode_url(text).ok().and_then(|bytes| bytes.try_into().ok());
            let why = "a public key is 32 bytes in base64url, 43 characters";
            bytes.ok_or_else(|| Failure::explained(ErrorCode::InvalidField, why).into())
        };
        Ok(EdgeFacts {
            name: self.name,
            public_key: key(&self.public_key)?,
            next_public_key: self.next_public_key.as_deref().map(key).transpose()?,
            merchants: self.merchants,
            push_url: self.push_url,
        })
    }
}

/// `GET /edges`
pub(super) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let mut edges = find_edges(&mut app.db.read().await?).await?;
    edges.retain(|edge| edge.id.as_str() > query.after());
    edges.sort_by(|a, b| a.id.cmp(&b.id));
    edges.truncate(usize::try_from(limit).unwrap_or(0));
    let next = next_of(&edges, limit, |edge| edge.id.to_string());
    Ok(json(StatusCode::OK, &EdgePage { edges: edges.iter().map(ShownEdge::from).collect(), next }))
}

/// `POST /edges` → `201`
pub(super) async fn create(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let body: EdgeBody = incoming.read()?;
    let facts = body.facts()?;
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let edge = create_edge(&app, &mut tx, facts, &actor, &incoming.caller).await?;
            created(&app, tx, &place, &ShownEdge::from(&edge), 0).await
        }
    }
}

/// `GET /edges/{edge}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let id = path_id(&id, EdgeId::parse)?;
    let edge = find_edge(&mut app.db.read().await?, &id).await?.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(versioned(json(StatusCode::OK, &ShownEdge::from(&edge)), edge.version))
}

/// `PUT /edges/{edge}`
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, EdgeId::parse)?;
    let version = version_to_change(&incoming)?;
    let body: EdgeBody = incoming.read()?;
    let facts = body.facts()?;
    let actor = administrator.actor();
    let edge = change_edge(&app, &id, Some(version), |_| facts, &actor, &incoming.caller).await?;
    Ok(versioned(json(StatusCode::OK, &ShownEdge::from(&edge)), edge.version))
}

/// `POST /edges/{edge}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let administrator = authorize(&app, &incoming, Realm::Platform, Act::Write).await?;
    let id = path_id(&id, EdgeId::parse)?;
    disable_edge(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
