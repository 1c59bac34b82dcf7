//! `POST /v1/accounts` and `GET /v1/me`.

use super::{NewAccount, create_account};
use crate::app::App;
use crate::http::answer::json;
use crate::http::bearer::{authenticate, authenticate_for};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId, SessionId};
use margrave_shared::json::Json;
use margrave_shared::permission::print_scope;
use margrave_shared::secret::SecretText;
use margrave_shared::user_type::UserType;
use margrave_shared::x_address::XAddress;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// An account to be made.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the shape that the document shows; the body is read strictly by hand")]
pub(crate) struct NewAccountBody {
    username: String,
    password: Option<String>,
}

/// An account that was made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeAccount {
    account_id: AccountId,
    x_address: XAddress,
}

/// Who somebody is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Me<'a> {
    account_id: &'a AccountId,
    merchant_id: &'a MerchantId,
    username: &'a str,
    x_address: &'a XAddress,
    sid: Option<&'a SessionId>,
    user_type: Option<UserType>,
    /// Separated by spaces.
    permissions: String,
}

/// Makes an account through a merchant: `{username, password?}` → `201 {account_id, x_address}`.
pub(crate) async fn create(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate_for(&app, &incoming, "register").await?;
    let body = incoming.json()?;
    let known = ["username", "password", "email", "phone"];
    let members = body.as_object().ok_or(ApiError::new(ErrorCode::InvalidRequest))?;
    if members.iter().any(|(name, value)| !known.contains(&name.as_str()) || value.as_str().is_none()) {
        return Err(ApiError::new(ErrorCode::InvalidField));
    }
    // Contacts come with their factors; taking one now and losing it would be worse than saying so.
    if body.get("email").is_some() || body.get("phone").is_some() {
        return Err(ApiError::new(ErrorCode::InvalidField));
    }
    let username =
        body.get("username").and_then(Json::as_str).ok_or(ApiError::new(ErrorCode::InvalidField))?;
    let password = body.get("password").and_then(Json::as_str);
    let new = NewAccount {
        username: username.to_owned(),
        password: password.map(|text| SecretText::new(text.to_owned())),
    };
    let merchant = &presented.claims.merchant_id;
    let account = create_account(&app, merchant, new, &presented.actor(), &incoming.caller).await?;
    Ok(json(StatusCode::CREATED, &MadeAccount { account_id: account.id, x_address: account.x_address }))
}

/// Who am I.
pub(crate) async fn me(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let answer = Me {
        account_id: &account.id,
        merchant_id: &account.merchant_id,
        username: &account.username,
        x_address: &account.x_address,
        sid: presented.claims.sid.as_ref(),
        user_type: presented.claims.user_type,
        permissions: print_scope(&presented.claims.scope),
    };
    Ok(json(StatusCode::OK, &answer))
}
