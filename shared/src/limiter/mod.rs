//! Limits on attempts: an exact bucket, and which buckets an attempt draws from.

pub mod drawing;
pub mod gcra;
pub mod keys;
pub mod limits;
pub mod pair;
pub mod rule;

pub use gcra::{Bucket, Limit};
pub use keys::LimiterKeys;
