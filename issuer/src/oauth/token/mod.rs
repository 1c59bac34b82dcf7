//! `POST /oauth/token`: the one place that mints permission and refresh tokens.

mod client_credentials;
mod factors;
mod refresh;
#[cfg(test)]
mod tests;

use crate::app::App;
use crate::audit::audit_refusal;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::limiter::Attempt;
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
#[cfg(test)]
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::permission::{Permission, parse_scope};
use margrave_shared::wire::device::DeviceStanding;
use margrave_shared::wire::token::{FACTORS_GRANT, TokenResponse};
use std::collections::BTreeSet;

/// The grant types there are, for the metadata.
pub(super) const GRANT_TYPES: [&str; 3] = ["client_credentials", "refresh_token", FACTORS_GRANT];

/// A token request, read.
pub(super) struct TokenRequest<'a> {
    /// The form.
    pub(super) form: &'a Form,
    /// The client's Basic credentials.
    pub(super) basic: Option<Basic>,
    /// Who calls.
    pub(super) caller: &'a Caller,
}

impl TokenRequest<'_> {
    fn required(&self, name: &'static str) -> Result<&str, Failure> {
        self.form
            .get(name)
            .ok_or_else(|| Failure::explained(ErrorCode::InvalidRequest, format!("`{name}` is missing")))
    }

    /// The permissions asked for; empty = everything that can be had.
    fn scope(&self) -> Result<BTreeSet<Permission>, Failure> {
        parse_scope(self.form.get("scope").unwrap_or(""))
            .map_err(|_| Failure::explained(ErrorCode::InvalidScope, "`scope` is a list of permissions"))
    }

    /// Public clients name themselves and must not come with a secret as well (RFC 6749 §2.3).
    fn public_client(&self) -> Result<&str, Failure> {
        if self.basic.is_some() {
            return Err(Failure::explained(ErrorCode::InvalidRequest, "this grant takes no client secret"));
        }
        self.required("client_id")
    }
}

/// What a token request brought.
pub(super) struct Granted {
    /// The answer.
    pub(super) answer: TokenResponse,
    /// After a completed login: the account, whose device the edge may know from now on.
    pub(super) device: Option<DeviceStanding>,
}

impl From<TokenResponse> for Granted {
    fn from(answer: TokenResponse) -> Self {
        Self { answer, device: None }
    }
}

/// Answers a form without more, for tests of other capabilities.
#[cfg(test)]
pub(crate) async fn exchange(app: &App, form: &Form, caller: &Caller) -> Result<TokenResponse, Failure> {
    Ok(grant_alone(app, &TokenRequest { form, basic: None, caller }).await?.answer)
}

/// Answers a token request as its route does.
#[cfg(test)]
async fn grant_alone(app: &App, request: &TokenRequest<'_>) -> Result<Granted, Failure> {
    let key = request.basic.as_ref().map(|basic| basic.id.clone());
    let aim = Aim::of_grant(request.form.get("grant_type"), key.as_deref());
    let mut attempt = Attempt::begin(app, aim, request.caller).await?;
    grant(app, request, &mut attempt).await
}

/// Answers a token request. The attempt is drawn before anything is looked at, but for a key's, which is drawn with its entry.
pub(super) async fn grant(
    app: &App,
    request: &TokenRequest<'_>,
    attempt: &mut Attempt<'_>,
) -> Result<Granted, Failure> {
    let grant_type = request.required("grant_type");
    if grant_type.as_ref().is_ok_and(|grant_type| *grant_type == "client_credentials") {
        return Ok(client_credentials::grant(app, request, attempt).await?.into());
    }
    attempt.take(app).await?;
    match grant_type? {
        FACTORS_GRANT => match Box::pin(factors::grant(app, request)).await {
            Err(failure) => Err(Box::pin(audit_refusal(app, "session.open", failure, request.caller)).await),
            granted => granted,
        },
        "refresh_token" => Ok(Box::pin(refresh::grant(app, request)).await?.into()),
        _ => {
            let failure = Failure::denied(ErrorCode::UnsupportedGrantType, "grant_type");
            Err(Box::pin(audit_refusal(app, "token.unknown_grant", failure, request.caller)).await)
        }
    }
}
