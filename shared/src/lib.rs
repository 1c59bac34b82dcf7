//! The rules of Margrave and the types that cross the wire between its halves.
//!
//! Nothing here does I/O, reads a clock or draws randomness: `now` and entropy are arguments. The issuer, the
//! Worker and the property tests therefore run the very same code.

pub mod account_reset;
pub mod audit;
pub mod base64;
pub mod basic;
pub mod claims;
pub mod cors;
pub mod device;
pub mod error;
pub mod error_body;
pub mod event;
pub mod event_log;
pub mod factor_policy;
pub mod form;
pub mod forwarding;
pub mod header;
pub mod header_list;
pub mod http_signature;
pub mod id;
pub mod json;
pub mod jwk;
pub mod label;
pub mod limiter;
pub mod login;
pub mod password;
pub mod path;
pub mod permission;
pub mod push_target;
pub mod revocation;
pub mod role;
pub mod route_policy;
pub mod route_table;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod session;
pub mod sso;
pub mod time;
pub mod token;
pub mod trace;
pub mod user_type;
pub mod wire;
pub mod x_address;
