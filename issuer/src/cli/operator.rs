//! Whoever has a shell and the master key: they may give whatever there is to give.

use super::CommandError;
use crate::app::App;
use crate::merchants::{all_rights, find_merchant};
use crate::permissions::Giver;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::Permission;
use std::collections::BTreeSet;

/// As the audit names them.
pub(super) const ACTOR: &str = "operator";

/// What they may do.
pub(super) fn scope() -> BTreeSet<Permission> {
    all_rights()
}

/// Them as somebody who gives rights within a merchant.
pub(super) async fn giver<'a>(
    app: &App,
    merchant: &MerchantId,
    scope: &'a BTreeSet<Permission>,
) -> Result<Giver<'a>, CommandError> {
    let found = find_merchant(&mut app.db.read().await?, merchant).await?;
    let found = found.ok_or_else(|| CommandError::Text(format!("there is no merchant {merchant}")))?;
    Ok(Giver { actor: ACTOR, scope, of_platform: found.platform_at.is_some() })
}
