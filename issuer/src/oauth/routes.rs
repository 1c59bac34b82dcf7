//! The OAuth endpoints' routes. Errors are written as RFC 6749 §5.2 says, answers are never stored.

use super::introspect::introspect;
use super::metadata;
use super::revoke::revoke;
use super::token::{GRANT_TYPES, Granted, TokenRequest, grant};
use crate::app::App;
use crate::audit::audit_refusal;
use crate::http::answer::json;
use crate::http::attempt::{attempt, judged, with_outcome};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::to_edge::for_edge;
use crate::limiter::Attempt;
use crate::metrics;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::login::login_key;
use std::sync::Arc;

fn read(incoming: &Incoming) -> Result<(Form, Option<Basic>), ApiError> {
    incoming.expect_type("application/x-www-form-urlencoded")?;
    let form = Form::parse(&incoming.body).map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
    let basic = match incoming.authorization()? {
        None => None,
        Some(value) => Some(Basic::parse(value).ok_or(ApiError::new(ErrorCode::InvalidClient))?),
    };
    Ok((form, basic))
}

/// `POST /oauth/token`
pub(crate) async fn token(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let mut grant_type = "none";
    let answered = async {
        let (form, basic) = read(&incoming)?;
        grant_type = known_grant(form.get("grant_type"));
        let key = basic.as_ref().map(|basic| login_key(&basic.id));
        let aim = Aim::of_grant(form.get("grant_type"), key.as_deref());
        let request = TokenRequest { form: &form, basic, caller: &incoming.caller };
        let mut attempt = Attempt::begin(&app, aim, &incoming.caller).await?;
        let granted = Box::pin(grant(&app, &request, &mut attempt)).await;
        let answered = granted.map_err(ApiError::from).map(|Granted { answer, device }| {
            let mut response = json(StatusCode::OK, &answer);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            match device {
                Some(standing) => for_edge(&incoming, response, &standing),
                None => response,
            }
        });
        attempt.end(&app, judged(&answered).0).await?;
        answered
    };
    let answered = answered.await;
    let (outcome, is_limited) = judged(&answered);
    metrics::token(grant_type, outcome, is_limited);
    with_outcome(answered.map_err(ApiError::oauth), &incoming)
}

/// A grant as a label: what is made up is one.
fn known_grant(asked: Option<&str>) -> &'static str {
    asked.and_then(|asked| GRANT_TYPES.into_iter().find(|known| *known == asked)).unwrap_or("other")
}

/// `POST /oauth/revoke`
pub(crate) async fn revocation(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let revoked = attempt(&app, &incoming, Aim::Nothing, async {
        let (form, basic) = read(&incoming)?;
        let caller = &incoming.caller;
        let revoking = revoke(&app, basic.as_ref(), form.get("client_id"), form.get("token"), caller);
        match Box::pin(revoking).await {
            Ok(()) => Ok(StatusCode::OK.into_response()),
            Err(failure) => Err(audit_refusal(&app, "token.revoke", failure, caller).await.into()),
        }
    });
    revoked.await.map_err(ApiError::oauth)
}

/// `POST /oauth/introspect`
pub(crate) async fn introspection(
    State(app): State<Arc<App>>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    let introspected = attempt(&app, &incoming, Aim::Nothing, async {
        let (form, basic) = read(&incoming)?;
        match Box::pin(introspect(&app, basic.as_ref(), form.get("token"))).await {
            Ok(answer) => Ok(json(StatusCode::OK, &answer)),
            Err(failure) => {
                Err(audit_refusal(&app, "token.introspect", failure, &incoming.caller).await.into())
            }
        }
    });
    introspected.await.map_err(ApiError::oauth)
}

/// `GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`
pub(crate) async fn metadata_document(State(app): State<Arc<App>>) -> Response {
    let mut response = json(StatusCode::OK, &metadata::metadata(&app));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
