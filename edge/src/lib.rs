//! The edge: the border of Margrave. A request is a corridor, and `gate.rs` shows it on one screen.

mod address;
mod auth;
mod body;
pub mod boundary;
mod budget;
mod clock;
mod config;
mod device;
#[cfg(feature = "drill")]
mod drill;
mod entropy;
mod feed;
mod forward;
mod gate;
mod generations;
mod issuer;
mod limiter;
mod log;
mod metrics;
mod objects;
mod origins;
mod own;
mod refusals;
mod respond;
mod sessions;
mod spraying;
mod state;
mod touches;
mod trial;
mod verify;
mod watch;
