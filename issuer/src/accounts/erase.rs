//! What of an account goes when it is erased.

use super::{Account, store};
use crate::app::App;
use crate::storage::{StorageError, Tx};
use margrave_shared::time::UnixMs;

/// Takes an account's name and audit key away. The name is remembered as a keyed hash.
pub(crate) async fn erase(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    now: UnixMs,
) -> Result<(), StorageError> {
    if let Some(key) = store::find_username_key(tx, &account.id).await? {
        store::insert_erased_name(tx, &tag(app, &key), now).await?;
    }
    store::update_erased(tx, &account.id, now).await
}

/// Whether a username in its normal form was somebody's who is gone.
pub(super) async fn is_erased_name(app: &App, tx: &mut Tx, key: &str) -> Result<bool, StorageError> {
    store::find_erased_name(tx, &tag(app, key)).await
}

fn tag(app: &App, key: &str) -> [u8; 32] {
    app.name_key.tag(&[key.as_bytes()])
}
