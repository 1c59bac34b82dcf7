//! The signing keys' SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::Kid;
use margrave_shared::jwk::schedule::{KeyState, ScheduledKey};
use margrave_shared::time::UnixMs;

const FIND_ALL: &str = "SELECT kid, state, public_key, sealed_private, published_at, changed_at
    FROM signing_keys ORDER BY published_at, kid";
const INSERT: &str =
    "INSERT INTO signing_keys (kid, state, public_key, sealed_private, published_at, changed_at)
    VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING";
const CHANGE_STATE: &str =
    "UPDATE signing_keys SET state = $3, changed_at = $4 WHERE kid = $1 AND state = $2";

const FIND_ROOT: &str = "SELECT sealed, version FROM root_key WHERE id = 1";
const INSERT_ROOT: &str = "INSERT INTO root_key (id, sealed, version, changed_at) VALUES (1, $1, 0, $2) ON CONFLICT (id) DO NOTHING";
const UPDATE_ROOT: &str =
    "UPDATE root_key SET sealed = $1, version = version + 1, changed_at = $3 WHERE id = 1 AND version = $2";

#[cfg(test)]
const ALL: &[&str] = &[FIND_ALL, INSERT, CHANGE_STATE, FIND_ROOT, INSERT_ROOT, UPDATE_ROOT];

#[derive(sqlx::FromRow)]
struct Row {
    kid: String,
    state: String,
    public_key: Vec<u8>,
    sealed_private: Vec<u8>,
    published_at: i64,
    changed_at: i64,
}

/// A key with its bytes.
pub(super) struct KeyRow {
    pub(super) key: ScheduledKey,
    pub(super) public: [u8; 32],
    pub(super) sealed: Vec<u8>,
}

const fn corrupt(column: &'static str) -> StorageError {
    StorageError::Corrupt { table: "signing_keys", column }
}

/// The root key as it lies there.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RootRow {
    /// Sealed with a master key.
    pub(super) sealed: Vec<u8>,
    /// Raised by every change of the master key.
    pub(super) version: i64,
}

pub(super) async fn find_root(tx: &mut Tx) -> Result<Option<RootRow>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND_ROOT).fetch_optional(c).await)
}

/// Puts the root key there, unless one is.
pub(super) async fn insert_root(tx: &mut Tx, sealed: &[u8], now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT_ROOT).bind(sealed).bind(now.0).execute(c).await.map(|_| ()))
}

/// Seals it anew; `false` when somebody else has.
pub(super) async fn update_root(
    tx: &mut Tx,
    sealed: &[u8],
    version: i64,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(UPDATE_ROOT)
        .bind(sealed)
        .bind(version)
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

pub(super) async fn find_all(tx: &mut Tx) -> Result<Vec<KeyRow>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_ALL).fetch_all(c).await)?;
    rows.into_iter()
        .map(|row| {
            Ok(KeyRow {
                key: ScheduledKey {
                    kid: Kid::parse(&row.kid).map_err(|_| corrupt("kid"))?,
                    state: KeyState::parse(&row.state).ok_or(corrupt("state"))?,
                    published_at: UnixMs(row.published_at),
                    changed_at: UnixMs(row.changed_at),
                },
                public: row.public_key.try_into().map_err(|_| corrupt("public_key"))?,
                sealed: row.sealed_private,
            })
        })
        .collect()
}

/// Inserts a key unless another process was faster: one active and one standby key are all there may be.
pub(super) async fn insert_key(
    tx: &mut Tx,
    kid: &Kid,
    state: KeyState,
    public: &[u8; 32],
    sealed: &[u8],
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(kid.as_str())
        .bind(state.as_str())
        .bind(public.as_slice())
        .bind(sealed)
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Moves a key from one state to another; `false` when somebody else already has.
pub(super) async fn update_state(
    tx: &mut Tx,
    kid: &Kid,
    from: KeyState,
    to: KeyState,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CHANGE_STATE)
        .bind(kid.as_str())
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(now.0)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn one_active_and_one_standby(db: crate::storage::Db) {
        prepare_all(&db, ALL).await;
        let kid = |name: &str| Kid::parse(name).unwrap();
        let mut tx = db.begin().await.unwrap();
        let now = UnixMs(5);
        assert!(insert_key(&mut tx, &kid("a"), KeyState::Active, &[1; 32], &[1], now).await.unwrap());
        assert!(!insert_key(&mut tx, &kid("b"), KeyState::Active, &[2; 32], &[1], now).await.unwrap());
        assert!(insert_key(&mut tx, &kid("c"), KeyState::Standby, &[3; 32], &[1], now).await.unwrap());
        assert!(!update_state(&mut tx, &kid("a"), KeyState::Standby, KeyState::Retired, now).await.unwrap());
        assert!(update_state(&mut tx, &kid("a"), KeyState::Active, KeyState::Retiring, now).await.unwrap());
        assert!(
            update_state(&mut tx, &kid("c"), KeyState::Standby, KeyState::Active, UnixMs(9)).await.unwrap()
        );
        tx.commit().await.unwrap();
        let mut tx = db.read().await.unwrap();
        let keys: Vec<_> = find_all(&mut tx).await.unwrap().into_iter().map(|row| row.key).collect();
        assert_eq!(keys.len(), 2);
        assert_eq!(
            (keys[1].state, keys[1].published_at, keys[1].changed_at),
            (KeyState::Active, now, UnixMs(9))
        );
    }
    on_both_databases!(keys, super::one_active_and_one_standby);
}
