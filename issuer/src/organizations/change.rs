//! Changing an organisation, closing it and opening it again.

use super::{Organization, OrganizationFacts, find_organization, store, write, write_heads};
use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{Limited, check_limit};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{MerchantId, OrganizationId};

async fn of_merchant(
    tx: &mut Tx,
    merchant: &MerchantId,
    id: &OrganizationId,
) -> Result<Organization, Failure> {
    let found = find_organization(tx, id).await?.filter(|found| found.merchant_id == *merchant);
    found.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_organization"))
}

/// Changes an organisation's name and heads.
///
/// # Errors
/// `not_found` where it is not this merchant's, `precondition_failed` where it is of another version, `invalid_field`.
pub(crate) async fn change_organization(
    app: &App,
    (merchant, id): (&MerchantId, &OrganizationId),
    facts: OrganizationFacts,
    version: i64,
    actor: &str,
    caller: &Caller,
) -> Result<Organization, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let before = of_merchant(&mut tx, merchant, id).await?;
    // What is read here is told of below: it must be what is changed.
    if before.version != version {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    let facts = facts.checked(&mut tx, merchant).await?;
    // Locks it: of two at once the second is of an old version.
    if !store::update_organization(&mut tx, id, &facts.name, version).await? {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    store::put_heads(&mut tx, id, &facts.heads, now).await?;
    let after = of_merchant(&mut tx, merchant, id).await?;
    write_heads(app, &mut tx, (&before.facts.heads, &after), actor, caller).await?;
    write(app, &mut tx, "organization.change", &after, actor, caller).await?;
    tx.commit().await?;
    Ok(after)
}

/// Closes an organisation. Its address stays its own.
///
/// # Errors
/// `not_found` where it is not this merchant's, `conflict` where it is disabled already.
pub(crate) async fn disable_organization(
    app: &App,
    (merchant, id): (&MerchantId, &OrganizationId),
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    let organization = of_merchant(&mut tx, merchant, id).await?;
    if !store::update_disabled(&mut tx, id, Some(app.clock.now())).await? {
        return Err(Failure::explained(ErrorCode::Conflict, "it is disabled already"));
    }
    write(app, &mut tx, "organization.disable", &organization, actor, caller).await?;
    Ok(tx.commit().await?)
}

/// Opens a disabled organisation.
///
/// # Errors
/// `not_found` where it is not this merchant's, `conflict` where it is not disabled, `limit_reached`.
pub(crate) async fn enable_organization(
    app: &App,
    (merchant, id): (&MerchantId, &OrganizationId),
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    let organization = of_merchant(&mut tx, merchant, id).await?;
    let not_disabled = || Failure::explained(ErrorCode::Conflict, "it is not disabled");
    organization.disabled_at.ok_or_else(not_disabled)?;
    check_limit(&mut tx, merchant, Limited::Organizations, app.clock.now()).await?;
    if !store::update_disabled(&mut tx, id, None).await? {
        return Err(not_disabled());
    }
    write(app, &mut tx, "organization.enable", &organization, actor, caller).await?;
    Ok(tx.commit().await?)
}
