//! Accounts in the administration.

use super::asked::{Query, next_of, path_id};
use super::authorize::{Administrator, Realm, authorize, authorize_for};
use super::{disable_account, enable_account, end_account_sessions, reset_account_failures};
use crate::accounts::{Account, Filter, find_account, find_by_merchant};
use crate::app::App;
use crate::http::answer::{json, version_to_change, versioned};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::permissions::{AccountRights, change_rights, find_rights};
use crate::sessions::{Session, end_session, find_page};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, SessionId};
use margrave_shared::login::Login;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A page of accounts.
#[derive(Serialize, JsonSchema)]
pub(super) struct AccountPage {
    accounts: Vec<Account>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// A page of an account's sessions that have not ended.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionPage {
    sessions: Vec<Session>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// Finds the account and judges the administrator by its merchant. Of a foreign merchant and unknown are one.
pub(super) async fn account_for(
    app: &App,
    incoming: &Incoming,
    id: &str,
    act: Act,
) -> Result<(Account, Administrator), ApiError> {
    let account = match AccountId::parse(id) {
        Ok(id) => find_account(&mut app.db.glance().await?, &id).await?,
        Err(_) => None,
    };
    match account {
        Some(account) => {
            let administrator = authorize(app, incoming, Realm::Merchant(&account.merchant_id), act).await?;
            Ok((account, administrator))
        }
        None => {
            authorize(app, incoming, Realm::Nobody, act).await?;
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
    let (merchant, _) = authorize_for(&app, &incoming, &merchant, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit", "login", "role", "disabled"])?;
    let limit = query.limit()?;
    let (username_key, x_address) = match query.text("login").map(Login::parse) {
        None => (None, None),
        Some(Login::Username(key)) => (Some(key), None),
        Some(Login::XAddress(address)) => (None, Some(address.to_string())),
    };
    let role = query.text("role").map(str::to_owned);
    let filter = Filter { username_key, x_address, disabled: query.parsed("disabled")?, role };
    let mut tx = app.db.read().await?;
    let accounts = find_by_merchant(&mut tx, &merchant, &filter, query.after(), limit).await?;
    let next = next_of(&accounts, limit, |account| account.id.to_string());
    Ok(json(StatusCode::OK, &AccountPage { accounts, next }))
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

/// `POST /accounts/{account}/enable` → `204`
pub(super) async fn enable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    enable_account(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /accounts/{account}/reset-failures` → `204`
pub(super) async fn reset_failures(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    reset_account_failures(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /accounts/{account}/rights`
pub(super) async fn rights(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    shown_rights(&app, &account).await
}

async fn shown_rights(app: &App, account: &Account) -> Result<Response, ApiError> {
    let rights = find_rights(&mut app.db.glance().await?, account).await?;
    Ok(versioned(json(StatusCode::OK, &rights), account.version))
}

/// `PUT /accounts/{account}/rights {roles, settings}`
pub(super) async fn set_rights(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    let version = version_to_change(&incoming)?;
    let rights: AccountRights = incoming.read()?;
    let actor = administrator.actor();
    let giver = administrator.giver(&app, &account.merchant_id, &actor).await?;
    let account = change_rights(&app, &account.id, &rights, version, giver, &incoming.caller).await?;
    shown_rights(&app, &account).await
}

/// `GET /accounts/{account}/sessions`
pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    let query = Query::read(&incoming, &["after", "limit"])?;
    let limit = query.limit()?;
    let sessions = find_page(&mut app.db.read().await?, &account.id, query.after(), limit).await?;
    let next = next_of(&sessions, limit, |session| session.sid.to_string());
    Ok(json(StatusCode::OK, &SessionPage { sessions, next }))
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
