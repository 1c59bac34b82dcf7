//! The chain's end: what one may go on from, and entries that get their places as they are written.

use super::chain_store;
use super::store::{self, Row};
use crate::failure::Failure;
use crate::storage::{StorageError, Tx};
use ed25519_dalek::SigningKey;
use margrave_shared::audit::{Head, SignedHead, link};
use margrave_shared::secret::SecretKey;
use margrave_shared::time::UnixMs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From so many entries of one commit on they are chained as they are written, which spares writing each of them once more. Fewer are
/// left to the sealer: an act alone does not wait for the head.
const WORTH_CHAINING: usize = 8;

pub(super) const GONE: &str = "ALARM: the audit's head is gone; `margrave audit verify`";
const FOREIGN: &str = "ALARM: the audit's head was not signed with this master key; `margrave audit verify`";
const OTHER: &str = "ALARM: the audit is not what this process has sealed or seen; compare it with a head that was written down: `margrave \
     audit verify --head SEQ:HASH`";

/// What signs heads, and the last one that this process has seen.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Signs heads.
    pub(super) key: SigningKey,
    last: Mutex<Option<Head>>,
    /// The last one that this process has put there, whether that was committed or not.
    own: Mutex<Option<SignedHead>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chain {
    /// With the key that comes from the root key.
    pub(super) fn new(root: &SecretKey) -> Self {
        let key = SigningKey::from_bytes(root.derive("audit heads").bytes());
        Self { key, last: Mutex::default(), own: Mutex::default() }
    }

    /// The end of the chain as this process has last seen it committed.
    pub(super) fn last(&self) -> Option<Head> {
        *lock(&self.last)
    }

    /// Remembers it; several tasks may come by in any order. Only what is committed: a head that was begun and taken back is none.
    pub(super) fn remember(&self, head: Head) {
        let mut last = lock(&self.last);
        if last.is_none_or(|last| last.seq < head.seq) {
            *last = Some(head);
        }
    }

    /// The head, where it is this issuer's, its row is there, and so is what this process had seen before it read it. Going on from any
    /// other would cover up what was done.
    ///
    /// # Errors
    /// [`Failure::Internal`] where it is not; the database's.
    pub(super) async fn check(
        &self,
        tx: &mut Tx,
        signed: &SignedHead,
        last: Option<Head>,
    ) -> Result<Head, Failure> {
        self.look(tx, signed, last).await.map(|(head, _)| head)
    }

    /// The same for whoever has locked the head: then nothing has a number beyond it either, which would be in the way of the next.
    ///
    /// # Errors
    /// As [`Chain::check`].
    pub(super) async fn check_locked(&self, tx: &mut Tx, signed: &SignedHead) -> Result<Head, Failure> {
        // Whoever has it locked reads no older one than this process has seen committed.
        let (head, highest) = self.look(tx, signed, self.last()).await?;
        if highest > head.seq { Err(Failure::Internal(OTHER)) } else { Ok(head) }
    }

    /// The head, checked, and the highest number that was there a moment later.
    async fn look(
        &self,
        tx: &mut Tx,
        signed: &SignedHead,
        last: Option<Head>,
    ) -> Result<(Head, i64), Failure> {
        // What this process has signed itself need not be checked again.
        let is_own = *lock(&self.own) == Some(*signed);
        if !is_own && !signed.is_signed_by(&self.key.verifying_key()) {
            return Err(Failure::Internal(FOREIGN));
        }
        let head = signed.head;
        let last = last.unwrap_or(head);
        if last.seq > head.seq {
            return Err(Failure::Internal(OTHER));
        }
        let end = chain_store::find_end(tx, [head.seq, last.seq]).await?;
        let is_there = |seen: &Head| {
            seen.seq == 0
                || end.iter().any(|(seq, hash)| *seq == seen.seq && hash.as_deref() == Some(&seen.hash[..]))
        };
        if !is_there(&head) || !is_there(&last) {
            return Err(Failure::Internal(OTHER));
        }
        Ok((head, end.iter().map(|(seq, _)| *seq).max().unwrap_or(0)))
    }

    /// Writes entries; there is at least one. Those that are there already stay as they are, so that it may be tried again.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn write(&self, tx: &mut Tx, rows: &[&Row]) -> Result<(), StorageError> {
        if rows.len() >= WORTH_CHAINING
            && let Some(head) = self.lock(tx).await?
        {
            return self.go_on_from(head, tx, rows).await;
        }
        store::insert(tx, rows, &[]).await.map(|_| ())
    }

    /// Locks the head until the transaction ends. Nothing where there is none to go on from, which the sealer tells, and
    /// where somebody else holds it: an act waits for no other issuer, which may be frozen.
    async fn lock(&self, tx: &mut Tx) -> Result<Option<Head>, StorageError> {
        let Some(signed) = chain_store::try_lock_head(tx).await? else { return Ok(None) };
        match self.check_locked(tx, &signed).await {
            Ok(head) => Ok(Some(head)),
            Err(Failure::Storage(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn go_on_from(&self, from: Head, tx: &mut Tx, rows: &[&Row]) -> Result<(), StorageError> {
        let mut head = from;
        let mut links = Vec::with_capacity(rows.len());
        for row in rows {
            let seq = head.seq + 1;
            head =
                Head { seq, hash: link(&head.hash, seq, &row.hashed()), at: UnixMs(head.at.0.max(row.at())) };
            links.push((seq, head.hash));
        }
        let written = store::insert(tx, rows, &links).await?;
        if written == 0 {
            // All of them are there: the commit before this one was done, though nobody heard of it.
            return Ok(());
        }
        if written != rows.len() as u64 {
            return Err(StorageError::Corrupt { table: "audit", column: "id" });
        }
        let signed = head.sign(&self.key);
        chain_store::update_head(tx, &signed).await?;
        *lock(&self.own) = Some(signed);
        Ok(())
    }
}
