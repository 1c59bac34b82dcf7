//! The audit in the administration.

use super::asked::{Query, next_of};
use super::authorize::{Realm, authorize, authorize_for};
use crate::app::App;
use crate::audit::{Filter, Found, find_entries, verify_chain};
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::audit::{Finding, Head, Witness};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A page of entries.
#[derive(Serialize, JsonSchema)]
pub(super) struct EntryPage {
    entries: Vec<Found>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// What a verification says.
#[derive(Serialize, JsonSchema)]
pub(super) struct Verification {
    ok: bool,
    /// The end of the chain.
    head: Option<String>,
    sealed: i64,
    unsealed: i64,
    waiting_ms: i64,
    problems: Vec<String>,
    found: usize,
}

const KNOWN: &[&str] =
    &["after", "limit", "act", "outcome", "reason", "actor", "subject", "request_id", "since", "until"];

/// `GET /audit`: every entry, the newest first.
pub(super) async fn all(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let known: Vec<&str> = KNOWN.iter().copied().chain(["merchant"]).collect();
    let query = Query::read(&incoming, &known)?;
    let merchant = query.text("merchant").map(MerchantId::parse).transpose();
    let merchant = merchant.map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
    search(&app, &query, merchant).await
}

/// `GET /merchants/{merchant}/audit`: those within one merchant.
pub(super) async fn of_merchant(
    State(app): State<Arc<App>>,
    Path(merchant): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (merchant, _) = authorize_for(&app, &incoming, &merchant, Act::Read).await?;
    search(&app, &Query::read(&incoming, KNOWN)?, Some(merchant)).await
}

async fn search(app: &App, query: &Query, merchant: Option<MerchantId>) -> Result<Response, ApiError> {
    let text = |name: &str| query.text(name).map(str::to_owned);
    let filter = Filter {
        merchant,
        act: text("act"),
        outcome: text("outcome"),
        reason: text("reason"),
        actor: text("actor"),
        subject: text("subject"),
        request_id: text("request_id"),
        since: query.parsed("since")?,
        until: query.parsed("until")?,
        after: after(query)?,
    };
    let limit = query.limit()?;
    let _place = app.audit.reader().ok_or(ApiError::new(ErrorCode::Overloaded))?;
    let entries = find_entries(&mut app.db.read().await?, &filter, limit).await?;
    let next = next_of(&entries, limit, |last| format!("{}:{}", last.at, last.id));
    Ok(json(StatusCode::OK, &EntryPage { entries, next }))
}

/// `next` of the page before.
fn after(query: &Query) -> Result<Option<(i64, String)>, ApiError> {
    let Some(text) = query.text("after") else { return Ok(None) };
    let place = text.split_once(':').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    place.map(Some).ok_or(ApiError::new(ErrorCode::InvalidRequest))
}

/// `GET /audit/verify?head=SEQ:HASH`: whether every entry is as it was sealed.
pub(super) async fn verify(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authorize(&app, &incoming, Realm::Platform, Act::Read).await?;
    let witness = match Query::read(&incoming, &["head"])?.text("head") {
        None => None,
        Some(text) => Some(Witness::parse(text).ok_or(ApiError::new(ErrorCode::InvalidRequest))?),
    };
    let _place = app.audit.reader().ok_or(ApiError::new(ErrorCode::Overloaded))?;
    let verified = verify_chain(&app, witness).await?;
    let verification = Verification {
        ok: verified.found == 0,
        head: verified.head.as_ref().map(Head::print),
        sealed: verified.sealed,
        unsealed: verified.unsealed,
        waiting_ms: verified.waiting_ms,
        problems: verified.findings.iter().map(Finding::print).collect(),
        found: verified.found,
    };
    Ok(json(StatusCode::OK, &verification))
}
