//! Users whom a company's own page vouches for (S4): what it signs, and what that says.

pub mod legacy;

use serde::Serialize;

/// A user of a company, as the company says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SsoUser {
    /// The company's own name for the user. With the merchant it is the identity.
    pub id: String,
    /// How the user is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where a picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    /// What else the company says.
    pub data: Vec<SsoField>,
}

/// One thing that a company says of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SsoField {
    /// Its name for programs.
    pub key: String,
    /// What it is.
    pub val: String,
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether operators may see it.
    pub show: bool,
}
