//! Sessions: from login to logout or timeout. The rules are in `shared`; here they are applied to rows.

mod contact;
mod end;
mod report;
pub(crate) mod routes;
mod store;

pub(crate) use contact::{lives_as_it_is, meet, meet_at_refresh};
pub(crate) use end::{end as end_in, end_all, end_all_of, end_others, end_session};
pub(crate) use store::{
    delete_dead, find_accounts_in_session, find_all_ids, find_by_account, find_page, find_session,
    insert_session,
};

use margrave_shared::claims::SessionLimits;
use margrave_shared::id::{AccountId, ClientId, MerchantId, SessionId};
use margrave_shared::session::{Ending, SessionRow};
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::Serialize;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) sid: SessionId,
    /// Its merchant.
    #[serde(skip)]
    pub(crate) merchant_id: MerchantId,
    /// Whose it is.
    #[serde(skip)]
    pub(crate) account_id: AccountId,
    /// The account's generation when it began: with a later one it is over.
    #[serde(skip)]
    pub(crate) generation: i64,
    /// The application that opened it.
    pub(crate) client_id: ClientId,
    /// When it began.
    pub(crate) started_at: UnixMs,
    /// Its last activity that the issuer knows of.
    pub(crate) seen_at: UnixMs,
    /// Its limits.
    #[serde(flatten)]
    pub(crate) limits: SessionLimits,
    /// Unix second of the oldest factor's verification.
    pub(crate) auth_time_s: i64,
    /// How the person was authenticated (RFC 8176), separated by spaces.
    pub(crate) amr: String,
    /// Why it ended, once it has.
    #[serde(skip)]
    pub(crate) ending: Option<Ending>,
}

impl Session {
    /// The row as the shared rule sees it.
    pub(crate) const fn row(&self) -> SessionRow {
        SessionRow { touched_at: self.seen_at, ended: self.ending }
    }
}
