//! The only place that reads the time.

use margrave_shared::time::UnixMs;

/// The present time. On Cloudflare it advances with I/O only, which is exact enough: every judgement follows some.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> UnixMs {
    UnixMs(js_sys::Date::now() as i64)
}
