//! The database: SQLite or PostgreSQL behind one SQL text. No capability's SQL stands here.

mod checkpoint;
mod db;
mod error;
mod migrate;
mod sqlite_writer;
mod together;

pub(crate) use checkpoint::run as run_checkpoints;
pub(crate) use db::{Db, Tx, on_tx};
pub(crate) use error::StorageError;
pub(crate) use migrate::{is_current, latest_schema, migrate, migrate_to};
pub(crate) use together::{Joint, Together};

#[cfg(test)]
pub(crate) mod testing;
