//! Looking for entries: the newest first, page by page.

use crate::storage::{StorageError, Tx, on_tx};
use margrave_shared::id::MerchantId;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::QueryBuilder;

/// What is looked for; what is not set is any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Within this merchant.
    pub(crate) merchant: Option<MerchantId>,
    /// What was done or tried.
    pub(crate) act: Option<String>,
    /// `done` or `refused`.
    pub(crate) outcome: Option<String>,
    /// Why it was refused.
    pub(crate) reason: Option<String>,
    /// Who did it.
    pub(crate) actor: Option<String>,
    /// To whom or what.
    pub(crate) subject: Option<String>,
    /// The request's id.
    pub(crate) request_id: Option<String>,
    /// Not before, in Unix milliseconds.
    pub(crate) since: Option<i64>,
    /// Before, in Unix milliseconds.
    pub(crate) until: Option<i64>,
    /// After this entry in the order of the list: its time and its id.
    pub(crate) after: Option<(i64, String)>,
}

/// An entry as administrators read it. What is personal is not in it: that is for who holds the master key (`margrave audit
/// export --personal`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) id: String,
    /// Unix milliseconds.
    pub(crate) at: i64,
    /// What was done or tried.
    pub(crate) act: String,
    /// `done` or `refused`.
    pub(crate) outcome: String,
    /// Why it was refused.
    pub(crate) reason: Option<String>,
    /// Within which merchant.
    pub(crate) merchant_id: Option<String>,
    /// Who did it.
    pub(crate) actor: Option<String>,
    /// To whom or what.
    pub(crate) subject: Option<String>,
    /// The request's id.
    pub(crate) request_id: Option<String>,
    /// Its number in the chain, once it is sealed.
    pub(crate) seq: Option<i64>,
}

/// Finds entries.
pub(crate) async fn find_entries(
    tx: &mut Tx,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Found>, StorageError> {
    on_tx!(tx, c => {
        let mut query = QueryBuilder::new(
            "SELECT id, at, act, outcome, reason, merchant_id, actor, subject, request_id, seq FROM audit WHERE 1 = 1",
        );
        let texts = [
            (" AND merchant_id = ", filter.merchant.as_ref().map(MerchantId::as_str)),
            (" AND act = ", filter.act.as_deref()),
            (" AND outcome = ", filter.outcome.as_deref()),
            (" AND reason = ", filter.reason.as_deref()),
            (" AND actor = ", filter.actor.as_deref()),
            (" AND subject = ", filter.subject.as_deref()),
            (" AND request_id = ", filter.request_id.as_deref()),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        for (condition, value) in [(" AND at >= ", filter.since), (" AND at < ", filter.until)] {
            if let Some(value) = value {
                query.push(condition).push_bind(value);
            }
        }
        if let Some((at, id)) = &filter.after {
            query.push(" AND (at, id) < (").push_bind(*at).push(", ").push_bind(id).push(")");
        }
        query.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(limit);
        query.build_query_as().fetch_all(c).await
    })
}
