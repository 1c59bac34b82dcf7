//! The root key: what every other key is derived from. It is made once, lies sealed in the database, and never changes; the master key,
//! which opens it, does. So a change of the master key is one row, and no issuer that runs notices.

use super::store;
use super::{open, purpose, seal, sealing_key};
use crate::app::App;
use crate::audit::{Entry, begin_chain, has_entries};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::{Db, Tx};
use margrave_shared::jwk::schedule::KeyState;
use margrave_shared::secret::SecretKey;

/// The master keys that an operator has named.
#[derive(Debug, Clone)]
pub(crate) struct MasterKeys {
    /// The present one.
    pub(crate) current: SecretKey,
    /// The one that follows it, while it is being changed.
    pub(crate) next: Option<SecretKey>,
}

impl From<SecretKey> for MasterKeys {
    fn from(current: SecretKey) -> Self {
        Self { current, next: None }
    }
}

/// By which of the master keys the root key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenedBy {
    Current,
    Next,
}

const PURPOSE: &str = "root key";

const WRONG: &str = "the database's keys do not open: is this the right master key? While it is being changed, both are named \
     (`next_master_key_file`)";

/// Of a database whose audit has entries, and which has neither a root key nor signing keys.
pub(crate) const ROOT_IS_GONE: &str = "the root key is gone from a database that is in use: somebody has taken it away. Restore a backup, \
     and see whom the database lets write";

fn open_with(masters: &MasterKeys, sealed: &[u8]) -> Result<(SecretKey, OpenedBy), Failure> {
    let all = [(Some(&masters.current), OpenedBy::Current), (masters.next.as_ref(), OpenedBy::Next)];
    for (key, by) in all {
        let Some(key) = key else { continue };
        if let Ok(root) = open(&key.derive("root key"), PURPOSE, sealed)
            && let Ok(root) = root.as_slice().try_into()
        {
            return Ok((SecretKey::from_bytes(root), by));
        }
    }
    Err(Failure::Internal(WRONG))
}

/// In a database of before all keys come from the master key itself: from one that opens the signing keys, and from no other. `None` where
/// there are none.
async fn of_before(tx: &mut Tx, masters: &MasterKeys) -> Result<Option<SecretKey>, Failure> {
    let keys = store::find_all(tx).await?;
    // What signs, and not a key that somebody with another master key may have put beside it.
    let active = keys.iter().find(|key| key.key.state == KeyState::Active);
    let Some(judged) = active.or(keys.last()) else { return Ok(None) };
    let sealing_key = sealing_key(&masters.current);
    match open(&sealing_key, &purpose(&judged.key.kid), &judged.sealed) {
        Ok(_) => Ok(Some(masters.current.clone())),
        Err(_) => Err(Failure::Internal(WRONG)),
    }
}

/// Finds the root key; changes nothing. `None` in a database that has none yet.
///
/// # Errors
/// [`Failure::Internal`] where no master key opens it.
pub(crate) async fn find_root(db: &Db, masters: &MasterKeys) -> Result<Option<SecretKey>, Failure> {
    let mut tx = db.glance().await?;
    match store::find_root(&mut tx).await? {
        Some(row) => Ok(Some(open_with(masters, &row.sealed)?.0)),
        None => of_before(&mut tx, masters).await,
    }
}

/// The master key that opens the database: the present one, or the next one where that has taken its place already.
///
/// # Errors
/// [`Failure::Internal`] where neither does.
pub(crate) async fn opening_key(tx: &mut Tx, masters: &MasterKeys) -> Result<SecretKey, Failure> {
    let Some(row) = store::find_root(tx).await? else {
        return Ok(masters.current.clone());
    };
    Ok(match (open_with(masters, &row.sealed)?.1, &masters.next) {
        (OpenedBy::Next, Some(next)) => next.clone(),
        _ => masters.current.clone(),
    })
}

/// What the root key of a database without one is to be.
async fn new_root(tx: &mut Tx, masters: &MasterKeys, entropy: &Entropy) -> Result<SecretKey, Failure> {
    match of_before(tx, masters).await? {
        Some(root) => Ok(root),
        // Another root would begin another chain, and whatever the first one has sealed would stay closed.
        None if has_entries(tx).await? => Err(Failure::Internal(ROOT_IS_GONE)),
        None => Ok(SecretKey::from_bytes(entropy.bytes())),
    }
}

/// Finds the root key, or makes it: of several processes one does. In a database of before it is the master key that its other keys come
/// from.
///
/// # Errors
/// [`Failure::Internal`] where no master key opens it, or it is gone from a database that is in use.
pub(crate) async fn root(
    db: &Db,
    masters: &MasterKeys,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<SecretKey, Failure> {
    let mut tx = db.begin().await?;
    if store::find_root(&mut tx).await?.is_none() {
        match new_root(&mut tx, masters, entropy).await {
            Ok(made) => {
                let sealed =
                    seal(&masters.current.derive("root key"), PURPOSE, made.bytes(), entropy.bytes());
                store::insert_root(&mut tx, &sealed, clock.now()).await?;
                begin_chain(&mut tx, &made, clock.now()).await?;
            }
            // Another process has made it since that was asked, and keys and entries that come from it.
            Err(_) if store::find_root(&mut tx).await?.is_some() => {}
            Err(failure) => return Err(failure),
        }
    }
    let row = store::find_root(&mut tx).await?.ok_or(Failure::Internal("the root key is not there"))?;
    let (root, _) = open_with(masters, &row.sealed)?;
    tx.commit().await?;
    Ok(root)
}

/// What a change of the master key came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewrapped {
    /// The next master key opens everything now.
    Done,
    /// It did already.
    Already,
}

/// Seals the root key with the next master key.
///
/// # Errors
/// [`Failure::Internal`] where there is no next one, or neither opens the root key.
pub(crate) async fn rotate_master_key(
    app: &App,
    masters: &MasterKeys,
    caller: &Caller,
) -> Result<Rewrapped, Failure> {
    let next = masters.next.as_ref().ok_or(Failure::Internal("no next master key is named"))?;
    let now = app.clock.now();
    let mut tx: Tx = app.db.begin().await?;
    let row = store::find_root(&mut tx).await?.ok_or(Failure::Internal("the root key is not there"))?;
    let (root, by) = open_with(masters, &row.sealed)?;
    if by == OpenedBy::Next {
        return Ok(Rewrapped::Already);
    }
    let sealed = seal(&next.derive("root key"), PURPOSE, root.bytes(), app.entropy.bytes());
    if !store::update_root(&mut tx, &sealed, row.version, now).await? {
        return Err(Failure::Internal("somebody else changes the master key at this moment"));
    }
    let entry = Entry::done("master_key.rotate").actor("operator");
    app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(Rewrapped::Done)
}
