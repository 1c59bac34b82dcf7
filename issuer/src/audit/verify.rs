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

/// Rows that wait for longer than this, in milliseconds, are sealed by nobody: they may be changed without a trace.
const LATE_MS: i64 = 60_000;

/// How many rows are read at once.
const PAGE: i64 = 1_000;

/// Whether there is a head that was signed with this issuer's key.
///
/// # Errors
/// The database's.
pub(crate) async fn head_is_signed(db: &Db, root: &SecretKey) -> Result<bool, StorageError> {
    let head = readable_head(&mut db.glance().await?).await?;
    Ok(head.is_some_and(|head| head.is_signed_by(&Chain::new(root).key.verifying_key())))
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
    // Before the head is read, or a newer one would be missed there.
    let seen = app.audit.chain().last().map(|head| Witness { seq: head.seq, hash: head.hash });
    let mut tx = app.db.glance().await?;
    let signed = readable_head(&mut tx).await?;
    let end = signed.map_or(i64::MAX, |signed| signed.head.seq);
    let mut walk = Walk::new(witness.into_iter().chain(seen));
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
    let (unsealed, oldest) = chain_store::count_waiting(&mut tx).await?;
    // Two rows of one number are met as one where a page ends between them.
    let twice = chain_store::count_numbered(&mut tx, end).await? - sealed;
    let beyond = chain_store::count_beyond(&mut tx).await? + twice;
    drop(tx);
    let (mut findings, mut found) = walk.end(signed.as_ref(), &app.audit.chain().key.verifying_key());
    let waiting_ms = oldest.map_or(0, |at| (app.clock.now().0 - at).max(0));
    let beyond = (beyond > 0).then_some(Finding::Beyond(beyond));
    let late = (waiting_ms > LATE_MS).then_some(Finding::Late(unsealed, waiting_ms / 1000));
    for finding in beyond.into_iter().chain(late) {
        findings.push(finding);
        found += 1;
    }
    Ok(Verified { head: signed.map(|signed| signed.head), sealed, unsealed, waiting_ms, findings, found })
}
