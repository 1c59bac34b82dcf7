//! Organisations of a merchant (X2, X3): so far their names, the permanent addresses of their heads' offices, and who heads them. Units,
//! positions and entering an office build on it.

mod change;
mod create;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use change::{change_organization, disable_organization, enable_organization};
pub(crate) use create::create_organization;
pub(crate) use store::{delete_head, find_headed, find_organization, find_organizations};

use crate::accounts::{Account, find_account, lock_accounts};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{AccountId, MerchantId, OrganizationId};
use margrave_shared::label::check_label;
use margrave_shared::time::UnixMs;
use margrave_shared::x_address::XAddress;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Organization {
    /// Its id.
    #[serde(rename = "organization_id")]
    pub(crate) id: OrganizationId,
    /// Whose it is.
    pub(crate) merchant_id: MerchantId,
    /// What it is.
    #[serde(flatten)]
    pub(crate) facts: OrganizationFacts,
    /// The address of its head's office: nobody else gets it, whatever becomes of the organisation.
    pub(crate) x_address: XAddress,
    /// When it was made.
    pub(crate) created_at: UnixMs,
    /// Since when it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<UnixMs>,
    /// Raised by every change.
    #[serde(skip)]
    pub(crate) version: i64,
}

/// What an administrator says of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationFacts {
    /// Its name.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) name: String,
    /// The accounts that head it. Always said: a change that names none leaves none.
    #[schemars(length(max = 100))]
    pub(crate) heads: BTreeSet<AccountId>,
}

/// The most heads of an organisation.
const MOST_HEADS: usize = 100;

impl OrganizationFacts {
    /// The same, as it is kept.
    ///
    /// # Errors
    /// `invalid_field` for a name that is none, too many heads, or one who is no living account of the merchant.
    async fn checked(mut self, tx: &mut Tx, merchant: &MerchantId) -> Result<Self, Failure> {
        let invalid = |problem: String| Failure::explained(ErrorCode::InvalidField, problem);
        self.name = check_label(&self.name).map_err(|problem| invalid(problem.to_string()))?.to_owned();
        if self.heads.len() > MOST_HEADS {
            return Err(invalid(format!("at most {MOST_HEADS} heads")));
        }
        // Looked at before they are locked, so that nobody holds up another merchant's people; and after, since one may be erased meanwhile.
        self.expect_heads(tx, merchant).await?;
        if !self.heads.is_empty() {
            lock_accounts(tx, &self.heads.iter().cloned().collect::<Vec<_>>()).await?;
            self.expect_heads(tx, merchant).await?;
        }
        Ok(self)
    }

    async fn expect_heads(&self, tx: &mut Tx, merchant: &MerchantId) -> Result<(), Failure> {
        for head in &self.heads {
            let found = find_account(tx, head).await?;
            let is_one = |account: &Account| account.merchant_id == *merchant && account.erased_at.is_none();
            if !found.as_ref().is_some_and(is_one) {
                let problem = format!("`heads`: there is no account {head}");
                return Err(Failure::explained(ErrorCode::InvalidField, problem));
            }
        }
        Ok(())
    }
}

/// Writes who has become a head and who is none any more, each as an entry about them.
async fn write_heads(
    app: &App,
    tx: &mut Tx,
    (before, after): (&BTreeSet<AccountId>, &Organization),
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let now = &after.facts.heads;
    let appointed = now.difference(before).map(|head| ("organization.appoint_head", head));
    let dismissed = before.difference(now).map(|head| ("organization.dismiss_head", head));
    for (act, head) in appointed.chain(dismissed) {
        let entry =
            Entry::done(act).merchant(&after.merchant_id).actor(actor).subject(format!("account:{head}"));
        app.audit.write(tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?;
    }
    Ok(())
}

async fn write(
    app: &App,
    tx: &mut Tx,
    act: &'static str,
    organization: &Organization,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let entry = Entry::done(act)
        .merchant(&organization.merchant_id)
        .actor(actor)
        .subject(format!("organization:{}", organization.id));
    Ok(app.audit.write(tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?)
}
