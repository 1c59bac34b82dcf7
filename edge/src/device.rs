//! Known devices (D3): the token that a client brings, and the one that it gets after a completed login.

use crate::gate::Corridor;
use crate::{clock, entropy, limiter, log};
use margrave_shared::device::{Device, LIFE_S, MAX_HELD, SEPARATOR};
use margrave_shared::header::{DEVICE, DEVICE_COOKIE, cookies};
use margrave_shared::wire::device::{DeviceClaim, DeviceStanding};
use worker::Headers;

/// The devices that a client is, of whichever accounts: a browser may have several people.
pub(crate) fn of_client(corridor: &Corridor) -> Vec<Device> {
    held(corridor).into_iter().map(|(_, device)| device).collect()
}

/// Their tokens beside them.
fn held(corridor: &Corridor) -> Vec<(&str, Device)> {
    let headers = &corridor.head.headers;
    let read = |text| Some((text, corridor.config.device_keys.read(text, clock::wall()).ok()?));
    let cookies = || cookies(headers.get("cookie").unwrap_or(""), DEVICE_COOKIE).take(MAX_HELD);
    match headers.get(DEVICE) {
        Some(text) => read(text).into_iter().collect(),
        // Only what this edge has signed counts, so it does not matter who has put it there.
        None => cookies().flat_map(|value| value.split(SEPARATOR).take(MAX_HELD)).filter_map(read).collect(),
    }
}

/// The device that an attempt on a login comes from. One of another login is ignored.
pub(crate) fn of_attempt(corridor: &Corridor, login_key: &str) -> Option<Device> {
    of_client(corridor).into_iter().find(|device| corridor.config.device_keys.knows(device, login_key))
}

/// What the issuer is told of it.
pub(crate) fn claim(device: &Device) -> String {
    DeviceClaim { account: device.account.clone(), generation: device.generation }.print()
}

/// Gives the client a device token. A client that sends the header gets it there; any other one, a browser that is, in a
/// cookie that no script reads, beside those of other accounts that it has. A page of another site cannot change the cookie.
pub(crate) fn make_known(
    corridor: &Corridor,
    standing: DeviceStanding,
    answer: &Headers,
) -> worker::Result<()> {
    let Some(id) = entropy::bytes16() else { return Ok(()) };
    let DeviceStanding { account, generation, logins } = standing;
    let (keys, asked) = (&corridor.config.device_keys, &corridor.head.headers);
    let device = keys.device(account, generation, &logins, id, clock::wall());
    let token = keys.print(&device);
    if asked.get(DEVICE).is_some() {
        return answer.set(DEVICE, &token);
    }
    if asked.get("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "same-site" | "none")) {
        return Ok(());
    }
    // As they are: what an old key has signed must not outlive it.
    let others = held(corridor).into_iter().filter(|(_, other)| other.account != device.account);
    let tokens = core::iter::once(token.as_str()).chain(others.take(MAX_HELD - 1).map(|(text, _)| text));
    let value = tokens.collect::<Vec<_>>().join(&SEPARATOR.to_string());
    let attributes = format!("Path=/; Max-Age={LIFE_S}; Secure; HttpOnly; SameSite=Strict");
    answer.append("set-cookie", &format!("{DEVICE_COOKIE}={value}; {attributes}"))
}

/// The issuer says which devices of an account count: the others are strangers from now on.
pub(crate) async fn forget_others(corridor: &Corridor, standing: &DeviceStanding) {
    for account in corridor.config.device_keys.accounts(&standing.account) {
        let mut forgotten = false;
        for _ in 0..2 {
            forgotten =
                forgotten || limiter::forget_devices(&corridor.env, account, standing.generation).await;
        }
        if !forgotten {
            log::error("devices of an account could not be forgotten; the next attempt from one tries again");
        }
    }
}
