//! The sessions' SQL.

use super::Session;
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::claims::SessionLimits;
use margrave_shared::id::{AccountId, ClientId, MerchantId, SessionId};
use margrave_shared::session::Ending;
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;
use std::collections::BTreeSet;

const INSERT: &str = "INSERT INTO sessions
    (sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s, auth_time_s, amr,
    forget_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const FIND: &str =
    "SELECT sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
    auth_time_s, amr, ending FROM sessions WHERE sid = $1";
const FIND_BY_ACCOUNT: &str =
    "SELECT sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
    auth_time_s, amr, ending FROM sessions WHERE account_id = $1 AND ended_at IS NULL ORDER BY sid";
const FIND_PAGE: &str =
    "SELECT sid, merchant_id, account_id, generation, client_id, started_at, seen_at, idle_s, until_s,
    auth_time_s, amr, ending FROM sessions WHERE account_id = $1 AND ended_at IS NULL AND sid > $2 ORDER BY sid LIMIT $3";
const FIND_ALL_IDS: &str = "SELECT sid FROM sessions WHERE account_id = $1";
const FIND_ACCOUNTS: &str =
    "SELECT DISTINCT account_id FROM sessions WHERE merchant_id = $1 AND ended_at IS NULL";
const SEE: &str = "UPDATE sessions SET seen_at = $2 WHERE sid = $1 AND ended_at IS NULL AND seen_at < $2";
const END: &str = "UPDATE sessions SET ended_at = $2, ending = $3 WHERE sid = $1 AND ended_at IS NULL";
const DELETE_DEAD: &str = "DELETE FROM sessions WHERE sid IN
    (SELECT sid FROM sessions WHERE forget_at < $1 ORDER BY forget_at LIMIT $2)";

#[cfg(test)]
const ALL: &[&str] =
    &[INSERT, FIND, FIND_BY_ACCOUNT, FIND_PAGE, FIND_ALL_IDS, FIND_ACCOUNTS, SEE, END, DELETE_DEAD];

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

/// A page of an account's sessions that have not ended, by their ids.
pub(crate) async fn find_page(
    tx: &mut Tx,
    account: &AccountId,
    after: &str,
    limit: i64,
) -> Result<Vec<Session>, StorageError> {
    let rows: Vec<Row> = on_tx!(tx, c => sqlx::query_as(FIND_PAGE)
        .bind(account.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(c)
        .await)?;
    rows.into_iter().map(Session::try_from).collect()
}

/// An account's sessions that have not ended, by their ids.
pub(crate) async fn find_by_account(tx: &mut Tx, account: &AccountId) -> Result<Vec<Session>, StorageError> {
    let rows: Vec<Row> =
        on_tx!(tx, c => sqlx::query_as(FIND_BY_ACCOUNT).bind(account.as_str()).fetch_all(c).await)?;
    rows.into_iter().map(Session::try_from).collect()
}

/// The ids of all sessions of an account that are known still, ended or not.
pub(crate) async fn find_all_ids(
    tx: &mut Tx,
    account: &AccountId,
) -> Result<BTreeSet<SessionId>, StorageError> {
    let ids: Vec<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_ALL_IDS).bind(account.as_str()).fetch_all(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "sessions", column: "sid" };
    ids.iter().map(|id| SessionId::parse(id).map_err(corrupt)).collect()
}

/// Which accounts of a merchant have a session that has not ended.
pub(crate) async fn find_accounts_in_session(
    tx: &mut Tx,
    merchant: &MerchantId,
) -> Result<Vec<AccountId>, StorageError> {
    let ids: Vec<String> =
        on_tx!(tx, c => sqlx::query_scalar(FIND_ACCOUNTS).bind(merchant.as_str()).fetch_all(c).await)?;
    let corrupt = |_| StorageError::Corrupt { table: "sessions", column: "account_id" };
    ids.iter().map(|id| AccountId::parse(id).map_err(corrupt)).collect()
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

/// Locks the sessions of many accounts in the order of their ids, so that who locks several never waits in a circle. On SQLite a
/// transaction that writes is alone.
pub(super) async fn lock_of(tx: &mut Tx, accounts: &[AccountId], at_once: usize) -> Result<(), StorageError> {
    let Tx::Postgres(inner) = tx else { return Ok(()) };
    let mut sids: Vec<String> = Vec::new();
    for some in accounts.chunks(at_once) {
        let mut query =
            QueryBuilder::new("SELECT sid FROM sessions WHERE ended_at IS NULL AND account_id IN (");
        let mut list = query.separated(", ");
        for id in some {
            list.push_bind(id.as_str());
        }
        query.push(")");
        let found: Vec<String> = query.build_query_scalar().persistent(false).fetch_all(&mut **inner).await?;
        sids.extend(found);
    }
    sids.sort();
    for some in sids.chunks(at_once) {
        let mut query = QueryBuilder::new("SELECT sid FROM sessions WHERE sid IN (");
        let mut list = query.separated(", ");
        for sid in some {
            list.push_bind(sid.as_str());
        }
        query.push(") ORDER BY sid FOR UPDATE");
        query.build().persistent(false).execute(&mut **inner).await?;
    }
    Ok(())
}

/// Ends every session of many accounts.
pub(super) async fn update_ended_of(
    tx: &mut Tx,
    accounts: &[AccountId],
    ending: Ending,
    now: UnixMs,
) -> Result<(), StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new("UPDATE sessions SET ended_at = ");
        query.push_bind(now.0).push(", ending = ").push_bind(ending.as_str());
        query.push(" WHERE ended_at IS NULL AND account_id IN (");
        let mut list = query.separated(", ");
        for id in accounts {
            list.push_bind(id.as_str());
        }
        query.push(")");
        query.build().persistent(false).execute(c).await.map(|_| ())
    })
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
