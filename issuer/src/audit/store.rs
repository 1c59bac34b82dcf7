//! The audit's SQL.

use super::{Entry, Outcome};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::RequestId;
use margrave_shared::time::UnixMs;

const INSERT: &str =
    "INSERT INTO audit (id, at, act, outcome, reason, merchant_id, actor, subject, address_tag, request_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

#[cfg(test)]
pub(super) const ALL: &[&str] = &[INSERT];

pub(super) async fn insert_entry(
    tx: &mut Tx,
    id: &str,
    now: UnixMs,
    entry: &Entry<'_>,
    address_tag: Option<Vec<u8>>,
    request_id: Option<&RequestId>,
) -> Result<(), StorageError> {
    let (outcome, reason) = match entry.outcome {
        Outcome::Done => ("done", None),
        Outcome::Refused(reason) => ("refused", Some(reason)),
    };
    on_tx!(tx, c => sqlx::query(INSERT)
        .bind(id)
        .bind(now.0)
        .bind(entry.act)
        .bind(outcome)
        .bind(reason)
        .bind(entry.merchant.map(|m| m.as_str()))
        .bind(entry.actor.as_deref())
        .bind(entry.subject.as_deref())
        .bind(address_tag)
        .bind(request_id.map(|r| r.as_str()))
        .execute(c)
        .await
        .map(|_| ()))
}

#[cfg(test)]
mod tests {
    use crate::storage::testing::{on_both_databases, prepare_all};

    async fn statements_fit_the_schema(db: crate::storage::Db) {
        prepare_all(&db, super::ALL).await;
    }
    on_both_databases!(statements, super::statements_fit_the_schema);
}
