//! Registered edges: who they are, and the proof that a request comes from one.

pub(crate) mod events_route;
pub(crate) mod push;
mod store;
mod verify_call;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::outbound::may_be_called;
use crate::storage::{StorageError, Tx};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{EdgeId, MerchantId};
use margrave_shared::jwk::set::is_usable_key;
use margrave_shared::time::UnixMs;
pub(crate) use store::{find_dead_letters, find_edge, find_edges};
pub(crate) use verify_call::{EdgeCall, verify_call};

/// An edge.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// Its id: the `keyid` of its signatures.
    pub(crate) id: EdgeId,
    /// Its name, for people.
    pub(crate) name: String,
    /// Its public key.
    pub(crate) public_key: [u8; 32],
    /// The merchants in front of whose services it stands; `*` = all.
    pub(crate) merchants: Vec<String>,
    /// Where it takes pushed endings; without, it pulls only.
    pub(crate) push_url: Option<String>,
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
/// `invalid_field` for a key that anybody could sign for or a push URL that may not be called, `conflict` for a name that
/// is taken.
pub(crate) async fn create_edge(
    app: &App,
    name: &str,
    public_key: [u8; 32],
    merchants: Vec<String>,
    push_url: Option<String>,
    caller: &Caller,
) -> Result<Edge, Failure> {
    check_push_url(push_url.as_deref())?;
    if !is_usable_key(&public_key) {
        return Err(Failure::explained(
            ErrorCode::InvalidField,
            "the public key is not a usable Ed25519 key",
        ));
    }
    let now = app.clock.now();
    let id = EdgeId::from_random(app.entropy.bytes());
    let edge = Edge { id, name: name.to_owned(), public_key, merchants, push_url };
    let mut tx = app.db.begin().await?;
    store::insert_edge(&mut tx, &edge, now).await.map_err(|error| match error {
        StorageError::Conflict => Failure::explained(
            ErrorCode::Conflict,
            format!("there is an edge `{name}` already, or there was one: choose another name"),
        ),
        other => other.into(),
    })?;
    let entry = Entry::done("edge.create").actor("operator").subject(format!("edge:{}", edge.id));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(edge)
}

/// Disables an edge: its signature counts no more, from its next call on.
///
/// # Errors
/// `not_found` for an edge that is unknown or disabled already.
pub(crate) async fn disable_edge(app: &App, id: &EdgeId, caller: &Caller) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if !store::update_disabled(&mut tx, id, now).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_edge"));
    }
    let entry = Entry::done("edge.disable").actor("operator").subject(format!("edge:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

/// Says where an edge takes pushed endings; `None` = it pulls only.
///
/// # Errors
/// `invalid_field` for a URL that may not be called, `not_found` for an edge that is unknown or disabled.
pub(crate) async fn set_push_url(
    app: &App,
    id: &EdgeId,
    url: Option<&str>,
    caller: &Caller,
) -> Result<(), Failure> {
    check_push_url(url)?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if !store::update_push_url(&mut tx, id, url).await? {
        return Err(Failure::denied(ErrorCode::NotFound, "unknown_edge"));
    }
    let entry = Entry::done("edge.push").actor("operator").subject(format!("edge:{id}"));
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    Ok(tx.commit().await?)
}

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

fn check_push_url(url: Option<&str>) -> Result<(), Failure> {
    match url {
        Some(url) if !may_be_called(url) => Err(Failure::explained(
            ErrorCode::InvalidField,
            "the push URL begins with https://, or with http:// and this machine's own address",
        )),
        _ => Ok(()),
    }
}
