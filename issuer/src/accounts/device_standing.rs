//! Known devices: the account's device generation. What an edge remembers of a device counts only while it is of this one.

use super::Account;
use margrave_shared::wire::device::DeviceStanding;

/// How an account stands, for the edge; with its logins, which make a device known, after a completed login only.
pub(crate) fn device_standing(account: &Account) -> DeviceStanding {
    let logins = vec![account.username.clone(), account.x_address.to_string()];
    DeviceStanding { account: account.id.clone(), generation: account.device_generation, logins }
}
