//! Signing keys: made, sealed, published, rotated, taken away.

mod retire_now;
mod ring;
mod rotate;
pub(crate) mod routes;
mod seal;
mod store;

pub(crate) use retire_now::retire_now;
pub(crate) use ring::{KeyRing, Signer};
pub(crate) use rotate::{Rotated, rotate, run_rotation};
pub(crate) use seal::{open, seal};

use crate::storage::{Db, StorageError};
use margrave_shared::jwk::schedule::ScheduledKey;

/// Every key there is, for listings.
pub(crate) async fn list(db: &Db) -> Result<Vec<ScheduledKey>, StorageError> {
    let mut tx = db.read().await?;
    Ok(store::find_all(&mut tx).await?.into_iter().map(|row| row.key).collect())
}
