//! `POST /v1/resets/confirm` and `/v1/me/reset`.

use super::confirm_reset::confirm_reset;
use super::{cancel_reset, find_reset};
use crate::accounts::device_standing;
use crate::app::App;
use crate::http::answer::json;
use crate::http::attempt::{attempt, with_outcome};
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::to_edge::for_edge;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::secret::SecretText;
use schemars::JsonSchema;
use std::sync::Arc;

/// A password that is set with a reset's token.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is the shape that the document shows; the body is read strictly by hand")]
pub(crate) struct ConfirmBody {
    token: String,
    password: String,
}

/// `POST /v1/resets/confirm {token, password}` → `204`: the password is set, and every session has ended.
pub(crate) async fn confirm(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let answered = attempt(&app, &incoming, Aim::Nothing, async {
        let [token, password] = texts(&incoming, ["token", "password"])?;
        let confirming = confirm_reset(&app, &token, &password, &incoming.caller);
        let account = Box::pin(confirming).await?;
        Ok(for_edge(&incoming, StatusCode::NO_CONTENT.into_response(), &device_standing(&account)))
    });
    with_outcome(Box::pin(answered).await, &incoming)
}

/// The members of a body that has these and no others, each a text.
fn texts<const N: usize>(incoming: &Incoming, names: [&str; N]) -> Result<[SecretText; N], ApiError> {
    let body = incoming.json()?;
    let members = body.as_object().ok_or(ApiError::new(ErrorCode::InvalidRequest))?;
    if members.len() != N {
        return Err(ApiError::new(ErrorCode::InvalidField));
    }
    let mut found = names.map(|_| SecretText::new(String::new()));
    for (place, name) in found.iter_mut().zip(names) {
        let text = body.get(name).and_then(|value| value.as_str());
        *place = SecretText::new(text.ok_or(ApiError::new(ErrorCode::InvalidField))?.to_owned());
    }
    Ok(found)
}

/// `GET /v1/me/reset`
pub(crate) async fn show(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    let reset = find_reset(&mut app.db.glance().await?, &account.id).await?;
    let reset = reset.filter(|reset| app.clock.now() < reset.expires_at);
    Ok(json(StatusCode::OK, &reset.ok_or(ApiError::new(ErrorCode::NotFound))?))
}

/// `DELETE /v1/me/reset` → `204`: "I have not asked for it".
pub(crate) async fn cancel(State(app): State<Arc<App>>, incoming: Incoming) -> Result<StatusCode, ApiError> {
    let presented = authenticate(&app, &incoming).await?;
    let account = presented.account.as_ref().ok_or(ApiError::new(ErrorCode::InsufficientPermission))?;
    cancel_reset(&app, &account.id, &presented.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
