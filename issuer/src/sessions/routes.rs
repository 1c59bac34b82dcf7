//! `/v1/sessions`, `/v1/logout` and `/v1/edge/reports`.

use super::report::take_report;
use super::{Session, end_session, find_by_account};
use crate::app::App;
use crate::http::answer::json;
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::SessionId;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A session of one's own.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OwnSession {
    #[serde(flatten)]
    session: Session,
    /// Whether it is the one of the token.
    current: bool,
}

/// One's own sessions.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OwnSessions {
    sessions: Vec<OwnSession>,
}

/// The account's sessions.
pub(crate) async fn list(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let mut tx = app.db.read().await?;
    let current = presented.claims.sid.as_ref();
    let sessions = find_by_account(&mut tx, &account.id).await?.into_iter();
    let sessions =
        sessions.map(|session| OwnSession { current: Some(&session.sid) == current, session }).collect();
    Ok(json(StatusCode::OK, &OwnSessions { sessions }))
}

/// Ends one of the account's sessions; `current` is the one of the token.
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let not_found = || ApiError::new(ErrorCode::NotFound);
    let sid = match sid.as_str() {
        "current" => presented.claims.sid.clone().ok_or_else(not_found)?,
        text => SessionId::parse(text).map_err(|_| not_found())?,
    };
    end_session(&app, &account.id, &sid, &presented.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the session of the token.
pub(crate) async fn logout(State(app): State<Arc<App>>, incoming: Incoming) -> Result<StatusCode, ApiError> {
    end(State(app), Path("current".to_owned()), incoming).await
}

/// What an edge has seen.
pub(crate) async fn reports(State(app): State<Arc<App>>, incoming: Incoming) -> Result<StatusCode, ApiError> {
    let edge = incoming.caller.edge.as_ref().ok_or(ApiError::new(ErrorCode::EdgeRequired))?;
    incoming.expect_type("application/json")?;
    let report =
        serde_json::from_slice(&incoming.body).map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
    take_report(&app, edge, &report, &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
