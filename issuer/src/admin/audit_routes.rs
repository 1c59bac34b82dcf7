//! The audit in the administration.

use super::authorize::{Act, Realm, authorize};
use super::routes::{page_limit, path_id, query_of};
use crate::accounts::routes::json;
use crate::app::App;
use crate::audit::{Filter, find_entries, verify_chain};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::audit::Witness;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use margrave_shared::id::MerchantId;
use serde_json::json as value;
use std::sync::Arc;

/// `GET /audit`: every entry, the newest first.
pub(super) async fn all(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let query = query_of(&incoming)?;
    let merchant = query.get("merchant").map(MerchantId::parse).transpose();
    let merchant = merchant.map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
    search(&app, &query, merchant).await
}

/// `GET /merchants/{merchant}/audit`: those within one merchant.
pub(super) async fn of_merchant(
    State(app): State<Arc<App>>,
    Path(merchant): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let merchant = path_id(&merchant, MerchantId::parse)?;
    authorize(&app, &incoming, Realm::Merchant(&merchant), Act::Read).await?;
    search(&app, &query_of(&incoming)?, Some(merchant)).await
}

async fn search(app: &App, query: &Form, merchant: Option<MerchantId>) -> Result<Response, ApiError> {
    // PostgreSQL has no text with it.
    let text = |name: &str| match query.get(name) {
        Some(text) if text.contains('\0') => Err(ApiError::new(ErrorCode::InvalidRequest)),
        text => Ok(text.map(str::to_owned)),
    };
    let filter = Filter {
        merchant,
        act: text("act")?,
        outcome: text("outcome")?,
        reason: text("reason")?,
        actor: text("actor")?,
        subject: text("subject")?,
        request_id: text("request_id")?,
        since: instant(query, "since")?,
        until: instant(query, "until")?,
        after: after(query)?,
    };
    let limit = page_limit(query)?;
    let _place = app.audit.reader().ok_or(ApiError::new(ErrorCode::Overloaded))?;
    let mut tx = app.db.read().await?;
    let entries = find_entries(&mut tx, &filter, limit).await?;
    let is_full = entries.len() as i64 == limit;
    let next = entries.last().filter(|_| is_full).map(|last| format!("{}:{}", last.at, last.id));
    Ok(json(StatusCode::OK, &value!({ "entries": entries, "next": next })))
}

/// Unix milliseconds.
fn instant(query: &Form, name: &str) -> Result<Option<i64>, ApiError> {
    let number = query.get(name).map(str::parse).transpose();
    number.map_err(|_| ApiError::new(ErrorCode::InvalidRequest))
}

/// `next` of the page before.
fn after(query: &Form) -> Result<Option<(i64, String)>, ApiError> {
    let Some(text) = query.get("after") else { return Ok(None) };
    let place = text.split_once(':').and_then(|(at, id)| {
        let at = at.parse().ok()?;
        (!id.contains('\0')).then(|| (at, id.to_owned()))
    });
    place.map(Some).ok_or(ApiError::new(ErrorCode::InvalidRequest))
}

/// `GET /audit/verify?head=SEQ:HASH`: whether every entry is as it was sealed.
pub(super) async fn verify(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let witness = match query_of(&incoming)?.get("head") {
        None => None,
        Some(text) => Some(Witness::parse(text).ok_or(ApiError::new(ErrorCode::InvalidRequest))?),
    };
    let _place = app.audit.reader().ok_or(ApiError::new(ErrorCode::Overloaded))?;
    Ok(json(StatusCode::OK, &verify_chain(&app, witness).await?.to_json()))
}
