//! Passwords: hashed with argon2id in a bounded pool, checked at the same cost whether an account exists or not.

mod foreign;
mod kdf;
mod own_hash;
mod store;

pub(crate) use foreign::{Foreign, MARK as IMPORTED};
pub(crate) use kdf::{Kdf, Verdict};
pub(crate) use store::{count_foreign, delete_foreign, delete_hash, find_hash, put_hash, replace_hash};
