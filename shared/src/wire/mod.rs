//! What crosses the wire besides tokens: bodies that both halves, or the tests, read and write.

pub mod credentials;
pub mod device;
pub mod report;
pub mod session_seen;
pub mod state_call;
pub mod token;
