//! Answers of the token endpoint and of the factor routes.

use crate::factor_policy::FactorsNeeded;
use serde::{Deserialize, Serialize};

/// The grant type of security tokens: it completes a login.
pub const FACTORS_GRANT: &str = "urn:margrave:params:oauth:grant-type:factors";

/// A successful answer of `POST /oauth/token` (RFC 6749 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenResponse {
    /// The permission token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds until it expires.
    pub expires_in: i64,
    /// What was granted, separated by spaces.
    pub scope: String,
    /// The refresh token, for grants with a session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refresh_token: Option<String>,
    /// Permissions that were not granted, with the factors that would give them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub factors_needed: Option<FactorsNeeded>,
}

/// A successful answer of a factor route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecurityTokenResponse {
    /// The security token.
    pub security_token: String,
    /// Seconds until it expires.
    pub expires_in: i64,
}
