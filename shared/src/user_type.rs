//! The three types of user (S1).

use serde::{Deserialize, Serialize};

/// How somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UserType {
    /// Nobody in particular.
    Anonymous,
    /// Known to the company whose page it is.
    Sso,
    /// Known to the system by factors of their own.
    Full,
}

impl UserType {
    /// The claim's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Sso => "sso",
            Self::Full => "full",
        }
    }

    /// Reads the claim's text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "anonymous" => Some(Self::Anonymous),
            "sso" => Some(Self::Sso),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}
