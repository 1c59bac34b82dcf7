//! The public error codes: what a client may rely on, with the HTTP status of each. `docs/errors.md` is generated
//! from this table.

use serde::{Deserialize, Serialize};

/// Whether the same request may succeed later without being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Send the same request again after `Retry-After`.
    Later,
    /// The request must change first.
    Never,
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $status:literal, $retry:ident, $title:literal;)+) => {
        /// A public error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {$(
            #[doc = $title]
            $variant,
        )+}

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as clients read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// Whether to try again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry),+ }
            }

            /// One sentence for the person who reads the answer.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", 400, Never, "The request is missing something, repeats something or is malformed.";
    InvalidClient = "invalid_client", 401, Never, "The client could not be authenticated.";
    InvalidGrant = "invalid_grant", 400, Never, "What was presented is invalid, expired, spent or revoked.";
    UnauthorizedClient = "unauthorized_client", 400, Never, "This client may not use this grant.";
    UnsupportedGrantType = "unsupported_grant_type", 400, Never, "This grant type is not supported.";
    InvalidScope = "invalid_scope", 400, Never, "None of the permissions asked for can be granted.";
    InvalidTarget = "invalid_target", 400, Never, "The service asked for with `resource` is unknown, or must be named.";
    InsufficientFactors = "insufficient_factors", 400, Never, "Further security factors are needed.";
    AuthenticationFailed = "authentication_failed", 401, Never, "The login or the secret is not right.";
    InvalidToken = "invalid_token", 401, Never, "The access token is missing or not valid here.";
    SessionEnded = "session_ended", 401, Never, "The session has ended. Log in again.";
    InsufficientPermission = "insufficient_permission", 403, Never, "The token does not carry the permission this needs.";
    StepUpRequired = "step_up_required", 401, Never, "A more recent authentication is needed.";
    UsernameTaken = "username_taken", 409, Never, "This username is taken.";
    InvalidUsername = "invalid_username", 422, Never, "This username cannot be used.";
    InvalidPassword = "invalid_password", 422, Never, "This password cannot be used.";
    RequestRefused = "request_refused", 400, Never, "The request was not carried out.";
    InvalidField = "invalid_field", 422, Never, "A member of the request has a value that cannot be used.";
    NotFound = "not_found", 404, Never, "There is nothing here.";
    Conflict = "conflict", 409, Never, "The state of the thing does not allow this.";
    LimitReached = "limit_reached", 409, Never, "There are as many of these already as there may be.";
    PreconditionFailed = "precondition_failed", 412, Never, "It has been changed meanwhile. Read it again and decide anew.";
    PreconditionRequired = "precondition_required", 428, Never, "This change needs `If-Match` with the ETag that was read.";
    IdempotencyKeyReused = "idempotency_key_reused", 422, Never, "This `Idempotency-Key` came with another request before.";
    MethodNotAllowed = "method_not_allowed", 405, Never, "This method is not allowed here.";
    PayloadTooLarge = "payload_too_large", 413, Never, "The request's body is too large.";
    UnsupportedMediaType = "unsupported_media_type", 415, Never, "The request's body is of a type that is not read here.";
    TooManyAttempts = "too_many_attempts", 429, Later, "Too many attempts. Try again later.";
    AmbiguousRequest = "ambiguous_request", 400, Never, "The request can be read in more than one way.";
    EdgeRequired = "edge_required", 403, Never, "This route is reached through the edge only.";
    Overloaded = "overloaded", 503, Later, "Too much at once. Try again shortly.";
    UpstreamUnavailable = "upstream_unavailable", 502, Later, "The service behind this address does not answer.";
    UpstreamTimeout = "upstream_timeout", 504, Later, "The service behind this address took too long.";
    StateUnavailable = "state_unavailable", 503, Later, "The state needed to decide is not available. Try again shortly.";
    Internal = "internal_error", 500, Later, "Something went wrong on our side.";
}

/// Milliseconds as the whole seconds of a `Retry-After` (RFC 9110 §10.2.3), rounded up, so that who waits so long is not sent away
/// again.
pub const fn whole_seconds(ms: i64) -> i64 {
    ms / 1000 + (ms % 1000 != 0) as i64
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| serde::de::Error::custom("unknown error code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let codes: HashSet<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn the_document_names_every_code() {
        let document = include_str!("../../docs/errors.md");
        for code in ErrorCode::ALL {
            let row = format!("| `{}` | {} | {} |", code.as_str(), code.status(), code.title());
            assert!(document.contains(&row), "docs/errors.md lacks this row: {row}");
        }
    }
}
