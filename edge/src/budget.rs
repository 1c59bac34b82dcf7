//! Calls with a time limit. A call that is given up still runs at the other end: what is called is idempotent, or errs at the
//! cost of who asked.

use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use worker::Delay;

/// How long a Durable Object may take: with the rest of the corridor a request is answered within 250 ms.
pub(crate) const OBJECT: Duration = Duration::from_millis(200);

/// How long the feed object may take when it has to ask the issuer first.
pub(crate) const FIRST_LOAD: Duration = Duration::from_secs(3);

/// The call failed, or took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It answered with an error.
    Error,
    /// It did not answer in time.
    Timeout,
}

/// Waits for a call at most so long.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = worker::Result<T>>,
) -> Result<T, Failed> {
    match select(pin!(call), pin!(Delay::from(limit))).await {
        Either::Left((result, _)) => result.map_err(|_| Failed::Error),
        Either::Right(_) => Err(Failed::Timeout),
    }
}
