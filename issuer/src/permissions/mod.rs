//! What accounts may do: roles, and what administrators give them beside (L8). Whatever takes a right away ends the tokens that
//! carry it.

mod held;
mod roles;
mod settings;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use held::find_held;
pub(crate) use roles::{change_role, create_role, delete_role};
pub(crate) use settings::{AccountRights, change_rights, find_rights};
pub(crate) use store::{delete_grants_of, find_role, find_roles};

use crate::failure::Failure;
use crate::merchants::check_platform;
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::Permission;
use margrave_shared::role::{RoleName, beyond_the_giver};
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// A role of a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Role {
    /// Its name.
    pub(crate) name: RoleName,
    /// What it permits.
    pub(crate) permissions: BTreeSet<Permission>,
    /// When it was made.
    pub(crate) created_at: UnixMs,
    /// Raised by every change.
    #[serde(skip)]
    pub(crate) version: i64,
}

/// Who gives rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Giver<'a> {
    /// As the audit names them.
    pub(crate) actor: &'a str,
    /// What they may do themselves.
    pub(crate) scope: &'a BTreeSet<Permission>,
    /// Whether what they give is of the merchant that runs the system.
    pub(crate) of_platform: bool,
}

impl Giver<'_> {
    /// Whether they may change `before` into `after`.
    ///
    /// # Errors
    /// `insufficient_permission` for what they do not hold themselves, `invalid_field` for what can belong to no account of this
    /// merchant.
    fn check(&self, before: &BTreeSet<Permission>, after: &BTreeSet<Permission>) -> Result<(), Failure> {
        check_platform(self.of_platform, after)?;
        if after.len() > MAX_PERMISSIONS {
            let text = format!("at most {MAX_PERMISSIONS} permissions");
            return Err(Failure::explained(ErrorCode::InvalidField, text));
        }
        match beyond_the_giver(self.scope, before, after) {
            Some(_) => Err(Failure::denied(ErrorCode::InsufficientPermission, "gives_what_is_not_held")),
            None => Ok(()),
        }
    }
}

/// The most permissions of one role or account: a token has to stay small enough for a header.
const MAX_PERMISSIONS: usize = 100;

/// Whether something that was held is not any more.
fn narrows(before: &BTreeSet<Permission>, after: &BTreeSet<Permission>) -> bool {
    before.iter().any(|p| !margrave_shared::permission::holds(after, p))
}
