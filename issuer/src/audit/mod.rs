//! The audit: one row for every authentication, administration and refusal, written in the transaction of the act
//! itself, and chained within a second (`margrave_shared::audit`). No secret and no personal data in the clear: logins and
//! addresses stand there as keyed hashes, and sealed under a key of the account that they concern.

mod chain;
mod chain_store;
mod export;
mod personal;
mod seal;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use chain::Chain;
pub(crate) use chain_store::{count_waiting as count_unsealed, has_entries};
pub(crate) use export::{Exported, export};
pub(crate) use personal::{Person, PersonalKeys};
pub(crate) use seal::{begin_chain, run as run_sealer, seal_some};
pub(crate) use search::{Filter, Found, find_entries};
pub(crate) use store::Row as PreparedEntry;
pub(crate) use verify::{Verified, head_is_signed, verify_chain};

use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{Db, Joint, StorageError, Together, Tx};
use margrave_shared::id::{MerchantId, uuid_v4};
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use std::sync::Arc;
use store::Row;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, and why, where that is not the act's own name.
    Done(Option<&'static str>),
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
    /// Under whose key the address, the login and the user agent are kept.
    pub(crate) person: Option<Box<Person>>,
}

impl Entry {
    /// Something that was done.
    pub(crate) const fn done(act: &'static str) -> Self {
        Self { act, outcome: Outcome::Done(None), merchant: None, actor: None, subject: None, person: None }
    }

    /// Something that was done for a reason.
    pub(crate) fn done_because(act: &'static str, reason: &'static str) -> Self {
        Self { outcome: Outcome::Done(Some(reason)), ..Self::done(act) }
    }

    /// Something that was refused.
    pub(crate) fn refused(act: &'static str, reason: &'static str) -> Self {
        Self { outcome: Outcome::Refused(reason), ..Self::done(act) }
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

    /// Whose act it is, or on whose account: what is personal about the request is kept under their key.
    pub(crate) fn person(mut self, person: Option<Person>) -> Self {
        self.person = person.map(Box::new);
        self
    }

    /// To whom or what.
    pub(crate) fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// The account that an actor or a subject names.
fn account_in(text: &str) -> Option<&str> {
    text.strip_prefix("account:")
}

/// Entries of acts that change nothing else, which are committed together.
#[derive(Debug)]
struct Entries(Arc<Chain>);

impl Joint for Entries {
    type Part = Row;
    type Word = ();
    const NAME: &'static str = "audit entries";
    const IS_WRITTEN: bool = true;
    // A row that is there already stays as it is.
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx, rows: &[Row]) -> Result<Vec<()>, StorageError> {
        self.0.write(tx, &rows.iter().collect::<Vec<_>>()).await?;
        Ok(vec![(); rows.len()])
    }
}

/// How many may read much of the audit at once.
const MOST_READERS: usize = 2;

/// Writes entries.
#[derive(Debug)]
pub(crate) struct Audit {
    key: SecretKey,
    personal: PersonalKeys,
    chain: Arc<Chain>,
    readers: Semaphore,
    together: Together<Entries>,
}

impl Audit {
    /// With keys of its own: one under which logins and addresses are hashed, one that seals the accounts' keys, one that signs
    /// the chain's heads.
    pub(crate) fn new(root: &SecretKey) -> Self {
        let chain = Arc::new(Chain::new(root));
        Self {
            key: root.derive("audit"),
            personal: PersonalKeys::new(root.derive("audit accounts")),
            chain: Arc::clone(&chain),
            readers: Semaphore::new(MOST_READERS),
            together: Together::new(Entries(chain)),
        }
    }

    /// The chain that entries get their places in.
    pub(crate) const fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// A place among the few who may read much of the audit at once: each holds a connection for long.
    pub(crate) fn reader(&self) -> Option<SemaphorePermit<'_>> {
        self.readers.try_acquire().ok()
    }

    /// What seals what is personal.
    pub(crate) const fn personal(&self) -> &PersonalKeys {
        &self.personal
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
        self.chain.write(tx, &[&self.prepare(entry, caller, now, random)]).await
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
        self.together.join(db, self.prepare(entry, caller, now, random)).await
    }

    /// An entry that [`insert_prepared`] writes.
    pub(crate) fn prepare(
        &self,
        mut entry: Entry,
        caller: &Caller,
        now: UnixMs,
        random: [u8; 16],
    ) -> PreparedEntry {
        let id = uuid_v4(random);
        let is_theirs =
            |person: &&Person| entry.actor.as_deref().and_then(account_in) == Some(person.id.as_str());
        let person =
            entry.person.take().or_else(|| caller.person.get().filter(is_theirs).cloned().map(Box::new));
        let personal = person.as_ref().and_then(|person| self.personal.seal(person, caller, &id));
        // Under a key that goes with the account, or, of somebody who has none, under the audit's.
        let is_persons = person.is_some() || entry.actor.as_deref().and_then(account_in).is_some();
        let tagged = caller.address.filter(|_| !is_persons);
        entry.person = person;
        let address_tag = tagged.map(|address| self.tag("address", &address.to_string()));
        Row::new(id, now, entry, address_tag, caller.request_id.as_ref(), personal)
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

/// Writes entries of acts that are committed together.
///
/// # Errors
/// The database's.
pub(crate) async fn insert_prepared(
    tx: &mut Tx,
    chain: &Chain,
    entries: &[&PreparedEntry],
) -> Result<(), StorageError> {
    if entries.is_empty() { Ok(()) } else { chain.write(tx, entries).await }
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
