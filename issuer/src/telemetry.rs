//! Structured logs on stderr. What may never be in them: secrets, tokens, logins, addresses.

use tracing_subscriber::EnvFilter;

/// Starts logging: JSON lines, or plain ones for a person at a terminal; `MARGRAVE_LOG` filters (default `info`).
pub(crate) fn start(plain: bool) {
    let filter = EnvFilter::try_from_env("MARGRAVE_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = if plain {
        builder.compact().with_target(false).try_init()
    } else {
        builder.json().with_target(false).try_init()
    };
}
