//! The reset of an account: an administrator lets its password be set anew by whoever holds a token that is used once. It waits, so
//! that an owner who has not asked for it can say so before it counts (X1).

use crate::permission::Permission;
use crate::role::beyond_the_giver;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The right to start a reset: of its own, and implied by no right to change (L9).
pub const MAY_RESET: &str = "account:factors:reset";

/// Why an account is reset: what the audit says, which holds no text about people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// Its owner has forgotten the password.
    ForgottenPassword,
    /// Somebody else knows the password, or may.
    Compromised,
    /// Its owner has no password yet.
    FirstPassword,
    /// Something else, which is written down elsewhere.
    Other,
}

impl ResetReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::ForgottenPassword, Self::Compromised, Self::FirstPassword, Self::Other];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForgottenPassword => "forgotten_password",
            Self::Compromised => "compromised",
            Self::FirstPassword => "first_password",
            Self::Other => "other",
        }
    }

    /// Reads its name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Why a reset does not count. A stranger learns none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetRefused {
    /// Nobody has started it, it was used, or it was called off.
    Unknown,
    /// It waits still.
    TooEarly,
    /// It has waited too long.
    Expired,
    /// The account's merchant is disabled.
    Closed,
    /// Who started it may do so no more: their key is revoked or has expired, or whatever they had was ended since.
    StarterIsGone,
    /// The account may do by now what who started it may give to nobody.
    BeyondTheStarter,
}

impl ResetRefused {
    /// The reason as the audit has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_reset",
            Self::TooEarly => "reset_too_early",
            Self::Expired => "reset_expired",
            Self::Closed => "disabled_merchant",
            Self::StarterIsGone => "starter_is_gone",
            Self::BeyondTheStarter => "beyond_the_starter",
        }
    }
}

/// What is known of a reset that was started.
#[derive(Debug, Clone)]
pub struct StartedReset<'a> {
    /// From when on it counts.
    pub usable_at: UnixMs,
    /// Until when.
    pub expires_at: UnixMs,
    /// What who started it might do then.
    pub scope: &'a BTreeSet<Permission>,
    /// Whether they may start resets still.
    pub starter_stands: bool,
}

/// Whether who may do `scope` may let somebody into an account that may do `held`: nobody gets by a reset what they could not give.
pub fn may_reset(scope: &BTreeSet<Permission>, held: &BTreeSet<Permission>) -> bool {
    beyond_the_giver(scope, &BTreeSet::new(), held).is_none()
}

/// Whether a reset sets a password now, of an account that may do `held`. The account itself may be disabled: it stays so, and so whoever
/// knows the old password is kept out while its owner waits.
///
/// # Errors
/// [`ResetRefused`] where it does not.
pub fn decide(
    reset: &StartedReset<'_>,
    is_closed: bool,
    held: &BTreeSet<Permission>,
    now: UnixMs,
) -> Result<(), ResetRefused> {
    if is_closed {
        Err(ResetRefused::Closed)
    } else if now < reset.usable_at {
        Err(ResetRefused::TooEarly)
    } else if now >= reset.expires_at {
        Err(ResetRefused::Expired)
    } else if !reset.starter_stands {
        Err(ResetRefused::StarterIsGone)
    } else if !may_reset(reset.scope, held) {
        Err(ResetRefused::BeyondTheStarter)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::parse_scope;

    #[test]
    fn a_reset_counts_between_its_times_and_gives_nobody_more() {
        use ResetRefused::{BeyondTheStarter, Closed, Expired, StarterIsGone, TooEarly};
        // (now, its merchant is disabled, the starter stands, what they may do, what the account may do)
        for (now, is_closed, starter_stands, scope, held, verdict) in [
            (99, false, true, "admin:write", "", Err(TooEarly)),
            (100, false, true, "admin:write", "", Ok(())),
            (199, false, true, "admin:write", "orders:ship", Ok(())),
            (200, false, true, "admin:write", "", Err(Expired)),
            (150, true, true, "admin:write", "", Err(Closed)),
            (99, true, true, "admin:write", "", Err(Closed)),
            (150, false, false, "admin:write", "", Err(StarterIsGone)),
            (150, false, true, "admin:write", "admin:write", Ok(())),
            (150, false, true, "admin:write", "admin:read", Err(BeyondTheStarter)),
            (150, false, true, "admin:*", "admin:read admin:write", Ok(())),
            (150, false, true, "admin:*", "pii:read", Err(BeyondTheStarter)),
            (150, false, true, "admin:*", "platform:read", Err(BeyondTheStarter)),
            (150, false, true, "platform:*", "pii:read", Ok(())),
        ] {
            let (scope, held) = (parse_scope(scope).unwrap(), parse_scope(held).unwrap());
            let reset = StartedReset {
                usable_at: UnixMs(100),
                expires_at: UnixMs(200),
                scope: &scope,
                starter_stands,
            };
            assert_eq!(decide(&reset, is_closed, &held, UnixMs(now)), verdict, "{now} {scope:?} {held:?}");
        }
    }

    #[test]
    fn reasons_are_read_as_they_are_written() {
        for reason in ResetReason::ALL {
            assert_eq!(ResetReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{}\"", reason.as_str()));
        }
        assert_eq!(ResetReason::parse("because"), None);
    }
}
