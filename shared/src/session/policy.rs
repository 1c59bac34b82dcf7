//! The limits of a session, from defaults, merchant and account (L3).

use crate::claims::SessionLimits;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The two limits in seconds; 0 = off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SessionPolicy {
    /// Longest pause between two acts.
    pub idle_s: i64,
    /// Longest life from login on.
    pub absolute_s: i64,
}

impl Default for SessionPolicy {
    /// Idle 30 minutes, absolute 12 hours (NIST SP 800-63B-4 §2.2.3 allows an hour and a day).
    fn default() -> Self {
        Self { idle_s: 30 * 60, absolute_s: 12 * 3600 }
    }
}

impl SessionPolicy {
    /// What applies to an application of class `mobile`: 14 and 30 days.
    pub const MOBILE: Self = Self { idle_s: 14 * 86400, absolute_s: 30 * 86400 };

    /// Whether both are within what can be set: 0 (off) to 366 days.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [("idle_s", self.idle_s), ("absolute_s", self.absolute_s)] {
            if !(0..=366 * 86400).contains(&value) {
                return Err(format!("`session.{name}` is 0 (off) to a year in seconds, not {value}"));
            }
        }
        Ok(())
    }

    /// The limits of a session that starts at `login`.
    pub const fn limits(&self, login: UnixMs) -> SessionLimits {
        let until_s = if self.absolute_s == 0 { 0 } else { login.seconds().saturating_add(self.absolute_s) };
        SessionLimits { idle_s: self.idle_s, until_s }
    }
}

/// How long before its idle deadline a session may still go without an acknowledged touch, in milliseconds:
/// min(`touch_s`, idle / 10). A pause of at most idle − window always passes, one of idle never.
pub fn touch_window_ms(idle_s: i64, touch_s: i64) -> i64 {
    touch_s.saturating_mul(1000).min(idle_s.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_touch_window_is_a_tenth_of_idle_at_most() {
        assert_eq!(touch_window_ms(1800, 60), 60_000);
        assert_eq!(touch_window_ms(10, 60), 1000);
        assert_eq!(touch_window_ms(1800, 0), 0);
    }

    #[test]
    fn zero_is_off() {
        let login = UnixMs::from_seconds(100);
        let limits = SessionPolicy { idle_s: 0, absolute_s: 0 }.limits(login);
        assert_eq!(limits, SessionLimits { idle_s: 0, until_s: 0 });
        assert_eq!(SessionPolicy { idle_s: 5, absolute_s: 50 }.limits(login).until_s, 150);
    }
}
