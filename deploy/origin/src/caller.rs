//! Who a request is about, as the edge says.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::Response;
use margrave_shared::header as names;

/// Who a request is about. Empty where the edge has nothing to say: all of it but the last two for nobody in particular, who
/// passes a route with `auth = "optional"`. A handler that takes a `Caller` refuses nobody; one that takes an
/// `Option<Caller>` gets `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The token's `sub`.
    pub subject: String,
    /// The merchant.
    pub merchant: String,
    /// The account.
    pub account: String,
    /// What the token permits.
    pub permissions: Vec<String>,
    /// `anonymous`, `sso` or `full`.
    pub user_type: String,
    /// The session's id.
    pub session: String,
    /// The cabinet's X-address.
    pub cabinet: String,
    /// The person behind the cabinet.
    pub actor: String,
    /// The client's address.
    pub client_address: String,
    /// The request's id.
    pub request_id: String,
}

impl Caller {
    /// Out of the ten headers.
    pub(crate) fn of<'a>(header: impl Fn(&str) -> &'a str) -> Self {
        let text = |name: &str| header(name).to_owned();
        Self {
            subject: text(names::SUBJECT),
            merchant: text(names::MERCHANT),
            account: text(names::ACCOUNT),
            permissions: header(names::PERMISSIONS).split_whitespace().map(str::to_owned).collect(),
            user_type: text(names::USER_TYPE),
            session: text(names::SESSION),
            cabinet: text(names::CABINET),
            actor: text(names::ACTOR),
            client_address: text(names::CLIENT_ADDRESS),
            request_id: text(names::REQUEST_ID),
        }
    }

    /// Whether it is nobody in particular.
    pub fn is_nobody(&self) -> bool {
        self.subject.is_empty()
    }

    /// Whether it may do this.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|held| held == permission)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // A route that somebody forgot to guard answers nobody.
        let caller = parts.extensions.get::<Self>().cloned().ok_or_else(crate::refusal)?;
        if caller.is_nobody() { Err(crate::nobody()) } else { Ok(caller) }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        let caller = parts.extensions.get::<Self>().cloned().ok_or_else(crate::refusal)?;
        Ok(Some(caller).filter(|caller| !caller.is_nobody()))
    }
}
