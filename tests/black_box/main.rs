//! Black-box tests: the real issuer, the real Worker in `workerd`, the real databases. Every test starts its own
//! system with a fresh state folder and free ports.
//!
//! Run them with `cargo xtask test`, which builds the programs first and starts a PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is a test binary; what fails should say so and stop"
)]

mod account_reset;
mod administration;
mod answers_of_an_origin;
mod audit;
mod backup;
mod browser;
mod canaries;
#[cfg(target_os = "linux")]
mod cluster;
mod crashes;
mod deployment;
mod direct_clients;
mod doctor;
mod drills;
// They mount file systems and move a clock as Linux does.
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod faults_alone;
mod forged;
mod http;
mod import;
mod key_rotation;
mod keys_of_a_strange_issuer;
mod known_devices;
mod layout;
mod login_limits;
mod merchant_key;
mod observability;
mod operators_mistakes;
mod operators_shell;
mod origin_modules;
mod push;
mod refresh;
mod restarts;
mod revocation;
// systemd's units are Linux's.
#[cfg(target_os = "linux")]
mod rolling_upgrade;
mod route_options;
mod secrets_in_use;
mod session_timeouts;
mod several_gates;
mod signature_cases;
mod smuggling;
#[cfg(unix)]
mod stopping;
mod strange_paths_and_headers;
mod streams;
#[cfg(target_os = "linux")]
mod supervisor;
mod system;
