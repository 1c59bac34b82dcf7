//! Registered edges: who they are, and the proof that a request comes from one.

pub(crate) mod events_route;
mod store;
mod verify_call;

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::StorageError;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::{EdgeId, MerchantId};
use margrave_shared::jwk::set::is_usable_key;
pub(crate) use store::{find_edge, find_edges};
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
/// `invalid_field` for a key that anybody could sign for, `conflict` for a name that is taken.
pub(crate) async fn create_edge(
    app: &App,
    name: &str,
    public_key: [u8; 32],
    merchants: Vec<String>,
    caller: &Caller,
) -> Result<Edge, Failure> {
    if !is_usable_key(&public_key) {
        return Err(Failure::explained(
            ErrorCode::InvalidField,
            "the public key is not a usable Ed25519 key",
        ));
    }
    let now = app.clock.now();
    let edge =
        Edge { id: EdgeId::from_random(app.entropy.bytes()), name: name.to_owned(), public_key, merchants };
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
