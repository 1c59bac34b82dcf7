//! What is being done, on stderr, so that nobody waits without knowing for what.

/// Says what begins now.
pub(crate) fn step(text: &str) {
    eprintln!("  · {text}");
}

/// Says something that the reader should know.
pub(crate) fn warn(text: &str) {
    eprintln!("  ! {text}");
}
