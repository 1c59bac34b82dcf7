//! The only place that reads the time.

use margrave_shared::time::UnixMs;

/// The present time, by which is judged. On Cloudflare it advances with I/O only, which is exact enough: every judgement
/// follows some.
pub(crate) fn now() -> UnixMs {
    let now = wall();
    #[cfg(feature = "drill")]
    let now = now.plus_ms(crate::drill::ahead_ms());
    now
}

/// The time that others see too, for what they judge: drills do not move it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall() -> UnixMs {
    UnixMs(js_sys::Date::now() as i64)
}
