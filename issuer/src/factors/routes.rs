//! `POST /v1/factors/credentials` and `POST /v1/password`.

use super::change_password::change_password;
use super::credentials::verify_credentials;
use crate::accounts::{device_standing, find_account};
use crate::app::App;
use crate::edges::find_edge;
use crate::http::answer::json;
use crate::http::attempt::{attempt, judged, with_outcome};
use crate::http::bearer::authenticate;
use crate::http::context::Caller;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::to_edge::{for_edge, with_device_standing};
use crate::metrics;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::json::Json;
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::login::login_key;
use margrave_shared::secret::SecretText;
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::device::DeviceStanding;
use schemars::JsonSchema;
use std::sync::Arc;

/// A login attempt.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the shape that the document shows; the body is read strictly by hand")]
pub(crate) struct CredentialsBody {
    login: String,
    password: String,
    merchant_id: MerchantId,
}

/// A change of password.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is the shape that the document shows; the body is read strictly by hand")]
pub(crate) struct PasswordBody {
    current: String,
    new: String,
}

/// Login and password.
pub(crate) async fn credentials(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let answered = async {
        incoming.expect_type("application/json")?;
        let request = CredentialsRequest::parse(&incoming.body)
            .map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
        let login = login_key(&request.login);
        let aim = Aim::Login { login: &login, merchant: Some(&request.merchant_id) };
        attempt(&app, &incoming, aim, async {
            let token = Box::pin(verify_credentials(&app, &request, &incoming.caller)).await?;
            Ok(json(StatusCode::OK, &token))
        })
        .await
    };
    let answered = answered.await;
    let (outcome, is_limited) = judged(&answered);
    metrics::login(outcome, is_limited);
    let response = with_outcome(answered, &incoming);
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
    let answered = attempt(&app, &incoming, Aim::Nothing, async {
        let presented = authenticate(&app, &incoming).await?;
        let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
        let body = incoming.json()?;
        let text = |name: &str| {
            let text = body.get(name).and_then(Json::as_str).ok_or(ApiError::new(ErrorCode::InvalidField))?;
            Ok::<_, ApiError>(SecretText::new(text.to_owned()))
        };
        let (current, new) = (text("current")?, text("new")?);
        let changing = change_password(&app, account, &current, &new, &incoming.caller);
        let account = Box::pin(changing).await?;
        Ok(for_edge(&incoming, StatusCode::NO_CONTENT.into_response(), &device_standing(&account)))
    });
    with_outcome(Box::pin(answered).await, &incoming)
}
