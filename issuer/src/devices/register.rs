//! Registering a device, and taking one away.

use super::Device;
use super::store::{self, DeviceToPut, Row};
use crate::accounts::{find_account, lock_account};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::keys::{open, seal};
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, DeviceId};
use margrave_shared::label::check_label;
use margrave_shared::push_target::PushTarget;
use margrave_shared::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The most devices of an account.
const MOST: i64 = 20;

/// A device to be registered.
#[derive(Debug, Clone)]
pub(crate) struct NewDevice {
    /// What its owner calls it.
    pub(crate) name: String,
    /// How it is reached.
    pub(crate) target: PushTarget,
}

/// What is sealed of a device.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    name: String,
    target: PushTarget,
}

/// Registers a device of an account; one that is registered already is renewed, and keeps its id. What another account had registered is
/// that account's no more: somebody else has logged in on the same device.
///
/// # Errors
/// `invalid_field`; `limit_reached`; `not_found` for an account that is gone meanwhile.
pub(crate) async fn register_device(
    app: &App,
    account: &AccountId,
    new: NewDevice,
    actor: &str,
    caller: &Caller,
) -> Result<DeviceId, Failure> {
    let invalid = |problem: String| Failure::explained(ErrorCode::InvalidField, problem);
    let name = check_label(&new.name).map_err(|problem| invalid(problem.to_string()))?.to_owned();
    new.target.check().map_err(|problem| invalid(problem.to_string()))?;
    let target_hash = app.devices_key.tag(&[new.target.kind().as_bytes(), new.target.identity().as_bytes()]);
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    // Two at once are one after the other: the most are the most.
    let locked = lock_account(&mut tx, account).await?.map(|(account, _)| account);
    let owner = locked.filter(|account| account.disabled_at.is_none());
    let owner = owner.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_account"))?;
    if store::count_others(&mut tx, account, &target_hash).await? >= MOST {
        return Err(Failure::explained(
            ErrorCode::LimitReached,
            format!("at most {MOST} devices: remove one"),
        ));
    }
    let kind = new.target.kind();
    let plain = serde_json::to_vec(&Sealed { name, target: new.target }).unwrap_or_default();
    let sealed = seal(&app.devices_key, &purpose(account), &plain, app.entropy.bytes());
    let known = loop {
        let owners = store::take_from_others(&mut tx, &target_hash, account).await?;
        for other in owners {
            write_taken(app, &mut tx, &other, now).await?;
        }
        let known = store::find_id(&mut tx, &target_hash).await?;
        let id = known.clone().unwrap_or_else(|| DeviceId::from_random(app.entropy.bytes()));
        let device = DeviceToPut { id: &id, account, kind, target_hash: &target_hash, sealed: &sealed };
        // Somebody else may have registered it since: it is taken from them, too.
        if store::put_device(&mut tx, &device, now).await? {
            break (id, known.is_some());
        }
    };
    let (id, is_renewed) = known;
    // That it is still there is said at every start of a program, and no entry.
    if !is_renewed {
        let entry = Entry::done("device.register")
            .merchant(&owner.merchant_id)
            .actor(actor)
            .subject(format!("account:{account}"));
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await?;
    Ok(id)
}

/// Writes into the audit of whoever had a device that it is theirs no more. Of who has it now it says nothing: they may be another
/// merchant's.
async fn write_taken(app: &App, tx: &mut Tx, owner: &str, now: UnixMs) -> Result<(), Failure> {
    let Ok(owner) = AccountId::parse(owner) else { return Ok(()) };
    let Some(account) = find_account(tx, &owner).await? else { return Ok(()) };
    let entry = Entry::done_because("device.remove", "taken_over")
        .merchant(&account.merchant_id)
        .subject(format!("account:{owner}"));
    Ok(app.audit.write(tx, entry, &Caller::default(), now, app.entropy.bytes()).await?)
}

/// How long a device is kept whose program says nothing, in seconds: as long as FCM does.
const SILENT_S: i64 = 270 * 86_400;

/// Takes those away whose program has not said for long that they are there; gives how many.
///
/// # Errors
/// The database's.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, most: i64) -> Result<u64, StorageError> {
    store::delete_unseen(tx, now.plus_seconds(-SILENT_S), most).await
}

/// Takes a device away.
///
/// # Errors
/// `not_found` where the account has none of this id.
pub(crate) async fn remove_device(
    app: &App,
    account: &AccountId,
    id: &DeviceId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let unknown = || Failure::denied(ErrorCode::NotFound, "unknown_device");
    let (owner, _) = lock_account(&mut tx, account).await?.ok_or_else(unknown)?;
    if !store::delete_device(&mut tx, account, id).await? {
        return Err(unknown());
    }
    let entry = Entry::done("device.remove")
        .merchant(&owner.merchant_id)
        .actor(actor)
        .subject(format!("account:{account}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// An account's devices.
///
/// # Errors
/// The database's; [`Failure::Internal`] for one that does not open.
pub(crate) async fn find_devices(
    app: &App,
    tx: &mut Tx,
    account: &AccountId,
) -> Result<Vec<Device>, Failure> {
    let rows = store::find_all(tx, account).await?;
    rows.into_iter().map(|row| shown(app, account, row)).collect()
}

/// How an account's devices are reached, for their owner.
///
/// # Errors
/// The database's; [`Failure::Internal`] for one that does not open.
pub(crate) async fn find_targets(
    app: &App,
    tx: &mut Tx,
    account: &AccountId,
) -> Result<Vec<PushTarget>, Failure> {
    let rows = store::find_all(tx, account).await?;
    rows.iter().map(|row| Ok(opened(app, account, row)?.target)).collect()
}

const UNUSABLE: Failure = Failure::Internal("a device does not open");

fn opened(app: &App, account: &AccountId, row: &Row) -> Result<Sealed, Failure> {
    let plain = open(&app.devices_key, &purpose(account), &row.sealed).map_err(|_| UNUSABLE)?;
    serde_json::from_slice(&plain).map_err(|_| UNUSABLE)
}

fn shown(app: &App, account: &AccountId, row: Row) -> Result<Device, Failure> {
    let Sealed { name, .. } = opened(app, account, &row)?;
    Ok(Device {
        device_id: DeviceId::parse(&row.id).map_err(|_| UNUSABLE)?,
        name,
        kind: row.kind,
        created_at: UnixMs(row.created_at),
        seen_at: UnixMs(row.seen_at),
    })
}

/// What a device is sealed for: its owner, and nobody else.
fn purpose(account: &AccountId) -> String {
    format!("device of {account}")
}
