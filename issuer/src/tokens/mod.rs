//! Permission and refresh tokens: minted, presented, rotated.

mod audience;
mod mint;
mod presented;
mod refresh_store;
mod status;
pub(crate) mod status_routes;
mod status_store;

pub(crate) use audience::choose_audience;
pub(crate) use mint::{claims_for_key, claims_for_person, sign, sign_unlisted};
pub(crate) use presented::{Presented, check_presented, is_alive};
pub(crate) use refresh_store::{
    RefreshRow, Standing, consume_refresh, consume_standing_refresh, find_refresh, insert_refresh,
    mark_child_used, set_retry_answer,
};
pub(crate) use status::StatusLists;

use crate::storage::{StorageError, Tx};
use margrave_shared::time::UnixMs;

/// Deletes what has died; at most `limit` rows of each table, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    Ok(refresh_store::delete_dead(tx, now, limit).await? + status_store::delete_dead(tx, now, limit).await?)
}
