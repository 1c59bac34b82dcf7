//! The audit: one row for every authentication, administration and refusal, written in the transaction of the act
//! itself. No secret and no personal data in the clear: logins and addresses stand there as keyed hashes.

mod store;
mod together;

use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{Db, StorageError, Tx};
use margrave_shared::id::{MerchantId, uuid_v4};
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use store::Row;
use together::Together;

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// It was refused, and why.
    Refused(&'static str),
}

/// One entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What was done or tried, as `noun.verb`.
    pub(crate) act: &'static str,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Within which merchant.
    pub(crate) merchant: Option<MerchantId>,
    /// Who did it: `key:<id>`, `account:<id>`, `edge:<id>`, `operator`.
    pub(crate) actor: Option<String>,
    /// To whom or what.
    pub(crate) subject: Option<String>,
}

impl Entry {
    /// Something that was done.
    pub(crate) const fn done(act: &'static str) -> Self {
        Self { act, outcome: Outcome::Done, merchant: None, actor: None, subject: None }
    }

    /// Something that was refused.
    pub(crate) const fn refused(act: &'static str, reason: &'static str) -> Self {
        Self { act, outcome: Outcome::Refused(reason), merchant: None, actor: None, subject: None }
    }

    /// Within a merchant.
    pub(crate) fn merchant(mut self, merchant: &MerchantId) -> Self {
        self.merchant = Some(merchant.clone());
        self
    }

    /// Who did it.
    pub(crate) fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// To whom or what.
    pub(crate) fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Writes entries.
#[derive(Debug)]
pub(crate) struct Audit {
    key: SecretKey,
    together: Together,
}

impl Audit {
    /// With the key under which logins and addresses are hashed.
    pub(crate) fn new(key: SecretKey) -> Self {
        Self { key, together: Together::default() }
    }

    /// Writes an entry in the transaction of its act.
    pub(crate) async fn write(
        &self,
        tx: &mut Tx,
        entry: Entry,
        caller: &Caller,
        now: UnixMs,
        random: [u8; 16],
    ) -> Result<(), StorageError> {
        store::insert(tx, &[self.row(entry, caller, now, random)]).await
    }

    /// Writes the entry of an act that changes nothing else, and returns when it is durable.
    pub(crate) async fn write_alone(
        &self,
        db: &Db,
        entry: Entry,
        caller: &Caller,
        now: UnixMs,
        random: [u8; 16],
    ) -> Result<(), StorageError> {
        self.together.write(db, self.row(entry, caller, now, random)).await
    }

    fn row(&self, entry: Entry, caller: &Caller, now: UnixMs, random: [u8; 16]) -> Row {
        let address_tag = caller.address.map(|address| self.tag("address", &address.to_string()));
        Row::new(uuid_v4(random), now, entry, address_tag, caller.request_id.as_ref())
    }

    /// The keyed hash under which something personal stands in the audit.
    pub(crate) fn tag(&self, kind: &str, value: &str) -> Vec<u8> {
        let tag = self.key.tag(&[kind.as_bytes(), value.as_bytes()]);
        tag.iter().take(16).copied().collect()
    }

    /// The name under which a login that nobody has stands in the audit.
    pub(crate) fn unknown_login(&self, login: &str) -> String {
        format!("login:{}", margrave_shared::base64::encode_url(&self.tag("login", login)))
    }
}

/// Audits a refusal whose own transaction was rolled back, and hands it on. Should the audit fail, that is the failure:
/// nothing is refused without a trace.
pub(crate) async fn audit_refusal(
    app: &App,
    act: &'static str,
    failure: Failure,
    caller: &Caller,
) -> Failure {
    let Failure::Denied(denial) = &failure else { return failure };
    let entry = Entry::refused(act, denial.reason);
    let written = app.audit.write_alone(&app.db, entry, caller, app.clock.now(), app.entropy.bytes());
    match written.await {
        Ok(()) => failure,
        Err(error) => error.into(),
    }
}
