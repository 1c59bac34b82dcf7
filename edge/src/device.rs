//! Known devices (D3): the token that a client brings, and the one that it gets after a completed login.

use crate::config::EdgeConfig;
use crate::gate::Corridor;
use crate::{clock, entropy, limiter};
use margrave_shared::device::{Device, LIFE_S};
use margrave_shared::header::{DEVICE, DEVICE_COOKIE, cookie};
use margrave_shared::header_list::HeaderList;
use margrave_shared::wire::device::{DeviceClaim, DeviceStanding};
use worker::Headers;

/// The device that an attempt on a login comes from. One of another login is ignored.
pub(crate) fn of_attempt(corridor: &Corridor, login_key: &str) -> Option<Device> {
    let headers = &corridor.head.headers;
    let text = headers.get(DEVICE).or_else(|| cookie(headers.get("cookie")?, DEVICE_COOKIE))?;
    let keys = &corridor.config.device_key;
    let device = keys.read(text, clock::wall()).ok()?;
    keys.knows(&device, login_key).then_some(device)
}

/// What the issuer is told of it.
pub(crate) fn claim(device: &Device) -> String {
    DeviceClaim { account: device.account.clone(), generation: device.generation }.print()
}

/// Gives the client a device token. A client that sends the header gets it there; any other one, a browser that is, in a
/// cookie that no script reads.
pub(crate) fn make_known(
    config: &EdgeConfig,
    asked: &HeaderList,
    standing: DeviceStanding,
    answer: &Headers,
) -> worker::Result<()> {
    let Some(id) = entropy::bytes16() else { return Ok(()) };
    let DeviceStanding { account, generation, logins } = standing;
    let keys = &config.device_key;
    let token = keys.print(&keys.device(account, generation, &logins, id, clock::wall()));
    if asked.get(DEVICE).is_some() {
        answer.set(DEVICE, &token)
    } else {
        let attributes = format!("Path=/; Max-Age={LIFE_S}; Secure; HttpOnly; SameSite=Strict");
        answer.append("set-cookie", &format!("{DEVICE_COOKIE}={token}; {attributes}"))
    }
}

/// The issuer says which devices of an account count: the others are strangers from now on.
pub(crate) async fn forget_others(corridor: &Corridor, standing: &DeviceStanding) {
    let account = corridor.config.device_key.account(&standing.account);
    for _ in 0..2 {
        if limiter::forget_devices(&corridor.env, account, standing.generation).await {
            return;
        }
    }
    worker::console_error!(
        "devices of an account could not be forgotten; the next attempt from one tries again"
    );
}
