//! Signing keys: made, sealed, published, rotated, taken away.

mod retire_now;
mod ring;
mod root;
mod rotate;
pub(crate) mod routes;
mod seal;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use retire_now::retire_now;
pub(crate) use ring::{KeyRing, Signer};
pub(crate) use root::{MasterKeys, ROOT_IS_GONE, Rewrapped, find_root, opening_key, root, rotate_master_key};
pub(crate) use rotate::{Rotated, rotate, run_rotation};
pub(crate) use seal::{open, seal};

use crate::failure::Failure;
use crate::storage::{Db, StorageError};
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::ScheduledKey;
use margrave_shared::secret::SecretKey;

/// Whether the key that signs opens with the root key; gives its id, and nothing where there is none yet.
///
/// # Errors
/// [`Failure::Internal`] where it does not open.
pub(crate) async fn check_keys(db: &Db, root: &SecretKey) -> Result<Option<Kid>, Failure> {
    let ring = KeyRing::new(sealing_key(root));
    ring.reload(db).await?;
    Ok(ring.signer().ok().map(|signer| signer.kid().clone()))
}

/// What seals signing keys.
pub(crate) fn sealing_key(root: &SecretKey) -> SecretKey {
    root.derive("signing keys")
}

/// For what a signing key is sealed.
fn purpose(kid: &Kid) -> String {
    format!("signing key {kid}")
}

/// Every key there is, for listings.
pub(crate) async fn list(db: &Db) -> Result<Vec<ScheduledKey>, StorageError> {
    let mut tx = db.read().await?;
    Ok(store::find_all(&mut tx).await?.into_iter().map(|row| row.key).collect())
}
