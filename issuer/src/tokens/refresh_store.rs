//! The refresh tokens' SQL. Tokens are stored as hashes.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::{ClientId, SessionId, TokenId};
use margrave_shared::permission::{Permission, parse_scope, print_scope};
use margrave_shared::session::rotate::{ChildState, TokenState};
use margrave_shared::time::UnixMs;
use std::collections::BTreeSet;

const INSERT: &str = "INSERT INTO refresh_tokens
    (hash, family, parent_hash, sid, client_id, audience, scope, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const FIND: &str =
    "SELECT family, parent_hash, sid, client_id, audience, scope, expires_at, used_at, child_used_at,
    retry_key, retry_answer FROM refresh_tokens WHERE hash = $1";
const CONSUME: &str =
    "UPDATE refresh_tokens SET used_at = $2, retry_key = $3 WHERE hash = $1 AND used_at IS NULL";
// Of a session, account and merchant that still are as they were found.
const CONSUME_STANDING: &str =
    "UPDATE refresh_tokens SET used_at = $2, retry_key = $3 WHERE hash = $1 AND used_at IS NULL AND EXISTS (
    SELECT 1 FROM sessions s JOIN accounts a ON a.id = s.account_id JOIN merchants m ON m.id = a.merchant_id
    WHERE s.sid = refresh_tokens.sid AND s.ended_at IS NULL AND s.seen_at = $4 AND s.generation = a.generation
    AND a.disabled_at IS NULL AND a.version = $5 AND m.disabled_at IS NULL AND m.version = $6)";
const SET_ANSWER: &str = "UPDATE refresh_tokens SET retry_answer = $2 WHERE hash = $1";
const CHILD_USED: &str = "UPDATE refresh_tokens SET child_used_at = $2, retry_answer = NULL WHERE hash = $1 AND child_used_at IS NULL";
const DELETE_DEAD: &str = "DELETE FROM refresh_tokens WHERE hash IN
    (SELECT hash FROM refresh_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, CONSUME, CONSUME_STANDING, SET_ANSWER, CHILD_USED, DELETE_DEAD];

/// A refresh token's row.
#[derive(Debug, Clone)]
pub(crate) struct RefreshRow {
    /// The chain of rotations.
    pub(crate) family: TokenId,
    /// The token it came from.
    pub(crate) parent_hash: Option<Vec<u8>>,
    /// Its session.
    pub(crate) sid: SessionId,
    /// Its client.
    pub(crate) client_id: ClientId,
    /// The audiences of its permission tokens, separated by spaces.
    pub(crate) audience: String,
    /// What was granted.
    pub(crate) scope: BTreeSet<Permission>,
    /// When it expires.
    pub(crate) expires_at: UnixMs,
    /// Its state as the rule sees it.
    pub(crate) state: TokenState,
    /// The sealed answer of its first use.
    pub(crate) retry_answer: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    family: String,
    parent_hash: Option<Vec<u8>>,
    sid: String,
    client_id: String,
    audience: String,
    scope: String,
    expires_at: i64,
    used_at: Option<i64>,
    child_used_at: Option<i64>,
    retry_key: Option<Vec<u8>>,
    retry_answer: Option<Vec<u8>>,
}

impl TryFrom<Row> for RefreshRow {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "refresh_tokens", column };
        let retry_key =
            row.retry_key.map(|key| key.try_into().map_err(|_| corrupt("retry_key"))).transpose()?;
        let child = if row.child_used_at.is_some() { ChildState::Used } else { ChildState::Unused };
        Ok(Self {
            family: TokenId::parse(&row.family).map_err(|_| corrupt("family"))?,
            parent_hash: row.parent_hash,
            sid: SessionId::parse(&row.sid).map_err(|_| corrupt("sid"))?,
            client_id: ClientId::parse(&row.client_id).map_err(|_| corrupt("client_id"))?,
            audience: row.audience,
            scope: parse_scope(&row.scope).map_err(|_| corrupt("scope"))?,
            expires_at: UnixMs(row.expires_at),
            state: match row.used_at {
                None => TokenState::Live,
                Some(at) => TokenState::Used { at: UnixMs(at), retry_key, child },
            },
            retry_answer: row.retry_answer,
        })
    }
}

/// Inserts a token by its hash.
pub(crate) async fn insert_refresh(
    tx: &mut Tx,
    hash: &[u8; 32],
    row: &RefreshRow,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(hash.as_slice())
        .bind(row.family.as_str())
        .bind(row.parent_hash.as_deref())
        .bind(row.sid.as_str())
        .bind(row.client_id.as_str())
        .bind(&row.audience)
        .bind(print_scope(&row.scope))
        .bind(now.0)
        .bind(row.expires_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// A token by its hash.
pub(crate) async fn find_refresh(tx: &mut Tx, hash: &[u8; 32]) -> Result<Option<RefreshRow>, StorageError> {
    let row: Option<Row> =
        on_tx!(tx, c => sqlx::query_as(FIND).bind(hash.as_slice()).fetch_optional(c).await)?;
    row.map(RefreshRow::try_from).transpose()
}

/// Marks a live token used; `false` when somebody else was faster, and then this use is reuse.
pub(crate) async fn consume_refresh(
    tx: &mut Tx,
    hash: &[u8; 32],
    retry_key: Option<[u8; 32]>,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CONSUME)
        .bind(hash.as_slice())
        .bind(now.0)
        .bind(retry_key.map(|key| key.to_vec()))
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// What of a session, its account and its merchant must be as it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// When the session was last seen.
    pub(crate) seen_at: UnixMs,
    /// The version of the account's settings.
    pub(crate) account_version: i64,
    /// The version of the merchant's settings.
    pub(crate) merchant_version: i64,
}

/// Marks a live token used whose session stands; `false` when it does not, or not as it was found, or somebody else was faster.
pub(crate) async fn consume_standing_refresh(
    tx: &mut Tx,
    hash: &[u8; 32],
    retry_key: Option<[u8; 32]>,
    standing: Standing,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(CONSUME_STANDING)
        .bind(hash.as_slice())
        .bind(now.0)
        .bind(retry_key.map(|key| key.to_vec()))
        .bind(standing.seen_at.0)
        .bind(standing.account_version)
        .bind(standing.merchant_version)
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Keeps the sealed answer of a use for an honest retry.
pub(crate) async fn set_retry_answer(
    tx: &mut Tx,
    hash: &[u8; 32],
    sealed: &[u8],
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(SET_ANSWER).bind(hash.as_slice()).bind(sealed).execute(c).await.map(|_| ()))
}

/// Remembers that a token's child was used, and forgets the sealed answer.
pub(crate) async fn mark_child_used(tx: &mut Tx, parent: &[u8], now: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(CHILD_USED).bind(parent).bind(now.0).execute(c).await.map(|_| ()))
}

/// Deletes tokens whose sessions are over; at most `limit`, gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs, limit: i64) -> Result<u64, StorageError> {
    on_tx!(tx, c => sqlx::query(DELETE_DEAD)
        .bind(now.0)
        .bind(limit)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
