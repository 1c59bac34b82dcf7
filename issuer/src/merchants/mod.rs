//! Merchants, their services and their keys.

mod authenticate_key;
mod change;
mod create;
mod create_key;
mod limit_store;
mod limits;
mod reset_platform;
mod revoke_key;
mod rotate_key;
mod settings;
mod store;

pub(crate) use authenticate_key::{
    AuthenticatedKey, PresentedKeys, authenticate_key, authenticate_key_among_many, remember_use,
};
pub(crate) use change::{change_limits, change_merchant, change_services};
pub(crate) use create::{NewMerchant, create_merchant, create_merchant_in};
pub(crate) use create_key::{NewKey, create_key, create_key_in};
pub(crate) use limit_store::find_limits;
pub(crate) use limits::{Limited, MerchantLimits, check_limit, check_limit_ahead};
pub(crate) use reset_platform::{reset_platform, watch_resets};
pub(crate) use revoke_key::{revoke_all_keys, revoke_key};
pub(crate) use rotate_key::{rotate_key, rotate_key_in};
pub(crate) use settings::MerchantSettings;
pub(crate) use store::{
    find_key, find_keys, find_keys_after, find_last_reset, find_merchant, find_merchants, find_services,
    update_disabled, update_enabled, update_import_hash, update_last_used,
};

use crate::failure::Failure;
use margrave_shared::account_reset::MAY_RESET;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{KeyId, MerchantId};
use margrave_shared::permission::Permission;
use margrave_shared::secret::SecretText;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A merchant.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Merchant {
    /// Its id.
    pub(crate) id: MerchantId,
    /// Its name, for people.
    pub(crate) name: String,
    /// Its settings.
    pub(crate) settings: MerchantSettings,
    /// Raised by every change.
    #[serde(skip)]
    pub(crate) version: i64,
    /// What checking an imported password costs.
    #[serde(skip)]
    pub(crate) import_hash: Option<String>,
    /// When it was made.
    pub(crate) created_at: UnixMs,
    /// Since when it runs the system: its keys may hold `platform:*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform_at: Option<UnixMs>,
    /// Since when it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<UnixMs>,
}

/// A service of a merchant: an audience with its own permission names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// The `aud` of its tokens.
    #[schemars(regex(pattern = "^[!-~]{1,200}$"))]
    pub(crate) audience: String,
    /// The permissions it knows.
    pub(crate) permissions: BTreeSet<Permission>,
}

/// A merchant key, without its secret.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct MerchantKey {
    /// Its id, the user name of HTTP Basic.
    pub(crate) key_id: KeyId,
    /// Whose it is.
    pub(crate) merchant_id: MerchantId,
    /// What it permits.
    pub(crate) permissions: BTreeSet<Permission>,
    /// When it was made.
    pub(crate) created_at: UnixMs,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<UnixMs>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<UnixMs>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at: Option<UnixMs>,
}

/// A new key with its secret, shown this once.
#[derive(Debug)]
pub(crate) struct IssuedKey {
    /// Its id.
    pub(crate) key_id: KeyId,
    /// Its secret.
    pub(crate) secret: SecretText,
    /// When it expires.
    pub(crate) expires_at: Option<UnixMs>,
}

/// What the keys may do by which the system is run for the first time, or again: everything, the rights of their own too.
pub(crate) fn all_rights() -> BTreeSet<Permission> {
    ["admin:*", "platform:*", MAY_RESET].into_iter().filter_map(|name| Permission::parse(name).ok()).collect()
}

/// Whether a key, a role or an account of a merchant may hold these: what reaches beyond one merchant is the platform's only.
///
/// # Errors
/// `invalid_field`.
pub(crate) fn check_platform(of_platform: bool, permissions: &BTreeSet<Permission>) -> Result<(), Failure> {
    if of_platform || !permissions.iter().any(Permission::is_of_platform) {
        return Ok(());
    }
    let text = "`platform:` permissions belong to the platform merchant";
    Err(Failure::explained(ErrorCode::InvalidField, text))
}
