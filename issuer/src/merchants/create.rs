//! Making and disabling merchants.

use super::{Merchant, MerchantSettings, Service, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::revocations;
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::MerchantId;

/// A merchant to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewMerchant {
    /// Its name, 1 to 200 characters.
    pub(crate) name: String,
    /// Whether it runs the system.
    pub(crate) platform: bool,
    /// Its services.
    pub(crate) services: Vec<Service>,
    /// Its settings.
    pub(crate) settings: MerchantSettings,
}

/// Makes a merchant.
///
/// # Errors
/// `invalid_field` for an empty or overlong name or a service without one.
pub(crate) async fn create_merchant(
    app: &App,
    new: NewMerchant,
    actor: &str,
    caller: &Caller,
) -> Result<Merchant, Failure> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Failure::explained(ErrorCode::InvalidField, "`name` is 1 to 200 printable characters"));
    }
    for service in &new.services {
        let audience = &service.audience;
        let plain = audience.len() <= 200 && audience.bytes().all(|b| b.is_ascii_graphic());
        if audience.is_empty() || !plain || *audience == app.public_url {
            return Err(Failure::explained(
                ErrorCode::InvalidField,
                "a service's audience is 1 to 200 visible ASCII characters and not the issuer itself",
            ));
        }
    }
    let now = app.clock.now();
    let merchant = Merchant {
        id: MerchantId::from_random(app.entropy.bytes()),
        name: name.to_owned(),
        settings: new.settings,
        created_at: now,
        platform_at: new.platform.then_some(now),
        disabled_at: None,
    };
    let mut tx = app.db.begin().await?;
    store::insert_merchant(&mut tx, &merchant).await?;
    for service in &new.services {
        store::insert_service(&mut tx, &merchant.id, service).await?;
    }
    let entry = Entry::done("merchant.create").merchant(&merchant.id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(merchant)
}

/// Disables a merchant: its keys are revoked, nobody logs in any more. Its people's sessions end with their tokens'
/// next refresh, at once where an administrator ends them.
///
/// # Errors
/// `not_found`, or `conflict` when it is disabled already or runs the system.
pub(crate) async fn disable_merchant(
    app: &App,
    id: &MerchantId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if store::find_merchant(&mut tx, id).await?.is_none() {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_merchant"));
    }
    if !store::update_disabled(&mut tx, id, now).await? {
        return Err(Failure::denied(ErrorCode::Conflict, "disabled_or_platform"));
    }
    // Keys by their ids, and the feed's counter last: see `sessions::end_all` for the order of locks.
    let mut keys: Vec<_> = store::find_keys(&mut tx, id).await?.into_iter().map(|key| key.key_id).collect();
    keys.sort();
    let mut revoked = Vec::new();
    for key_id in keys {
        if store::update_revoked(&mut tx, &key_id, id, now).await? {
            revoked.push(key_id);
        }
    }
    for key_id in revoked {
        revocations::publish(app, &mut tx, &Ended::Key { key_id }, now).await?;
    }
    let entry = Entry::done("merchant.disable").merchant(id).actor(actor);
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}
