//! SSO secrets in the administration.

use super::asked::{Begun, begin, created};
use super::authorize::authorize_for;
use crate::app::App;
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::http::path::Path;
use crate::sso::{NewSecret, Previous, SsoSecret, check, delete_secret, find_secret, set_secret_in};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use margrave_shared::error::ErrorCode;
use margrave_shared::secret::SecretText;
use margrave_shared::sso::SsoUser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A secret to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretBody {
    /// The company's own; without it one is made.
    #[serde(default)]
    #[schemars(length(min = 16, max = 200), regex(pattern = "^[!-~]+$"))]
    secret: Option<String>,
    /// The one before counts no more at once, and not for another day: somebody knows it.
    #[serde(default)]
    forget_previous: bool,
}

/// A secret, shown this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct ShownSecret {
    secret: String,
    #[serde(flatten)]
    shown: SsoSecret,
}

/// What a company's page has signed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckBody {
    auth: String,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Checked {
    valid: bool,
    /// Whom it vouches for.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<SsoUser>,
    /// Why it does not: `form`, `signature`, `too_old`, `too_early`, `user_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// `POST /merchants/{merchant}/sso-secret {secret?, forget_previous?}` → `201 {secret, created_at, previous_until?}`, once.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let SecretBody { secret, forget_previous } = incoming.read()?;
    let previous = if forget_previous { Previous::Forget } else { Previous::Keep };
    let new = NewSecret { given: secret.map(SecretText::new), previous };
    let actor = administrator.actor();
    match begin(&app, &incoming, &administrator).await? {
        Begun::Again(answer) => Ok(answer),
        Begun::New(mut tx, place) => {
            let issued = set_secret_in(&app, &mut tx, &id, new, &actor, &incoming.caller).await?;
            let answer = ShownSecret { secret: issued.secret.expose().to_owned(), shown: issued.shown };
            created(&app, tx, &place, &answer, 0).await
        }
    }
}

/// `GET /merchants/{merchant}/sso-secret`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, _) = authorize_for(&app, &incoming, &id, Act::Read).await?;
    let secret = find_secret(&app, &mut app.db.glance().await?, &id).await?;
    Ok(json(StatusCode::OK, &secret.ok_or(ApiError::new(ErrorCode::NotFound))?))
}

/// `DELETE /merchants/{merchant}/sso-secret` → `204`
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<StatusCode, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    delete_secret(&app, &id, &administrator.actor(), &incoming.caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /merchants/{merchant}/sso-secret/check {auth}` → `200 {valid, user?, reason?}`
pub(super) async fn try_out(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let (id, administrator) = authorize_for(&app, &incoming, &id, Act::Write).await?;
    let CheckBody { auth } = incoming.read()?;
    let checked = match check(&app, &id, &auth, &administrator.actor(), &incoming.caller).await? {
        Ok(user) => Checked { valid: true, user: Some(user), reason: None },
        Err(why) => Checked { valid: false, user: None, reason: Some(why.as_str()) },
    };
    Ok(json(StatusCode::OK, &checked))
}
