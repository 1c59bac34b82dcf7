//! Accounts: end users, each bound to one merchant for good.

mod audit_key;
mod create;
mod device_standing;
mod erase;
mod import;
pub(crate) mod routes;
mod settings;
mod store;

pub(crate) use audit_key::give_audit_keys;
pub(crate) use create::{NewAccount, create_account};
pub(crate) use device_standing::device_standing;
pub(crate) use erase::erase;
pub(crate) use import::{Imported, ImportedAccount, Unused, end_import, import_account};
pub(crate) use settings::AccountSettings;
pub(crate) use store::{
    Filter, add_failure, disable_account, enable_account, find_account, find_audit_key, find_by_login,
    find_by_merchant, insert_office_address, lock_account, lock_accounts, raise_device_generation,
    raise_generation, raise_generations, raise_versions, reset_failures, update_settings,
};

use crate::audit::Person;
use margrave_shared::id::{AccountId, MerchantId};
use margrave_shared::time::UnixMs;
use margrave_shared::x_address::XAddress;
use schemars::JsonSchema;
use serde::Serialize;

/// The most consecutive failures before an account can be reached by recovery only (NIST SP 800-63B-4 §3.2.2).
pub(crate) const MAX_FAILURES: i64 = 100;

/// How many of these somebody with a session can use up by guessing the current password.
pub(crate) const MAX_FAILURES_WITH_SESSION: i64 = 95;

/// How many of these strangers can use up: the rest is for devices that the account's owner has logged in from, so that a
/// flood that goes on for days does not keep the owner out.
pub(crate) const MAX_FAILURES_OF_STRANGERS: i64 = 90;

/// An account.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: AccountId,
    /// Its merchant.
    pub(crate) merchant_id: MerchantId,
    /// Its username as its owner writes it.
    pub(crate) username: String,
    /// The address of its personal cabinet.
    pub(crate) x_address: XAddress,
    /// Raised by whatever ends all its tokens.
    pub(crate) generation: i64,
    /// Raised by whatever makes its known devices forgotten.
    #[serde(skip)]
    pub(crate) device_generation: i64,
    /// What of it differs from its merchant's settings.
    #[serde(skip)]
    pub(crate) settings: AccountSettings,
    /// Raised by every change of these.
    #[serde(skip)]
    pub(crate) version: i64,
    /// When it was made.
    pub(crate) created_at: UnixMs,
    /// Since when it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<UnixMs>,
    /// What seals the personal part of its audit entries, itself sealed.
    #[serde(skip)]
    pub(crate) audit_key: Option<Vec<u8>>,
    /// Since when it is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) erased_at: Option<UnixMs>,
}

impl Account {
    /// Under whose key the audit keeps what is personal about a request of theirs.
    pub(crate) fn person(&self) -> Option<Person> {
        let sealed_key = self.audit_key.clone().filter(|_| self.erased_at.is_none())?;
        Some(Person { id: self.id.clone(), sealed_key, login: None })
    }
}
