//! Tokens: the compact form, the header's rules, and the one strict verifier that the edge and the issuer share.

pub mod compact;
pub mod expect;
pub mod header;
pub mod opaque;
pub mod status_list;
pub mod verify;

pub use expect::{Expect, TokenKind};
pub use verify::{KeyLookup, Refusal, verify_permission, verify_refresh, verify_security, verify_signed};
