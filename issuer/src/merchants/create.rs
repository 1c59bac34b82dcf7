//! Making merchants.

use super::{Merchant, MerchantSettings, Service, store};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::label::check_label;
use std::collections::BTreeSet;

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
/// `invalid_field` for an empty or overlong name, a service without one, or settings that cannot be used.
pub(crate) async fn create_merchant(
    app: &App,
    new: NewMerchant,
    actor: &str,
    caller: &Caller,
) -> Result<Merchant, Failure> {
    let mut tx = app.db.begin().await?;
    let merchant = create_merchant_in(app, &mut tx, new, actor, caller).await?;
    tx.commit().await?;
    Ok(merchant)
}

/// The same within a transaction.
pub(crate) async fn create_merchant_in(
    app: &App,
    tx: &mut Tx,
    new: NewMerchant,
    actor: &str,
    caller: &Caller,
) -> Result<Merchant, Failure> {
    let name = check_name(&new.name)?;
    check_services(app, &new.services)?;
    new.settings.check().map_err(|problem| Failure::explained(ErrorCode::InvalidField, problem))?;
    let now = app.clock.now();
    let merchant = Merchant {
        id: MerchantId::from_random(app.entropy.bytes()),
        name: name.to_owned(),
        settings: new.settings,
        version: 0,
        import_hash: None,
        created_at: now,
        platform_at: new.platform.then_some(now),
        disabled_at: None,
    };
    store::insert_merchant(tx, &merchant).await?;
    for service in &new.services {
        store::insert_service(tx, &merchant.id, service).await?;
    }
    let entry = Entry::done("merchant.create").merchant(&merchant.id).actor(actor);
    app.audit.write(tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(merchant)
}

/// A merchant's name, trimmed.
pub(super) fn check_name(name: &str) -> Result<&str, Failure> {
    check_label(name).map_err(|problem| Failure::explained(ErrorCode::InvalidField, problem.to_string()))
}

/// The most services of one merchant, and permissions of one service.
const MOST: usize = 200;

/// Whether a merchant may have these services.
pub(super) fn check_services(app: &App, services: &[Service]) -> Result<(), Failure> {
    let invalid = |text: &str| Err(Failure::explained(ErrorCode::InvalidField, text));
    if services.len() > MOST || services.iter().any(|service| service.permissions.len() > MOST) {
        return invalid("at most 200 services, with at most 200 permissions each");
    }
    let mut audiences = BTreeSet::new();
    for service in services {
        let audience = &service.audience;
        let plain = audience.len() <= 200 && audience.bytes().all(|b| b.is_ascii_graphic());
        if audience.is_empty() || !plain || *audience == app.public_url {
            return invalid(
                "a service's audience is 1 to 200 visible ASCII characters and not the issuer itself",
            );
        }
        if !audiences.insert(audience) {
            return invalid("two services have the same audience");
        }
    }
    Ok(())
}
