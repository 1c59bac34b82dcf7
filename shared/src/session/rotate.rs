//! Refresh rotation (RFC 9700 §4.14.2): every use gives a child; a second use of a parent is reuse and ends the
//! family and its session, the child too.
//!
//! ```text
//! live ──used──▶ used ──used again──▶ reuse: family and session end
//!                  └─ same Idempotency-Key, within 10 s, child still unused ─▶ the same child once more
//! ```

use crate::time::UnixMs;
use crate::token::expect::LEEWAY_S;

/// How long an honest client may repeat a refresh whose answer it lost, in milliseconds.
pub const RETRY_MS: i64 = 10_000;

/// A refresh token's stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// Never used.
    Live,
    /// Used for its child.
    Used {
        /// When.
        at: UnixMs,
        /// The hash of the `Idempotency-Key` it was used with.
        retry_key: Option<[u8; 32]>,
        /// Whether the child was used since.
        child: ChildState,
    },
}

/// What became of a used token's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// Nobody has used it yet.
    Unused,
    /// It was used, so its holder had it.
    Used,
}

/// Whether the family, its session and its account still stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyState {
    /// They do.
    Standing,
    /// One of them is over.
    Over,
}

/// The verdict on one presentation of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Mark it used and give a child.
    GiveChild,
    /// Give the answer of the first use again.
    RepeatAnswer,
    /// End family and session.
    Reuse,
    /// Refuse; nothing more to end.
    Refuse,
}

/// Judges the presentation of a refresh token by its own client.
pub fn decide(token: TokenState, family: FamilyState, retry_key: Option<[u8; 32]>, now: UnixMs) -> Rotation {
    match (family, token) {
        (FamilyState::Over, _) => Rotation::Refuse,
        (FamilyState::Standing, TokenState::Live) => Rotation::GiveChild,
        (FamilyState::Standing, TokenState::Used { at, retry_key: first, child }) => {
            let same_key = retry_key.is_some() && retry_key == first;
            // Two processes' clocks differ: who read an earlier time than the winner is no thief.
            let in_time = (-LEEWAY_S * 1000..=RETRY_MS).contains(&now.since(at));
            if same_key && in_time && child == ChildState::Unused {
                Rotation::RepeatAnswer
            } else {
                Rotation::Reuse
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_presentations() {
        use ChildState::{Unused, Used};
        use FamilyState::{Over, Standing};
        let used = |retry_key, child| TokenState::Used { at: UnixMs(1000), retry_key, child };
        let (a, b) = (Some([1; 32]), Some([2; 32]));
        let table = [
            (TokenState::Live, Standing, None, 1000, Rotation::GiveChild),
            (TokenState::Live, Standing, a, 1000, Rotation::GiveChild),
            (TokenState::Live, Over, None, 1000, Rotation::Refuse),
            (used(a, Unused), Standing, a, 11_000, Rotation::RepeatAnswer),
            (used(a, Unused), Standing, a, 11_001, Rotation::Reuse),
            (used(a, Unused), Standing, a, 999, Rotation::RepeatAnswer),
            (used(a, Unused), Standing, a, 1000 - 30_001, Rotation::Reuse),
            (used(a, Unused), Standing, b, 1500, Rotation::Reuse),
            (used(a, Unused), Standing, None, 1500, Rotation::Reuse),
            (used(None, Unused), Standing, None, 1500, Rotation::Reuse),
            (used(None, Unused), Standing, a, 1500, Rotation::Reuse),
            (used(a, Used), Standing, a, 1500, Rotation::Reuse),
            (used(a, Unused), Over, a, 1500, Rotation::Refuse),
        ];
        for (token, family, key, now, verdict) in table {
            assert_eq!(
                decide(token, family, key, UnixMs(now)),
                verdict,
                "{token:?} {family:?} {key:?} {now}"
            );
        }
    }

    proptest! {
        /// Any interleaving of uses of any token of a family leaves at most one live token.
        #[test]
        fn at_most_one_live_successor(uses in proptest::collection::vec((0_usize..6, 0_u8..3, 0_i64..8_000), 1..40)) {
            let mut tokens: Vec<TokenState> = vec![TokenState::Live];
            let mut family = FamilyState::Standing;
            let mut now = UnixMs(0);
            for (which, key, pause) in uses {
                now = now.plus_ms(pause);
                let which = which % tokens.len();
                let key = (key > 0).then_some([key; 32]);
                match decide(tokens[which], family, key, now) {
                    Rotation::GiveChild => {
                        tokens[which] = TokenState::Used { at: now, retry_key: key, child: ChildState::Unused };
                        if let Some(TokenState::Used { child, .. }) = which.checked_sub(1).map(|i| &mut tokens[i]) {
                            *child = ChildState::Used;
                        }
                        tokens.push(TokenState::Live);
                    }
                    Rotation::RepeatAnswer => prop_assert_eq!(which + 2, tokens.len(), "only the newest child"),
                    Rotation::Reuse => family = FamilyState::Over,
                    Rotation::Refuse => prop_assert_eq!(family, FamilyState::Over),
                }
                let live = tokens.iter().filter(|t| **t == TokenState::Live).count();
                prop_assert!(live <= 1);
            }
        }
    }
}
