//! The chain's SQL.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::audit::{AuditRow, Head, Link, SignedHead};
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;

const HAS_ENTRIES: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM audit LIMIT 1) AS counted";
const COLUMNS: &str = "id, at, act, outcome, reason, merchant_id, actor, subject, address_tag, request_id, person, personal, seq, hash";

const START: &str = "INSERT INTO audit_head (id, seq, hash, at, signature)
    SELECT 1, 0, $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM audit WHERE seq IS NOT NULL) ON CONFLICT (id) DO NOTHING";
// The empty update locks the row: one process seals at a time.
const LOCK_HEAD: &str = "UPDATE audit_head SET id = id WHERE id = 1 RETURNING seq, hash, at, signature";
const FIND_HEAD: &str = "SELECT seq, hash, at, signature FROM audit_head WHERE id = 1";
const PUT_HEAD: &str = "UPDATE audit_head SET seq = $1, hash = $2, at = $3, signature = $4 WHERE id = 1";
// Each half is a look into the index, however long the table is.
const FIND_END: &str = "SELECT seq, hash FROM audit WHERE seq IN ($1, $2)
    UNION ALL SELECT seq, hash FROM (SELECT seq, hash FROM audit WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS highest";
// Nobody waits for who holds it.
const TRY_LOCK_POSTGRES: &str =
    "SELECT seq, hash, at, signature FROM audit_head WHERE id = 1 FOR UPDATE SKIP LOCKED";
const IS_WAITING: &str = "SELECT id FROM audit WHERE seq IS NULL LIMIT 1";
const COUNT_WAITING: &str = "SELECT COUNT(*), MIN(at) FROM audit WHERE seq IS NULL";
const NUMBERED: &str = "SELECT COUNT(*) FROM audit WHERE seq <= $1";
// One statement, so that both are of one moment.
const BEYOND: &str = "SELECT COUNT(*) FROM audit WHERE seq > (SELECT seq FROM audit_head WHERE id = 1)";

#[cfg(test)]
pub(super) const ALL: &[&str] =
    &[START, LOCK_HEAD, FIND_HEAD, PUT_HEAD, FIND_END, IS_WAITING, COUNT_WAITING, NUMBERED, BEYOND];

/// A row as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Stored {
    /// Its id.
    pub(super) id: String,
    /// Its time.
    pub(super) at: i64,
    act: String,
    outcome: String,
    reason: Option<String>,
    merchant_id: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    address_tag: Option<Vec<u8>>,
    request_id: Option<String>,
    /// The account whose key seals what is personal.
    pub(super) person: Option<String>,
    personal: Option<Vec<u8>>,
    /// Its number, once it is sealed.
    pub(super) seq: Option<i64>,
    /// Its hash, once it is sealed.
    pub(super) hash: Option<Vec<u8>>,
}

impl Stored {
    /// What of it is hashed.
    pub(super) fn into_row(self) -> AuditRow {
        let Self {
            id,
            at,
            act,
            outcome,
            reason,
            merchant_id,
            actor,
            subject,
            address_tag,
            request_id,
            person,
            personal,
            seq: _,
            hash: _,
        } = self;
        AuditRow {
            id,
            at,
            act,
            outcome,
            reason,
            merchant_id,
            actor,
            subject,
            address_tag,
            request_id,
            person,
            personal,
        }
    }
}

type HeadRow = (i64, Vec<u8>, i64, Vec<u8>);

fn head_of((seq, hash, at, signature): HeadRow) -> Result<SignedHead, StorageError> {
    let corrupt = |column| StorageError::Corrupt { table: "audit_head", column };
    Ok(SignedHead {
        head: Head { seq, hash: hash.try_into().map_err(|_| corrupt("hash"))?, at: UnixMs(at) },
        signature: signature.try_into().map_err(|_| corrupt("signature"))?,
    })
}

/// Puts the first head there, where nothing has been sealed yet.
pub(super) async fn start(tx: &mut Tx, first: &SignedHead) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(START)
        .bind(first.head.hash.as_slice())
        .bind(first.head.at.0)
        .bind(first.signature.as_slice())
        .execute(c)
        .await
        .map(|_| ()))
}

/// Whether there is any entry.
pub(crate) async fn has_entries(tx: &mut Tx) -> Result<bool, StorageError> {
    let count: i64 = on_tx!(tx, c => sqlx::query_scalar(HAS_ENTRIES).fetch_one(c).await)?;
    Ok(count > 0)
}

/// Locks the head, and gives it.
pub(super) async fn lock_head(tx: &mut Tx) -> Result<Option<SignedHead>, StorageError> {
    let row: Option<HeadRow> = on_tx!(tx, c => sqlx::query_as(LOCK_HEAD).fetch_optional(c).await)?;
    row.map(head_of).transpose()
}

/// Locks the head where nobody else has, and gives it. One that cannot be read is none.
pub(super) async fn try_lock_head(tx: &mut Tx) -> Result<Option<SignedHead>, StorageError> {
    let row: Option<HeadRow> = match tx {
        // Its one writer has locked everything.
        Tx::Sqlite(held) => sqlx::query_as(FIND_HEAD).fetch_optional(&mut **held).await?,
        Tx::Postgres(held) => sqlx::query_as(TRY_LOCK_POSTGRES).fetch_optional(&mut **held).await?,
    };
    Ok(row.and_then(|row| head_of(row).ok()))
}

/// The head.
pub(super) async fn find_head(tx: &mut Tx) -> Result<Option<SignedHead>, StorageError> {
    let row: Option<HeadRow> = on_tx!(tx, c => sqlx::query_as(FIND_HEAD).fetch_optional(c).await)?;
    row.map(head_of).transpose()
}

/// Moves the head.
pub(super) async fn update_head(tx: &mut Tx, signed: &SignedHead) -> Result<(), StorageError> {
    on_tx!(tx, c => sqlx::query(PUT_HEAD)
        .bind(signed.head.seq)
        .bind(signed.head.hash.as_slice())
        .bind(signed.head.at.0)
        .bind(signed.signature.as_slice())
        .execute(c)
        .await
        .map(|_| ()))
}

/// Numbers and hashes of two sealed rows, as far as they are there, and of the one with the highest number. A number that somebody else has
/// put there may have no hash.
pub(super) async fn find_end(
    tx: &mut Tx,
    seqs: [i64; 2],
) -> Result<Vec<(i64, Option<Vec<u8>>)>, StorageError> {
    on_tx!(tx, c => sqlx::query_as(FIND_END).bind(seqs[0]).bind(seqs[1]).fetch_all(c).await)
}

/// Whether any row waits to be sealed.
pub(super) async fn is_waiting(tx: &mut Tx) -> Result<bool, StorageError> {
    let found: Option<String> = on_tx!(tx, c => sqlx::query_scalar(IS_WAITING).fetch_optional(c).await)?;
    Ok(found.is_some())
}

/// How many rows wait, and the time of the oldest.
pub(crate) async fn count_waiting(tx: &mut Tx) -> Result<(i64, Option<i64>), StorageError> {
    on_tx!(tx, c => sqlx::query_as(COUNT_WAITING).fetch_one(c).await)
}

/// How many rows bear a number up to this one.
pub(super) async fn count_numbered(tx: &mut Tx, end: i64) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(NUMBERED).bind(end).fetch_one(c).await)
}

/// How many rows bear a number beyond the head's.
pub(super) async fn count_beyond(tx: &mut Tx) -> Result<i64, StorageError> {
    on_tx!(tx, c => sqlx::query_scalar(BEYOND).fetch_one(c).await)
}

/// The rows that wait, the oldest first; those after a time and an id, where one is named.
pub(super) async fn find_waiting(
    tx: &mut Tx,
    after: Option<&(i64, String)>,
    limit: i64,
) -> Result<Vec<Stored>, StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM audit WHERE seq IS NULL");
        if let Some((at, id)) = after {
            query.push(" AND (at, id) > (").push_bind(*at).push(", ").push_bind(id).push(")");
        }
        query.push(" ORDER BY at, id LIMIT ").push_bind(limit);
        query.build_query_as().fetch_all(c).await
    })
}

/// Sealed rows with higher numbers than `after`, in their order.
pub(super) async fn find_sealed(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Stored>, StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM audit WHERE seq > ").push_bind(after);
        query.push(" ORDER BY seq LIMIT ").push_bind(limit);
        query.build_query_as().fetch_all(c).await
    })
}

/// Gives rows their numbers and hashes; gives how many there were to give them to.
pub(super) async fn update_sealed(tx: &mut Tx, rows: &[(String, i64, Link)]) -> Result<u64, StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new("WITH sealed (id, seq, hash) AS (");
        query.push_values(rows, |mut values, (id, seq, hash)| {
            values.push_bind(id).push_bind(*seq).push_bind(hash.as_slice());
        });
        query.push(
            ") UPDATE audit SET seq = sealed.seq, hash = sealed.hash FROM sealed \
             WHERE audit.id = sealed.id AND audit.seq IS NULL",
        );
        // Not kept: each number of rows is a statement of its own.
        query.build().persistent(false).execute(c).await.map(|done| done.rows_affected())
    })
}
