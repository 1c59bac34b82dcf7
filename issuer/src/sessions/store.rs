//! The sessions' SQL.

use super::Session;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::claims::SessionLimits;
use margrave_shared::id::{AccountId, ClientId, MerchantId, SessionId};
use margrave_shared::session::Ending;
use margrave_shared::time::UnixMs;

const INSERT: &str = "INSERT INTO sessions
    (sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s, auth_time_s, amr,
    forget_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const FIND: &str =
    "SELECT sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
    auth_time_s, amr, ending FROM sessions WHERE sid = $1";
const FIND_BY_ACCOUNT: &str =
    "SELECT sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
    auth_time_s, amr, ending FROM sessions WHERE account_id = $1 AND ended_at IS NULL ORDER BY sid";
const SEE: &str = "UPDATE sessions SET seen_at = $2 WHERE sid = $1 AND ended_at IS NULL AND seen_at < $2";
const END: &str = "UPDATE sessions SET ended_at = $2, ending = $3 WHERE sid = $1 AND ended_at IS NULL";
const DELETE_DEAD: &str = "DELETE FROM sessions WHERE sid IN
    (SELECT sid FROM sessions WHERE forget_at < $1 ORDER BY forget_at LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] = &[INSERT, FIND, FIND_BY_ACCOUNT, SEE, END, DELETE_DEAD];

#[derive(sqlx::FromRow)]
struct Row {
    sid: String,
    merchant_id: String,
    account_id: String,
    generation: i64,
    client_id: String,
    started_at: i64,
    seen_at: i64,
    idle_s: i64,
    until_s: i64,
    auth_time_s: i64,
    amr: String,
    ending: Option<String>,
}

impl TryFrom<Row> for Session {
    type Error = StorageError;
    fn try_from(row: Row) -> Result<Self, StorageError> {
        let corrupt = |column| StorageError::Corrupt { table: "sessions", column };
        Ok(Self {
            sid: SessionId::parse(&row.sid).map_err(|_| corrupt("sid"))?,
            merchant_id: MerchantId::parse(&row.merchant_id).map_err(|_| corrupt("merchant_id"))?,
            account_id: AccountId::parse(&row.account_id).map_err(|_| corrupt("account_id"))?,
            generation: row.generation,
            client_id: ClientId::parse(&row.client_id).map_err(|_| corrupt("client_id"))?,
            started_at: UnixMs(row.started_at),
            seen_at: UnixMs(row.seen_at),
            limits: SessionLimits { idle_s: row.idle_s, until_s: row.until_s },
            auth_time_s: row.auth_time_s,
            amr: row.amr,
            ending: match row.ending {
                None => None,
                Some(text) => Some(Ending::parse(&text).ok_or(corrupt("ending"))?),
            },
        })
    }
}

/// Inserts a session; its row may be forgotten after `forget_at`.
pub(crate) async fn insert_session(
    tx: &mut Tx,
    session: &Session,
    forget_at: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(session.sid.as_str())
        .bind(session.merchant_id.as_str())
        .bind(session.account_id.as_str())
        .bind(session.generation)
        .bind(session.client_id.as_str())
        .bind(session.started_at.0)
        .bind(session.seen_at.0)
        .bind(session.limits.idle_s)
        .bind(session.limits.until_s)
        .bind(session.auth_time_s)
        .bind(&session.amr)
        .bind(forget_at.0)
        .execute(c)
        .await
        .map(|_| ()))
}

/// A session by its id, ended or not.
pub(crate) async fn find_session(tx: &mut Tx, sid: &SessionId) -> Result<Option<Session>, StorageError> {
    let row: Option<Row> = on_tx!(tx, c => sqlx::query_as(FIND).bind(sid.as_str()).fetch_optional(c).await)?;
    row.map(Session::try_from).transpose()
}

/// An account's sessions that have not ended, oldest first.
pub(crate) async fn find_by_account(tx: &mut Tx, account: &AccountId) -> Result<Vec<Session>, StorageError> {
    let rows: Vec<Row> =
        on_tx!(tx, c => sqlx::query_as(FIND_BY_ACCOUNT).bind(account.as_str()).fetch_all(c).await)?;
    rows.into_iter().map(Session::try_from).collect()
}

/// Moves the last activity forward, never back, and never of an ended session.
pub(super) async fn update_seen(tx: &mut Tx, sid: &SessionId, at: UnixMs) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(SEE).bind(sid.as_str()).bind(at.0).execute(c).await.map(|_| ()))
}

/// Ends a session; `false` when it had ended.
pub(super) async fn update_ended(
    tx: &mut Tx,
    sid: &SessionId,
    ending: Ending,
    now: UnixMs,
) -> Result<bool, StorageError> {
    on_tx!(tx, c => sqlx::query(END)
        .bind(sid.as_str())
        .bind(now.0)
        .bind(ending.as_str())
        .execute(c)
        .await
        .map(|done| done.rows_affected() == 1))
}

/// Deletes rows that nothing asks for any more; at most `limit`, gives how many.
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
