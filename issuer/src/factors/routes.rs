//! `POST /v1/factors/credentials` and `POST /v1/password`.

use super::change_password::change_password;
use super::credentials::verify_credentials;
use crate::accounts::routes::json;
use crate::accounts::{device_standing, find_account};
use crate::app::App;
use crate::edges::find_edge;
use crate::http::bearer::authenticate;
use crate::http::context::Caller;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::to_edge::with_device_standing;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::ATTEMPT;
use margrave_shared::json::Json;
use margrave_shared::limiter::rule::Outcome;
use margrave_shared::secret::SecretText;
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::device::DeviceStanding;
use std::sync::Arc;

/// Tells the edge, and only the edge, what became of an attempt.
pub(crate) fn with_outcome(mut response: Response, outcome: Outcome, incoming_by_edge: bool) -> Response {
    if incoming_by_edge {
        let value = HeaderValue::from_static(outcome.as_str());
        response.headers_mut().insert(HeaderName::from_static(ATTEMPT), value);
    }
    response
}

/// The outcome that a failure is.
pub(crate) const fn outcome_of(code: ErrorCode) -> Outcome {
    match code {
        ErrorCode::AuthenticationFailed | ErrorCode::InvalidClient | ErrorCode::InvalidGrant => {
            Outcome::Wrong
        }
        _ => Outcome::Unevaluated,
    }
}

/// Login and password.
pub(crate) async fn credentials(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let by_edge = incoming.caller.edge.is_some();
    let attempt = async {
        incoming.expect_edge(&app)?;
        incoming.expect_type("application/json")?;
        let request = CredentialsRequest::parse(&incoming.body)
            .map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
        Ok::<_, ApiError>(verify_credentials(&app, &request, &incoming.caller).await?)
    };
    let response = match attempt.await {
        Ok(token) => with_outcome(json(StatusCode::OK, &token), Outcome::Right, by_edge),
        Err(error) => {
            let outcome = outcome_of(error.code());
            with_outcome(error.into_response(), outcome, by_edge)
        }
    };
    match newer_standing(&app, &incoming.caller).await {
        Some(standing) => with_device_standing(response, &standing),
        None => response,
    }
}

/// How the account of a device stands that the edge takes for known and that was forgotten.
async fn newer_standing(app: &App, caller: &Caller) -> Option<DeviceStanding> {
    let claim = caller.device.as_ref()?;
    let mut tx = app.db.read().await.ok()?;
    let account = find_account(&mut tx, &claim.account).await.ok()??;
    // An edge hears of the accounts of its own merchants only.
    let edge = find_edge(&mut tx, caller.edge.as_ref()?).await.ok()??;
    (edge.serves(&account.merchant_id) && account.device_generation > claim.generation)
        .then(|| DeviceStanding { logins: Vec::new(), ..device_standing(&account) })
}

/// Changes the password: `{current, new}` → `204`, and every session of the account has ended.
pub(crate) async fn password(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let by_edge = incoming.caller.edge.is_some();
    let attempt = async {
        incoming.expect_edge(&app)?;
        let presented = authenticate(&app, &incoming).await?;
        let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
        let body = incoming.json()?;
        let text = |name: &str| {
            let text = body.get(name).and_then(Json::as_str).ok_or(ApiError::new(ErrorCode::InvalidField))?;
            Ok::<_, ApiError>(SecretText::new(text.to_owned()))
        };
        let (current, new) = (text("current")?, text("new")?);
        Ok::<_, ApiError>(change_password(&app, account, &current, &new, &incoming.caller).await?)
    };
    match attempt.await {
        Ok(account) if by_edge => {
            let response = with_outcome(StatusCode::NO_CONTENT.into_response(), Outcome::Right, by_edge);
            with_device_standing(response, &device_standing(&account))
        }
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            let outcome = outcome_of(error.code());
            with_outcome(error.into_response(), outcome, by_edge)
        }
    }
}
