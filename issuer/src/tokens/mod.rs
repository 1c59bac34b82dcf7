//! Permission and refresh tokens: minted, presented, rotated.

mod audience;
mod mint;
mod presented;
mod refresh_store;

pub(crate) use audience::choose_audience;
pub(crate) use mint::{mint_for_key, mint_for_person};
pub(crate) use presented::{Presented, check_presented, is_alive};
pub(crate) use refresh_store::{
    RefreshRow, consume_refresh, delete_dead, find_refresh, insert_refresh, mark_child_used, set_retry_answer,
};
