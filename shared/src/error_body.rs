//! The two shapes of an error on the wire: RFC 9457 problem documents, and RFC 6749 §5.2 on OAuth endpoints.

use crate::error::ErrorCode;
use crate::id::RequestId;
use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A URI reference that names the kind of problem: `urn:margrave:error:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence, the same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The public code.
    pub code: ErrorCode,
    /// The request, as logs name it.
    pub request_id: RequestId,
    /// What exactly is wrong with the request, for callers who may know it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}

impl Problem {
    /// The document of a code.
    pub fn new(code: ErrorCode, request_id: RequestId) -> Self {
        Self {
            kind: format!("urn:margrave:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            request_id,
            detail: None,
        }
    }
}

/// The error body of an OAuth endpoint (RFC 6749 §5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OAuthError {
    /// The code.
    pub error: ErrorCode,
    /// One sentence.
    pub error_description: String,
    /// For `insufficient_factors`: which factors would satisfy each permission that was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub factors_needed: Option<crate::factor_policy::FactorsNeeded>,
}

impl OAuthError {
    /// The body of a code.
    pub fn new(code: ErrorCode) -> Self {
        Self { error: code, error_description: code.title().to_owned(), factors_needed: None }
    }
}

/// The value of `WWW-Authenticate` that comes with a refusal of a credential (RFC 6750 §3, RFC 6749 §5.2); `None` for
/// codes that carry none.
pub fn challenge(code: ErrorCode) -> Option<&'static str> {
    match code {
        // RFC 6749 §5.2.
        ErrorCode::InvalidClient => Some(r#"Basic realm="margrave""#),
        ErrorCode::InvalidToken | ErrorCode::SessionEnded => Some(r#"Bearer error="invalid_token""#),
        ErrorCode::InsufficientPermission => Some(r#"Bearer error="insufficient_scope""#),
        // RFC 9470 §3.
        ErrorCode::StepUpRequired => Some(r#"Bearer error="insufficient_user_authentication""#),
        _ => None,
    }
}
