//! When signing keys are made, promoted and taken away.
//!
//! ```text
//! standby ──published long enough, and the active one is old──▶ active ──▶ retiring ──its last token is dead──▶ retired
//!    └────────────── retire now: the standby signs at once, the bad key is gone from the set ──────────▶ retired
//! ```
//! A verifier that caches the set for its whole `max-age` has seen every key before it signs, and sees it as long as
//! a token of it lives, so rotation cannot break a verifier (OpenID Connect Core §10.1.1).

use crate::id::Kid;
use crate::time::UnixMs;
use crate::token::expect::LEEWAY_S;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, does not sign yet.
    Standby,
    /// Signs.
    Active,
    /// Published, signs no more.
    Retiring,
    /// Gone from the set.
    Retired,
}

impl KeyState {
    /// The state's name in the database and in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }

    /// Reads the state's name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Standby, Self::Active, Self::Retiring, Self::Retired].into_iter().find(|s| s.as_str() == text)
    }

    /// Whether verifiers may see the key.
    pub const fn is_published(self) -> bool {
        !matches!(self, Self::Retired)
    }
}

/// A key as the schedule sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledKey {
    /// Its name.
    pub kid: Kid,
    /// Its state.
    pub state: KeyState,
    /// Since when it is published.
    pub published_at: UnixMs,
    /// Since when it is in its present state.
    pub changed_at: UnixMs,
}

/// The operator's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a key signs, in seconds; 0 = until told otherwise.
    pub rotate_every_s: i64,
    /// How long a key is published before it signs, in seconds.
    pub publish_ahead_s: i64,
    /// The longest life of a token that verifiers check against the set, in seconds.
    pub longest_token_s: i64,
}

/// How much longer than its last token a retiring key stays, for processes that learn of the promotion late.
const LATE_SIGNER_S: i64 = 60;

/// One change that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a key that signs at once: there is none and no verifier can have a cached set.
    CreateActive,
    /// Make the next key.
    CreateStandby,
    /// `standby` signs from now on, the active key (if any) retires.
    Promote {
        /// The key that signs from now on.
        standby: Kid,
    },
    /// The last token of this key is dead.
    Retire {
        /// The key that leaves the set.
        kid: Kid,
    },
}

/// Which promotion is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// When it is due.
    OnSchedule,
    /// As soon as the standby has been published long enough (`margrave keys rotate`).
    Requested,
}

/// The changes due at `now`. Applying them and asking again gives none until time passes.
pub fn due_steps(
    keys: &[ScheduledKey],
    policy: &RotationPolicy,
    rotation: Rotation,
    now: UnixMs,
) -> Vec<Step> {
    let of = |state| keys.iter().filter(move |key| key.state == state);
    let active = of(KeyState::Active).max_by_key(|key| key.changed_at);
    let standby = of(KeyState::Standby).min_by_key(|key| key.published_at);
    let mut steps = Vec::new();

    let ripe =
        standby.filter(|key| now.since(key.published_at) >= policy.publish_ahead_s.saturating_mul(1000));
    let wanted = match active {
        None => true,
        Some(_) if rotation == Rotation::Requested => true,
        Some(key) => {
            policy.rotate_every_s > 0
                && now.since(key.changed_at) >= policy.rotate_every_s.saturating_mul(1000)
        }
    };
    match (active, standby, ripe) {
        (None, None, _) => steps.extend([Step::CreateActive, Step::CreateStandby]),
        // Nothing signs and the standby is young: better a key that some verifiers must look up than none.
        (None, Some(_), None) => steps.push(Step::CreateActive),
        (_, _, Some(key)) if wanted => {
            steps.extend([Step::Promote { standby: key.kid.clone() }, Step::CreateStandby]);
        }
        (_, None, _) => steps.push(Step::CreateStandby),
        _ => {}
    }

    let keep_ms = (policy.longest_token_s + LEEWAY_S + LATE_SIGNER_S).saturating_mul(1000);
    steps.extend(
        of(KeyState::Retiring)
            .filter(|key| now.since(key.changed_at) >= keep_ms)
            .map(|key| Step::Retire { kid: key.kid.clone() }),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RotationPolicy =
        RotationPolicy { rotate_every_s: 1000, publish_ahead_s: 330, longest_token_s: 300 };

    fn key(kid: &str, state: KeyState, published_s: i64, changed_s: i64) -> ScheduledKey {
        ScheduledKey {
            kid: Kid::parse(kid).unwrap(),
            state,
            published_at: UnixMs::from_seconds(published_s),
            changed_at: UnixMs::from_seconds(changed_s),
        }
    }

    fn promote(kid: &str) -> Step {
        Step::Promote { standby: Kid::parse(kid).unwrap() }
    }

    #[test]
    fn the_table_of_steps() {
        use KeyState::{Active, Retiring, Standby};
        use Rotation::{OnSchedule, Requested};
        let retire = |kid: &str| Step::Retire { kid: Kid::parse(kid).unwrap() };
        let table = [
            ("first start", vec![], OnSchedule, 0, vec![Step::CreateActive, Step::CreateStandby]),
            ("quiet", vec![key("a", Active, 0, 0), key("b", Standby, 0, 0)], OnSchedule, 999, vec![]),
            (
                "due",
                vec![key("a", Active, 0, 0), key("b", Standby, 0, 0)],
                OnSchedule,
                1000,
                vec![promote("b"), Step::CreateStandby],
            ),
            (
                "due, standby too young",
                vec![key("a", Active, 0, 0), key("b", Standby, 800, 800)],
                OnSchedule,
                1100,
                vec![],
            ),
            ("no standby", vec![key("a", Active, 0, 0)], OnSchedule, 2000, vec![Step::CreateStandby]),
            (
                "asked for",
                vec![key("a", Active, 0, 0), key("b", Standby, 0, 0)],
                Requested,
                330,
                vec![promote("b"), Step::CreateStandby],
            ),
            (
                "nothing signs, standby too young",
                vec![key("b", Standby, 800, 800)],
                OnSchedule,
                900,
                vec![Step::CreateActive],
            ),
            (
                "asked for too early",
                vec![key("a", Active, 0, 0), key("b", Standby, 0, 0)],
                Requested,
                329,
                vec![],
            ),
            (
                "old key still has tokens",
                vec![key("a", Active, 0, 0), key("b", Standby, 0, 0), key("o", Retiring, 0, 0)],
                OnSchedule,
                389,
                vec![],
            ),
            (
                "old key's last token is dead",
                vec![key("a", Active, 0, 0), key("b", Standby, 0, 0), key("o", Retiring, 0, 0)],
                OnSchedule,
                390,
                vec![retire("o")],
            ),
        ];
        for (name, keys, rotation, now_s, steps) in table {
            assert_eq!(due_steps(&keys, &POLICY, rotation, UnixMs::from_seconds(now_s)), steps, "{name}");
        }
    }

    fn apply(keys: &mut Vec<ScheduledKey>, step: &Step, now: UnixMs, made: &mut u32) {
        let mut make = |state| {
            *made += 1;
            ScheduledKey {
                kid: Kid::parse(&format!("k{made}")).unwrap(),
                state,
                published_at: now,
                changed_at: now,
            }
        };
        match step {
            Step::CreateActive => keys.push(make(KeyState::Active)),
            Step::CreateStandby => keys.push(make(KeyState::Standby)),
            Step::Promote { standby } => {
                for key in keys.iter_mut() {
                    if key.state == KeyState::Active {
                        (key.state, key.changed_at) = (KeyState::Retiring, now);
                    } else if key.kid == *standby {
                        (key.state, key.changed_at) = (KeyState::Active, now);
                    }
                }
            }
            Step::Retire { kid } => {
                for key in keys.iter_mut().filter(|key| key.kid == *kid) {
                    (key.state, key.changed_at) = (KeyState::Retired, now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_signer_was_published_ahead_and_stays_long_enough(
            pauses in proptest::collection::vec((1_i64..700, any::<bool>()), 1..60)
        ) {
            let (mut keys, mut made, mut now) = (Vec::new(), 0, UnixMs(0));
            for (pause, requested) in pauses {
                now = now.plus_seconds(pause);
                let rotation = if requested { Rotation::Requested } else { Rotation::OnSchedule };
                let steps = due_steps(&keys, &POLICY, rotation, now);
                for step in &steps {
                    if let Step::Promote { standby } = step {
                        let key = keys.iter().find(|k: &&ScheduledKey| k.kid == *standby).unwrap();
                        prop_assert!(now.since(key.published_at) >= POLICY.publish_ahead_s * 1000);
                    }
                    if let Step::Retire { kid } = step {
                        let key = keys.iter().find(|k| k.kid == *kid).unwrap();
                        prop_assert!(now.since(key.changed_at) >= (POLICY.longest_token_s + LEEWAY_S) * 1000);
                    }
                    apply(&mut keys, step, now, &mut made);
                }
                prop_assert_eq!(keys.iter().filter(|k| k.state == KeyState::Active).count(), 1);
                prop_assert_eq!(keys.iter().filter(|k| k.state == KeyState::Standby).count(), 1);
                prop_assert_eq!(due_steps(&keys, &POLICY, Rotation::OnSchedule, now), vec![]);
            }
        }
    }
}
