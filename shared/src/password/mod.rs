//! Passwords: what may be one.

pub mod policy;
