//! What a use case can fail with. It knows public codes, and no HTTP.

use crate::storage::StorageError;
use margrave_shared::error::ErrorCode;
use margrave_shared::factor_policy::FactorsNeeded;

/// A use case's failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A verdict against the caller.
    #[error("{}: {}", .0.code.as_str(), .0.reason)]
    Denied(Denial),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No attempt is left.
    #[error("too many attempts")]
    TooManyAttempts {
        /// One is after so many milliseconds.
        retry_after_ms: i64,
    },
    /// Too much at once.
    #[error("overloaded")]
    Overloaded,
    /// Something that cannot be, such as a key that does not unseal.
    #[error("internal: {0}")]
    Internal(&'static str),
}

/// A verdict against the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    /// What the client is told.
    pub(crate) code: ErrorCode,
    /// Why, for the log.
    pub(crate) reason: &'static str,
    /// What exactly is wrong with the request, for callers who may know it.
    pub(crate) detail: Option<String>,
    /// Which factors would help.
    pub(crate) factors_needed: Option<FactorsNeeded>,
}

impl Failure {
    /// A verdict with a code and a reason.
    pub(crate) const fn denied(code: ErrorCode, reason: &'static str) -> Self {
        Self::Denied(Denial { code, reason, detail: None, factors_needed: None })
    }

    /// A verdict that tells the caller what to change.
    pub(crate) fn explained(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::Denied(Denial { code, reason: "request", detail: Some(detail.into()), factors_needed: None })
    }
}
