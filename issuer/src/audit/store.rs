//! The audit's SQL.

use super::{Entry, Outcome};
use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::RequestId;
use margrave_shared::time::UnixMs;
use sqlx::QueryBuilder;

const INSERT: &str = "INSERT INTO audit
    (id, at, act, outcome, reason, merchant_id, actor, subject, address_tag, request_id, person, personal) ";

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
            Outcome::Done => ("done", None),
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
}

/// Inserts rows with one statement; there is at least one. A row that is there already stays as it is, so that it may
/// be tried again.
pub(super) async fn insert(tx: &mut Tx, rows: impl IntoIterator<Item = &Row>) -> Result<(), StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(rows, |mut values, row| {
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
                .push_bind(row.personal.as_deref());
        });
        query.push(" ON CONFLICT (id) DO NOTHING");
        query.build().execute(c).await.map(|_| ())
    })
}
