//! Registered edges: who they are, and the proof that a request comes from one.

pub(crate) mod events_route;
mod heard;
pub(crate) mod push;
mod store;
mod verify_call;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::find_merchant;
use crate::outbound::may_be_called;
use crate::storage::{StorageError, Tx};
pub(crate) use heard::Heard;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{EdgeId, MerchantId};
use margrave_shared::jwk::set::is_usable_key;
use margrave_shared::label::{NotALabel, check_label};
use margrave_shared::time::UnixMs;
use std::ops::Deref;
pub(crate) use store::{find_dead_letters, find_edge, find_edges};
pub(crate) use verify_call::{EdgeCall, verify_call};

/// An edge.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// Its id: the `keyid` of its signatures.
    pub(crate) id: EdgeId,
    /// When it was registered.
    pub(crate) created_at: UnixMs,
    /// Raised by every change.
    pub(crate) version: i64,
    /// When it was first seen to sign with its next key.
    pub(crate) next_key_used_at: Option<UnixMs>,
    /// What an operator says of it.
    pub(crate) facts: EdgeFacts,
}

/// What an operator says of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EdgeFacts {
    /// Its name, for people.
    pub(crate) name: String,
    /// Its public key.
    pub(crate) public_key: [u8; 32],
    /// The key that it is about to sign with: until the change is over both count.
    pub(crate) next_public_key: Option<[u8; 32]>,
    /// The merchants in front of whose services it stands; `*` = all.
    pub(crate) merchants: Vec<String>,
    /// Where it takes pushed endings; without, it pulls only.
    pub(crate) push_url: Option<String>,
}

impl Deref for Edge {
    type Target = EdgeFacts;
    fn deref(&self) -> &EdgeFacts {
        &self.facts
    }
}

impl Edge {
    /// Whether it stands in front of a merchant.
    pub(crate) fn serves(&self, merchant: &MerchantId) -> bool {
        self.merchants.iter().any(|m| m == "*" || m == merchant.as_str())
    }
}

/// Registers an edge by its public key.
///
/// # Errors
/// `invalid_field` for what [`check`] refuses, `conflict` for a name that is taken.
pub(crate) async fn create_edge(
    app: &App,
    tx: &mut Tx,
    facts: EdgeFacts,
    actor: &str,
    caller: &Caller,
) -> Result<Edge, Failure> {
    check(tx, &facts).await?;
    let now = app.clock.now();
    let id = EdgeId::from_random(app.entropy.bytes());
    let edge = Edge { id, created_at: now, version: 0, next_key_used_at: None, facts };
    store::insert_edge(tx, &edge).await.map_err(|error| taken(error, &edge.name))?;
    write(app, tx, "edge.create", &edge.id, actor, caller).await?;
    Ok(edge)
}

fn taken(error: StorageError, name: &str) -> Failure {
    match error {
        StorageError::Conflict => {
            let text = format!("there is an edge `{name}` already, or there was one: choose another name");
            Failure::explained(ErrorCode::Conflict, text)
        }
        other => other.into(),
    }
}

async fn write(
    app: &App,
    tx: &mut Tx,
    act: &'static str,
    id: &EdgeId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let entry = Entry::done(act).actor(actor).subject(format!("edge:{id}"));
    Ok(app.audit.write(tx, entry, caller, app.clock.now(), app.entropy.bytes()).await?)
}

/// Changes an edge.
///
/// # Errors
/// `not_found` for an edge that is unknown or disabled, `precondition_failed` where it is of another version, `invalid_field` for what
/// [`check`] refuses.
pub(crate) async fn change_edge(
    app: &App,
    id: &EdgeId,
    version: Option<i64>,
    change: impl FnOnce(EdgeFacts) -> EdgeFacts,
    actor: &str,
    caller: &Caller,
) -> Result<Edge, Failure> {
    let mut tx = app.db.begin().await?;
    let before = find_edge(&mut tx, id).await?.ok_or(Failure::denied(ErrorCode::NotFound, "unknown_edge"))?;
    let next_before = before.facts.next_public_key;
    let facts = change(before.facts);
    check(&mut tx, &facts).await?;
    let version = version.unwrap_or(before.version);
    let is_same_key = facts.next_public_key.is_some() && facts.next_public_key == next_before;
    let after = Edge {
        id: id.clone(),
        created_at: before.created_at,
        version: version.saturating_add(1),
        next_key_used_at: before.next_key_used_at.filter(|_| is_same_key),
        facts,
    };
    let changed = store::update_edge(&mut tx, &after, version).await;
    if !changed.map_err(|error| taken(error, &after.name))? {
        return Err(Failure::denied(ErrorCode::PreconditionFailed, "another_version"));
    }
    write(app, &mut tx, "edge.change", id, actor, caller).await?;
    tx.commit().await?;
    Ok(after)
}

/// Disables an edge: its signature counts no more, from its next call on.
///
/// # Errors
/// `not_found` for an edge that is unknown or disabled already.
pub(crate) async fn disable_edge(
    app: &App,
    id: &EdgeId,
    actor: &str,
    caller: &Caller,
) -> Result<(), Failure> {
    let mut tx = app.db.begin().await?;
    if !store::update_disabled(&mut tx, id, app.clock.now()).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_edge"));
    }
    write(app, &mut tx, "edge.disable", id, actor, caller).await?;
    Ok(tx.commit().await?)
}

/// Whether an edge may be so.
///
/// # Errors
/// `invalid_field` for a key that anybody could sign for, a push URL that may not be called, a name that is none, or merchants that are
/// not there.
async fn check(tx: &mut Tx, facts: &EdgeFacts) -> Result<(), Failure> {
    let invalid = |text: String| Err(Failure::explained(ErrorCode::InvalidField, text));
    let EdgeFacts { name, public_key, next_public_key, merchants, push_url } = facts;
    if check_label(name) != Ok(name) {
        return invalid(NotALabel.to_string());
    }
    if ![Some(public_key), next_public_key.as_ref()].into_iter().flatten().all(is_usable_key) {
        return invalid("the public key is not a usable Ed25519 key".to_owned());
    }
    if next_public_key.as_ref() == Some(public_key) {
        return invalid("the next public key is the present one".to_owned());
    }
    if push_url.as_deref().is_some_and(|url| url.len() > 2000 || !may_be_called(url)) {
        let text = "the push URL begins with https://, or with http:// and this machine's own address";
        return invalid(text.to_owned());
    }
    if merchants.is_empty() || merchants.len() > MAX_MERCHANTS {
        return invalid(format!("an edge stands before 1 to {MAX_MERCHANTS} merchants, or before all: `*`"));
    }
    for id in merchants.iter().filter(|id| *id != "*") {
        let known = match MerchantId::parse(id) {
            Ok(id) => find_merchant(tx, &id).await?.is_some(),
            Err(_) => false,
        };
        if !known {
            return invalid(format!("there is no merchant `{id}`. Give ids, or `*`"));
        }
    }
    Ok(())
}

/// The most merchants that an edge names.
const MAX_MERCHANTS: usize = 100;

/// How long a disabled edge may still stand somewhere and admit: it hears nothing any more, and closes only when the issuer
/// has been silent for its `revocations.max_stale_s`, in milliseconds.
const OUTLIVES_MS: i64 = 3_600_000;

/// The edges that may admit somebody now.
pub(crate) async fn find_standing(app: &App) -> Result<Vec<EdgeId>, Failure> {
    let since = app.clock.now().plus_ms(-OUTLIVES_MS);
    Ok(store::find_standing(&mut app.db.glance().await?, since).await?)
}

/// How long a dead letter is kept, in milliseconds.
const LETTERS_KEPT_MS: i64 = 30 * 86_400_000;

/// Deletes dead letters that nobody asks for any more; gives how many.
pub(crate) async fn delete_dead(tx: &mut Tx, now: UnixMs) -> Result<u64, StorageError> {
    store::delete_old_letters(tx, now.plus_ms(-LETTERS_KEPT_MS)).await
}
