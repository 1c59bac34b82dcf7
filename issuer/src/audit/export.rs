//! The audit as JSON lines: in the order of the chain, then what is not sealed yet.

use super::account_in;
use super::chain_store::{self, Stored};
use super::personal::Personal;
use crate::app::App;
use crate::failure::Failure;
use crate::storage::{StorageError, Tx};
use margrave_shared::audit::AuditRow;
use margrave_shared::base64;
use margrave_shared::id::{AccountId, SessionId};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Exported {
    seq: Option<i64>,
    hash: Option<String>,
    id: String,
    at: i64,
    act: String,
    outcome: String,
    reason: Option<String>,
    merchant_id: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    request_id: Option<String>,
    address_tag: Option<String>,
    person: Option<String>,
    /// As it is stored, so that the line's hash can be computed from it.
    sealed_personal: Option<String>,
    /// Opened, where that was asked for and the account's key is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    personal: Option<Personal>,
}

impl Exported {
    /// Whether an account acts in it, or is acted on, or keeps what is personal in it; these are the account's sessions.
    pub(crate) fn is_about(&self, account: &AccountId, sessions: &BTreeSet<SessionId>) -> bool {
        let is_named = |text: &str| account_in(text) == Some(account.as_str());
        let is_subject = |text: &str| {
            is_named(text)
                || session_in(text).is_some_and(|sid| sessions.contains(&sid))
                || looked_at(text) == Some(account.as_str())
        };
        self.person.as_deref() == Some(account.as_str())
            || self.actor.as_deref().is_some_and(is_named)
            || self.subject.as_deref().is_some_and(is_subject)
    }

    /// Without what is other people's: who else acted or was acted on, and from where somebody acted or tried who did not get in.
    pub(crate) fn of_one_alone(&self, account: &AccountId, sessions: &BTreeSet<SessionId>) -> Self {
        let mut own = self.clone();
        if own.actor.as_deref().and_then(account_in) != Some(account.as_str()) {
            (own.address_tag, own.request_id) = (None, None);
        }
        if own.person.as_deref() != Some(account.as_str()) {
            (own.person, own.sealed_personal) = (None, None);
        }
        if let Some(subject) = &mut own.subject
            && session_in(subject).is_some_and(|sid| !sessions.contains(&sid))
        {
            "session:another".clone_into(subject);
        }
        for text in [&mut own.actor, &mut own.subject].into_iter().flatten() {
            if account_in(text).is_some_and(|id| id != account.as_str()) {
                "account:another".clone_into(text);
            }
        }
        if let Some(subject) = &mut own.subject
            && looked_at(subject).is_some_and(|id| id != account.as_str())
        {
            format!("{ACCOUNTS}another").clone_into(subject);
        }
        own.personal =
            own.personal.filter(|_| own.outcome == "done" && own.person.as_deref() == Some(account.as_str()));
        own
    }
}

/// What was looked at of an account in the administration is below this.
const ACCOUNTS: &str = "/admin/v1/accounts/";

/// The session that a subject names.
fn session_in(text: &str) -> Option<SessionId> {
    text.strip_prefix("session:").and_then(|sid| SessionId::parse(sid).ok())
}

/// The account of which something was looked at.
fn looked_at(path: &str) -> Option<&str> {
    path.strip_prefix(ACCOUNTS)?.split('/').next()
}

/// The accounts' keys that an export has met.
type Keys = HashMap<String, Option<Vec<u8>>>;

/// How many rows are read at once.
const PAGE: i64 = 1_000;

/// Gives every entry of one moment to `each`, until it says that it has enough. With `key_of`, which finds an account's key, what is
/// personal is opened.
///
/// # Errors
/// The database's.
pub(crate) async fn export(
    app: &App,
    key_of: Option<impl AsyncFn(&mut Tx, &AccountId) -> Result<Option<Vec<u8>>, StorageError>>,
    mut each: impl FnMut(&Exported) -> bool,
) -> Result<(), Failure> {
    let mut tx = app.db.snapshot().await?;
    let mut keys = Keys::new();
    let (mut sealed_after, mut waiting_after) = (i64::MIN, None);
    let mut are_sealed = true;
    loop {
        let rows = if are_sealed {
            chain_store::find_sealed(&mut tx, sealed_after, PAGE).await?
        } else {
            chain_store::find_waiting(&mut tx, waiting_after.as_ref(), PAGE).await?
        };
        match rows.last() {
            Some(last) => {
                sealed_after = last.seq.unwrap_or(sealed_after);
                waiting_after = (!are_sealed).then(|| (last.at, last.id.clone()));
            }
            None if are_sealed => are_sealed = false,
            None => return Ok(()),
        }
        if let Some(key_of) = &key_of {
            for person in rows.iter().filter_map(|row| row.person.as_deref()) {
                if !keys.contains_key(person) {
                    let key = match AccountId::parse(person) {
                        Ok(id) => key_of(&mut tx, &id).await?,
                        Err(_) => None,
                    };
                    keys.insert(person.to_owned(), key);
                }
            }
        }
        for row in rows {
            if !each(&line(app, row, &keys)) {
                return Ok(());
            }
        }
    }
}

fn line(app: &App, stored: Stored, keys: &Keys) -> Exported {
    let (seq, hash) = (stored.seq, stored.hash.as_deref().map(base64::encode_url));
    let AuditRow {
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
        personal: sealed,
    } = stored.into_row();
    let opened = || {
        let person = person.as_deref()?;
        let key = keys.get(person)?.as_deref()?;
        app.audit.personal().read(&AccountId::parse(person).ok()?, key, &id, sealed.as_deref()?)
    };
    let personal = opened();
    Exported {
        seq,
        hash,
        id,
        at,
        act,
        outcome,
        reason,
        merchant_id,
        actor,
        subject,
        request_id,
        address_tag: address_tag.as_deref().map(base64::encode_url),
        person,
        sealed_personal: sealed.as_deref().map(base64::encode_url),
        personal,
    }
}
