//! Where things are.

use crate::Outcome;
use std::path::PathBuf;

/// The top of the checkout.
pub(crate) fn root() -> Outcome<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).ok_or_else(|| "the checkout has no top folder".to_owned())
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the checkout.
pub(crate) fn target() -> Outcome<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(root()?.join(PathBuf::from(folder))),
        None => Ok(root()?.join("target")),
    }
}

/// A program that cargo has built.
pub(crate) fn program(profile: &str, name: &str) -> Outcome<PathBuf> {
    Ok(target()?.join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}
