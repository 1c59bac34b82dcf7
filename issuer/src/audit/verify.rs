//! Whether the audit is as it was sealed.

use super::{Chain, chain_store};
use crate::app::App;
use crate::failure::Failure;
use crate::storage::{Db, StorageError, Tx};
use margrave_shared::audit::{Finding, Head, SignedHead, Walk, Witness};
use margrave_shared::secret::SecretKey;

/// What a verification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The end of the chain up to which was looked.
    pub(crate) head: Option<Head>,
    /// How many sealed rows there are.
    pub(crate) sealed: i64,
    /// How many rows wait to be sealed: nothing is known of those.
    pub(crate) unsealed: i64,
    /// How long the oldest of them has been waiting, in milliseconds.
    pub(crate) waiting_ms: i64,
    /// What is wrong, at most a hundred findings.
    pub(crate) findings: Vec<Finding>,
    /// How much is wrong.
    pub(crate) found: usize,
}

impl Verified {
    /// For programs.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "ok": self.found == 0,
            "head": self.head.as_ref().map(Head::print),
            "sealed": self.sealed,
            "unsealed": self.unsealed,
            "waiting_ms": self.waiting_ms,
            "problems": self.findings.iter().map(Finding::print).collect::<Vec<_>>(),
            "found": self.found,
        })
    }
}

/// How many rows are read at once.
const PAGE: i64 = 1_000;

/// Whether the head was signed with this issuer's key; nothing where nothing was sealed yet.
///
/// # Errors
/// The database's.
pub(crate) async fn head_is_signed(db: &Db, root: &SecretKey) -> Result<Option<bool>, StorageError> {
    let mut tx = db.glance().await?;
    let head = chain_store::find_head(&mut tx).await?;
    let key = Chain::new(root).key.verifying_key();
    if head.is_none() && !chain_store::find_sealed(&mut tx, i64::MIN, 1).await?.is_empty() {
        return Ok(Some(false));
    }
    Ok(head.map(|head| head.is_signed_by(&key)))
}

/// The head; one that cannot be read is none.
async fn readable_head(tx: &mut Tx) -> Result<Option<SignedHead>, StorageError> {
    match chain_store::find_head(tx).await {
        Err(StorageError::Corrupt { .. }) => Ok(None),
        found => found,
    }
}

/// Walks the whole chain. Rows that are sealed meanwhile are not looked at.
///
/// # Errors
/// The database's. What is wrong with the chain is no error, but what was asked for.
pub(crate) async fn verify_chain(app: &App, witness: Option<Witness>) -> Result<Verified, Failure> {
    let mut tx = app.db.glance().await?;
    let signed = readable_head(&mut tx).await?;
    let end = signed.map_or(i64::MAX, |signed| signed.head.seq);
    let mut walk = Walk::new(witness);
    let (mut after, mut sealed) = (i64::MIN, 0);
    'walk: loop {
        let rows = chain_store::find_sealed(&mut tx, after, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for stored in rows {
            let (seq, hash) = (stored.seq.unwrap_or_default(), stored.hash.clone().unwrap_or_default());
            if seq > end {
                break 'walk;
            }
            walk.step(seq, &hash, &stored.into_row());
            (after, sealed) = (seq, sealed + 1);
        }
    }
    if signed.is_none() && sealed > 0 && readable_head(&mut tx).await?.is_some() {
        // The first rows were sealed while this looked.
        drop(tx);
        return Box::pin(verify_chain(app, witness)).await;
    }
    let (unsealed, oldest) = chain_store::count_waiting(&mut tx).await?;
    let beyond = chain_store::count_beyond(&mut tx).await?;
    drop(tx);
    // Nothing was sealed yet: then there is no head, and need not be.
    let (mut findings, mut found) = if signed.is_none() && sealed == 0 && witness.is_none() {
        (Vec::new(), 0)
    } else {
        walk.end(signed.as_ref(), &app.audit.chain().key.verifying_key())
    };
    if beyond > 0 {
        findings.push(Finding::Beyond(beyond));
        found += 1;
    }
    let waiting_ms = oldest.map_or(0, |at| (app.clock.now().0 - at).max(0));
    Ok(Verified { head: signed.map(|signed| signed.head), sealed, unsealed, waiting_ms, findings, found })
}
