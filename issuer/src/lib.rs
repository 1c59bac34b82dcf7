//! The issuer: the centre of Margrave. It knows people, organisations, merchants and applications, proves who
//! somebody is, signs short-lived tokens and publishes the keys that check them.
//!
//! A folder is a capability; `router.rs` shows every route, `app.rs` builds everything.

mod accounts;
mod admin;
mod app;
mod applications;
mod audit;
mod backup;
mod cli;
mod clock;
mod config;
mod devices;
mod edges;
mod entropy;
mod factors;
mod failure;
mod http;
mod idempotency;
mod keys;
mod limiter;
mod merchants;
mod metrics;
mod notify;
mod oauth;
mod organizations;
mod outbound;
mod pages;
mod passwords;
mod permissions;
mod recovery;
mod revocations;
mod router;
mod sampling;
mod sessions;
mod sso;
mod storage;
mod sweeper;
mod telemetry;
#[cfg(test)]
mod testing;
mod tokens;

/// Runs the command line and gives the process's exit code.
pub fn run() -> std::process::ExitCode {
    cli::run()
}
