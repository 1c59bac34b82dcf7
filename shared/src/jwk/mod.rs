//! Keys in public: reading a JWKS, and when signing keys are made, promoted and taken away.

pub mod schedule;
pub mod set;

pub use set::{KeySet, RefusedSet};
