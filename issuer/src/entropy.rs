//! The only place that draws randomness: the operating system's generator.

/// Where secrets come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entropy;

/// The operating system gave no randomness. Nothing secret can be made.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub(crate) struct NoEntropy;

impl Entropy {
    /// `N` random bytes. Should the operating system ever refuse, the process ends: a guessable secret is worse
    /// than none.
    #[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
    pub(crate) fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        if getrandom::fill(&mut bytes).is_err() {
            tracing::error!("{NoEntropy}; stopping");
            std::process::abort();
        }
        bytes
    }
}
