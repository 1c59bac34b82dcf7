//! Every administrative route on one screen.

use super::{
    account_routes as account, audit_routes as audit, key_routes as key, merchant_routes as merchant,
    signing_key_routes as signing,
};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use axum::Router;
use axum::routing::{delete, get, post};
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use std::sync::Arc;

/// `/admin/v1`
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/merchants", get(merchant::list).post(merchant::create))
        .route("/merchants/{merchant}", get(merchant::show))
        .route("/merchants/{merchant}/disable", post(merchant::disable))
        .route("/merchants/{merchant}/keys", get(key::list).post(key::create))
        .route("/merchants/{merchant}/keys/{key}", delete(key::revoke))
        .route("/merchants/{merchant}/keys/{key}/rotate", post(key::rotate))
        .route("/merchants/{merchant}/accounts", get(account::list))
        .route("/accounts/{account}", get(account::show))
        .route("/accounts/{account}/disable", post(account::disable))
        .route("/accounts/{account}/sessions", get(account::sessions).delete(account::end_all))
        .route("/accounts/{account}/sessions/{sid}", delete(account::end_one))
        .route("/merchants/{merchant}/audit", get(audit::of_merchant))
        .route("/audit", get(audit::all))
        .route("/audit/verify", get(audit::verify))
        .route("/signing-keys", get(signing::list))
        .route("/signing-keys/rotate", post(signing::rotate))
        .route("/signing-keys/{kid}/retire", post(signing::retire))
}

/// An id in a path; what is none names nothing.
pub(super) fn path_id<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, ApiError> {
    parse(text).map_err(|_| ApiError::new(ErrorCode::NotFound))
}

/// Where a page begins and how long it is.
pub(super) struct Page {
    /// The last id of the page before.
    pub(super) after: String,
    /// 1 to 200, by default 50.
    pub(super) limit: i64,
}

/// Reads `after` and `limit` of a listing.
pub(super) fn page(incoming: &Incoming) -> Result<Page, ApiError> {
    let query = query_of(incoming)?;
    Ok(Page { after: query.get("after").unwrap_or("").to_owned(), limit: page_limit(&query)? })
}

/// The query, read.
pub(super) fn query_of(incoming: &Incoming) -> Result<Form, ApiError> {
    Form::parse(incoming.uri.query().unwrap_or("").as_bytes())
        .map_err(|_| ApiError::new(ErrorCode::InvalidRequest))
}

/// How many a page has: 1 to 200, by default 50.
pub(super) fn page_limit(query: &Form) -> Result<i64, ApiError> {
    match query.get("limit") {
        None => Ok(50),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=200).contains(n))
            .ok_or(ApiError::new(ErrorCode::InvalidRequest)),
    }
}
