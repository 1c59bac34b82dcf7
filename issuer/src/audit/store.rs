//! The audit's SQL.

use super::{Entry, Outcome};
use crate::storage::{StorageError, Tx};
use margrave_shared::audit::{AuditRow, Link};
use margrave_shared::id::RequestId;
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;

const INSERT_SQLITE: &str = "INSERT INTO audit
    (id, at, act, outcome, reason, merchant_id, actor, subject, address_tag, request_id, person, personal, seq, hash) ";
// One statement for any number of rows: it is planned once.
const INSERT_POSTGRES: &str = "INSERT INTO audit
    (id, at, act, outcome, reason, merchant_id, actor, subject, address_tag, request_id, person, personal, seq, hash)
    SELECT * FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[],
    $9::BYTEA[], $10::TEXT[], $11::TEXT[], $12::BYTEA[], $13::BIGINT[], $14::BYTEA[]) ON CONFLICT (id) DO NOTHING";

/// A row as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    id: String,
    at: i64,
    act: &'static str,
    outcome: &'static str,
    reason: Option<&'static str>,
    merchant: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    address_tag: Option<Vec<u8>>,
    request_id: Option<String>,
    person: Option<String>,
    personal: Option<Vec<u8>>,
}

impl Row {
    pub(super) fn new(
        id: String,
        now: UnixMs,
        entry: Entry,
        address_tag: Option<Vec<u8>>,
        request_id: Option<&RequestId>,
        personal: Option<Vec<u8>>,
    ) -> Self {
        let (outcome, reason) = match entry.outcome {
            Outcome::Done(reason) => ("done", reason),
            Outcome::Refused(reason) => ("refused", Some(reason)),
        };
        Self {
            id,
            at: now.0,
            act: entry.act,
            outcome,
            reason,
            merchant: entry.merchant.map(|merchant| merchant.to_string()),
            actor: entry.actor,
            subject: entry.subject,
            address_tag,
            request_id: request_id.map(ToString::to_string),
            person: entry.person.map(|person| person.id.to_string()),
            personal,
        }
    }

    /// When it was written, in Unix milliseconds.
    pub(super) const fn at(&self) -> i64 {
        self.at
    }

    /// What of it is hashed.
    pub(super) fn hashed(&self) -> AuditRow {
        AuditRow {
            id: self.id.clone(),
            at: self.at,
            act: self.act.to_owned(),
            outcome: self.outcome.to_owned(),
            reason: self.reason.map(str::to_owned),
            merchant_id: self.merchant.clone(),
            actor: self.actor.clone(),
            subject: self.subject.clone(),
            address_tag: self.address_tag.clone(),
            request_id: self.request_id.clone(),
            person: self.person.clone(),
            personal: self.personal.clone(),
        }
    }
}

/// Inserts rows with one statement, those that have one with their number and hash; there is at least one. A row that is there already
/// stays as it is, so that it may be tried again. Gives how many were not.
pub(super) async fn insert(tx: &mut Tx, rows: &[&Row], links: &[(i64, Link)]) -> Result<u64, StorageError> {
    let link = |place: usize| links.get(place).map(|(seq, hash)| (*seq, hash.as_slice()));
    Ok(match tx {
        Tx::Sqlite(held) => {
            let mut query = QueryBuilder::new(INSERT_SQLITE);
            query.push_values(rows.iter().enumerate(), |mut values, (place, row)| {
                values
                    .push_bind(&row.id)
                    .push_bind(row.at)
                    .push_bind(row.act)
                    .push_bind(row.outcome)
                    .push_bind(row.reason)
                    .push_bind(row.merchant.as_deref())
                    .push_bind(row.actor.as_deref())
                    .push_bind(row.subject.as_deref())
                    .push_bind(row.address_tag.as_deref())
                    .push_bind(row.request_id.as_deref())
                    .push_bind(row.person.as_deref())
                    .push_bind(row.personal.as_deref())
                    .push_bind(link(place).map(|(seq, _)| seq))
                    .push_bind(link(place).map(|(_, hash)| hash));
            });
            query.push(" ON CONFLICT (id) DO NOTHING");
            query.build().execute(&mut **held).await?.rows_affected()
        }
        Tx::Postgres(held) => {
            fn column<'a, T>(rows: &[&'a Row], of: impl Fn(&'a Row) -> T) -> Vec<T> {
                rows.iter().map(|row| of(row)).collect()
            }
            sqlx::query(INSERT_POSTGRES)
                .bind(column(rows, |row| row.id.as_str()))
                .bind(column(rows, |row| row.at))
                .bind(column(rows, |row| row.act))
                .bind(column(rows, |row| row.outcome))
                .bind(column(rows, |row| row.reason))
                .bind(column(rows, |row| row.merchant.as_deref()))
                .bind(column(rows, |row| row.actor.as_deref()))
                .bind(column(rows, |row| row.subject.as_deref()))
                .bind(column(rows, |row| row.address_tag.as_deref()))
                .bind(column(rows, |row| row.request_id.as_deref()))
                .bind(column(rows, |row| row.person.as_deref()))
                .bind(column(rows, |row| row.personal.as_deref()))
                .bind((0..rows.len()).map(|place| link(place).map(|(seq, _)| seq)).collect::<Vec<_>>())
                .bind((0..rows.len()).map(|place| link(place).map(|(_, hash)| hash)).collect::<Vec<_>>())
                .execute(&mut **held)
                .await?
                .rows_affected()
        }
    })
}
