//! `[keys]`: how signing keys rotate.

use margrave_shared::jwk::schedule::RotationPolicy;
use serde::{Deserialize, Serialize};

/// How signing keys rotate.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct KeysConfig {
    /// How long a key signs, in seconds; 0 = until `margrave keys rotate`. Default 30 days.
    pub(crate) rotate_every_s: i64,
    /// How long a key is published before it signs, in seconds. Default 10 minutes, at least `jwks_max_age_s` + 30.
    pub(crate) publish_ahead_s: i64,
    /// `max-age` of the published set, in seconds. Default: what `publish_ahead_s` allows, at most 5 minutes.
    pub(crate) jwks_max_age_s: Option<i64>,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { rotate_every_s: 30 * 86400, publish_ahead_s: 600, jwks_max_age_s: None }
    }
}

/// What a verifier's clock and a slow process may add to the age of a cached set.
const MARGIN_S: i64 = 30;

impl KeysConfig {
    /// `max-age` of the published set.
    pub(crate) fn max_age_s(&self) -> i64 {
        self.jwks_max_age_s.unwrap_or_else(|| (self.publish_ahead_s - MARGIN_S).clamp(0, 300))
    }

    /// The schedule's settings.
    pub(crate) const fn policy(&self, longest_token_s: i64) -> RotationPolicy {
        RotationPolicy {
            rotate_every_s: self.rotate_every_s,
            publish_ahead_s: self.publish_ahead_s,
            longest_token_s,
        }
    }

    pub(super) fn validate(&self, problems: &mut Vec<String>) {
        if self.rotate_every_s < 0 {
            problems.push("`keys.rotate_every_s` is 0 (off) or more".to_owned());
        }
        let max_age_s = self.max_age_s();
        if max_age_s < 0 || self.publish_ahead_s < max_age_s + MARGIN_S {
            problems.push(format!(
                "`keys.publish_ahead_s` ({}) is at least `keys.jwks_max_age_s` ({max_age_s}) + {MARGIN_S}: a verifier \
                 may hold a cached set for that long",
                self.publish_ahead_s
            ));
        }
    }
}
