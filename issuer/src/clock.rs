//! The only place that reads the time.

use margrave_shared::time::UnixMs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// How long something took, by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was, in seconds.
    pub(crate) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Where `now` comes from.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// The system's clock.
    System,
    /// A test's clock.
    #[cfg(test)]
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The database's time, which all processes share, unless a test has its own.
    pub(crate) fn or_of_database(&self, database: UnixMs) -> UnixMs {
        match self {
            Self::System => database,
            #[cfg(test)]
            Self::Manual(_) => self.now(),
        }
    }

    /// The present time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn now(&self) -> UnixMs {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMs(since_epoch.as_millis() as i64)
            }
            #[cfg(test)]
            Self::Manual(ms) => UnixMs(ms.load(Ordering::SeqCst)),
        }
    }
}
