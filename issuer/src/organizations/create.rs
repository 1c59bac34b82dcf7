//! Making an organisation.

use super::{Organization, OrganizationFacts, store, write, write_heads};
use crate::accounts::insert_office_address;
use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{Limited, check_limit, find_merchant};
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{MerchantId, OrganizationId};
use margrave_shared::x_address::XAddress;
use std::collections::BTreeSet;

/// Makes an organisation of a merchant; its office gets an address of its own.
///
/// # Errors
/// `not_found` for an unknown or disabled merchant; `invalid_field`; `limit_reached`.
pub(crate) async fn create_organization(
    app: &App,
    tx: &mut Tx,
    merchant_id: &MerchantId,
    facts: OrganizationFacts,
    actor: &str,
    caller: &Caller,
) -> Result<Organization, Failure> {
    let now = app.clock.now();
    let merchant = find_merchant(tx, merchant_id).await?.filter(|merchant| merchant.disabled_at.is_none());
    let merchant = merchant.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_merchant"))?;
    // The merchant before its accounts, as who closes it does.
    check_limit(tx, merchant_id, Limited::Organizations, now).await?;
    let facts = facts.checked(tx, merchant_id).await?;
    let organization = Organization {
        id: OrganizationId::from_random(app.entropy.bytes()),
        merchant_id: merchant.id,
        facts,
        x_address: XAddress::assigned(app.entropy.bytes()),
        created_at: now,
        disabled_at: None,
        version: 0,
    };
    insert_office_address(tx, &organization.x_address, now).await?;
    store::insert_organization(tx, &organization).await?;
    store::put_heads(tx, &organization.id, &organization.facts.heads, now).await?;
    write_heads(app, tx, (&BTreeSet::new(), &organization), actor, caller).await?;
    write(app, tx, "organization.create", &organization, actor, caller).await?;
    Ok(organization)
}
