//! Changing merchants.

use super::create::{check_name, check_services};
use super::{Merchant, MerchantLimits, MerchantSettings, Service, find_merchant, limit_store, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::Permission;
use std::collections::BTreeSet;

fn changed() -> Failure {
    Failure::denied(ErrorCode::PreconditionFailed, "another_version")
}

async fn existing(tx: &mut Tx, id: &MerchantId) -> Result<Merchant, Failure> {
    find_merchant(tx, id).await?.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))
}

/// Changes a merchant's name and settings. Sessions keep the limits that they began with.
///
/// # Errors
/// `not_found`, `precondition_failed` where it is of another version, `invalid_field`; `insufficient_permission` where it changes what
/// privileged permissions ask for that the changer may not give.
pub(crate) async fn change_merchant(
    app: &App,
    id: &MerchantId,
    name: &str,
    settings: &MerchantSettings,
    version: i64,
    (actor, scope): (&str, &BTreeSet<Permission>),
    caller: &Caller,
) -> Result<Merchant, Failure> {
    let name = check_name(name)?;
    settings.check().map_err(|problem| Failure::explained(ErrorCode::InvalidField, problem))?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let before = existing(&mut tx, id).await?;
    // What is read here decides what may be loosened: it must be what is changed below.
    if before.version != version {
        return Err(changed());
    }
    let policy = |settings: &MerchantSettings| settings.factor_policy.clone().unwrap_or_default();
    let (now_wanted, wanted_before) = (policy(settings), policy(&before.settings));
    if now_wanted.privileged_rules_changed(&wanted_before).into_iter().any(|p| !p.may_be_given_by(scope)) {
        return Err(Failure::denied(ErrorCode::InsufficientPermission, "loosens_what_is_not_held"));
    }
    if !store::update_merchant(&mut tx, id, name, settings, version).await? {
        return Err(changed());
    }
    let entry = Entry::done("merchant.change").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let merchant = existing(&mut tx, id).await?;
    tx.commit().await?;
    Ok(merchant)
}

/// Gives a merchant these services and no others. Sessions that were opened for one that is gone go on until they end.
///
/// # Errors
/// `not_found`, `precondition_failed` where the merchant is of another version, `invalid_field`.
pub(crate) async fn change_services(
    app: &App,
    id: &MerchantId,
    services: &[Service],
    version: i64,
    actor: &str,
    caller: &Caller,
) -> Result<Merchant, Failure> {
    check_services(app, services)?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    existing(&mut tx, id).await?;
    // Locks the merchant: of two at once the second is of an old version.
    if !store::update_version(&mut tx, id, version).await? {
        return Err(changed());
    }
    store::delete_services(&mut tx, id).await?;
    for service in services {
        store::insert_service(&mut tx, id, service).await?;
    }
    let entry = Entry::done("merchant.change_services").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    let merchant = existing(&mut tx, id).await?;
    tx.commit().await?;
    Ok(merchant)
}

/// Changes how much a merchant may have. What it has already stays.
///
/// # Errors
/// `not_found`, `precondition_failed` where the merchant is of another version.
pub(crate) async fn change_limits(
    app: &App,
    id: &MerchantId,
    limits: &MerchantLimits,
    version: i64,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    existing(&mut tx, id).await?;
    if !limit_store::update_limits(&mut tx, id, limits, version).await? {
        return Err(changed());
    }
    let entry = Entry::done("merchant.change_limits").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}
