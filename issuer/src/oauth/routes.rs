//! The OAuth endpoints' routes. Errors are written as RFC 6749 §5.2 says, answers are never stored.

use super::introspect::introspect;
use super::metadata;
use super::revoke::revoke;
use super::token::{Granted, TokenRequest, grant};
use crate::accounts::routes::json;
use crate::app::App;
use crate::audit::audit_refusal;
use crate::factors::routes::{outcome_of, with_outcome};
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::to_edge::with_device_standing;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use margrave_shared::limiter::rule::Outcome;
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
    let by_edge = incoming.caller.edge.is_some();
    let attempt = async {
        incoming.expect_edge(&app)?;
        let (form, basic) = read(&incoming)?;
        let request = TokenRequest { form: &form, basic, caller: &incoming.caller };
        Ok::<_, ApiError>(grant(&app, &request).await?)
    };
    match attempt.await {
        Ok(Granted { answer, device }) => {
            let mut response = json(StatusCode::OK, &answer);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let response = with_outcome(response, Outcome::Right, by_edge);
            match device.filter(|_| by_edge) {
                Some(standing) => with_device_standing(response, &standing),
                None => response,
            }
        }
        Err(error) => {
            let outcome = outcome_of(error.code());
            with_outcome(error.oauth().into_response(), outcome, by_edge)
        }
    }
}

/// `POST /oauth/revoke`
pub(crate) async fn revocation(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let attempt = async {
        incoming.expect_edge(&app)?;
        let (form, basic) = read(&incoming)?;
        let caller = &incoming.caller;
        match revoke(&app, basic.as_ref(), form.get("client_id"), form.get("token"), caller).await {
            Ok(()) => Ok::<_, ApiError>(()),
            Err(failure) => Err(audit_refusal(&app, "token.revoke", failure, caller).await.into()),
        }
    };
    match attempt.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.oauth().into_response(),
    }
}

/// `POST /oauth/introspect`
pub(crate) async fn introspection(State(app): State<Arc<App>>, incoming: Incoming) -> Response {
    let attempt = async {
        incoming.expect_edge(&app)?;
        let (form, basic) = read(&incoming)?;
        match introspect(&app, basic.as_ref(), form.get("token")).await {
            Ok(answer) => Ok::<_, ApiError>(answer),
            Err(failure) => {
                Err(audit_refusal(&app, "token.introspect", failure, &incoming.caller).await.into())
            }
        }
    };
    match attempt.await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(error) => error.oauth().into_response(),
    }
}

/// `GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`
pub(crate) async fn metadata_document(State(app): State<Arc<App>>) -> Response {
    let mut response = json(StatusCode::OK, &metadata::metadata(&app));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
