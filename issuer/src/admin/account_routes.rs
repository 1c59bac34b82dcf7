//! Accounts in the administration.

use super::authorize::{Act, Administrator, Realm, authorize};
use super::routes::{page, path_id};
use super::{disable_account, end_account_sessions};
use crate::accounts::routes::json;
use crate::accounts::{Account, find_account, find_by_merchant};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::sessions::{end_session, find_by_account};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId, SessionId};
use serde_json::json as value;
use std::sync::Arc;

/// Finds the account and judges the administrator by its merchant. Of a foreign merchant and unknown are one.
async fn account_for(
    app: &App,
    incoming: &Incoming,
    id: &str,
    act: Act,
) -> Result<(Account, Administrator), ApiError> {
    let id = path_id(id, AccountId::parse)?;
    let mut tx = app.db.read().await?;
    let account = find_account(&mut tx, &id).await?;
    drop(tx);
    match account {
        Some(account) => {
            let administrator = authorize(app, incoming, Realm::Merchant(&account.merchant_id), act).await?;
            Ok((account, administrator))
        }
        None => {
            let nobody = MerchantId::from_random([0; 16]);
            authorize(app, incoming, Realm::Merchant(&nobody), act).await?;
            Err(ApiError::new(ErrorCode::NotFound))
        }
    }
}

/// `GET /merchants/{merchant}/accounts`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(merchant): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let merchant = path_id(&merchant, MerchantId::parse)?;
    authorize(&app, &incoming, Realm::Merchant(&merchant), Act::Read).await?;
    let page = page(&incoming)?;
    let mut tx = app.db.read().await?;
    let accounts = find_by_merchant(&mut tx, &merchant, &page.after, page.limit).await?;
    Ok(json(StatusCode::OK, &value!({ "accounts": accounts })))
}

/// `GET /accounts/{account}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    Ok(json(StatusCode::OK, &account))
}

/// `POST /accounts/{account}/disable` → `204`
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    disable_account(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /accounts/{account}/sessions`
pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    let mut tx = app.db.read().await?;
    let sessions = find_by_account(&mut tx, &account.id).await?;
    Ok(json(StatusCode::OK, &value!({ "sessions": sessions })))
}

/// `DELETE /accounts/{account}/sessions` → `204`: every session and token of the account ends.
pub(super) async fn end_all(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    end_account_sessions(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /accounts/{account}/sessions/{sid}` → `204`
pub(super) async fn end_one(
    State(app): State<Arc<App>>,
    Path((id, sid)): Path<(String, String)>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    let sid = path_id(&sid, SessionId::parse)?;
    end_session(&app, &account.id, &sid, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
