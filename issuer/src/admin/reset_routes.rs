//! Resets of accounts in the administration.

use super::account_routes::account_for;
use super::asked::{Begun, begin, created};
use crate::app::App;
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::recovery::{Reset, Starter, cancel_reset, find_reset, start_reset_in};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::account_reset::{MAY_RESET, ResetReason};
use margrave_shared::error::ErrorCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A reset to be started.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetBody {
    reason: ResetReason,
}

/// A reset with its token, which is shown this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownReset {
    token: String,
    /// The page on which the password is set, with the token in it.
    link: String,
    #[serde(flatten)]
    reset: Reset,
}

/// `POST /accounts/{account}/reset {reason}` → `201 {token, link, usable_at, expires_at, …}`, once.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    administrator.must_hold(MAY_RESET)?;
    let ResetBody { reason } = incoming.read()?;
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let claims = &administrator.presented.claims;
            let by = Starter { actor: &actor, scope: &claims.scope, generation: claims.generation };
            let issued = start_reset_in(&app, &mut tx, &account.id, reason, by, &incoming.caller).await?;
            let (token, link) = (issued.token.expose().to_owned(), issued.link(&app.public_url));
            created(&app, tx, &place, &ShownReset { token, link, reset: issued.reset }, 0).await
        }
    }
}

/// `GET /accounts/{account}/reset`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (account, _) = account_for(&app, &incoming, &id, Act::Read).await?;
    let reset = find_reset(&mut app.db.glance().await?, &account.id).await?;
    let reset = reset.filter(|reset| app.clock.now() < reset.expires_at);
    Ok(json(StatusCode::OK, &reset.ok_or(ApiError::new(ErrorCode::NotFound))?))
}

/// `DELETE /accounts/{account}/reset` → `204`
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (account, administrator) = account_for(&app, &incoming, &id, Act::Write).await?;
    cancel_reset(&app, &account.id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
