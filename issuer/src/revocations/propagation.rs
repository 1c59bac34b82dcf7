//! How far each edge has been told by push, and the wait for it.

use margrave_shared::id::EdgeId;
use margrave_shared::revocation::Cursor;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an ending's answer waits for the edges.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// What is known of one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// Where it has said that it stands.
    position: Cursor,
    /// Whether its last answer was one: nobody waits for an edge that does not answer.
    reachable: bool,
}

/// What the edges have said to this process.
#[derive(Debug, Default)]
pub(crate) struct Propagation {
    edges: Mutex<BTreeMap<EdgeId, Told>>,
    changed: Notify,
}

impl Propagation {
    fn edges(&self) -> MutexGuard<'_, BTreeMap<EdgeId, Told>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all edges but these.
    pub(crate) fn keep(&self, is_one: impl Fn(&EdgeId) -> bool) {
        self.edges().retain(|id, _| is_one(id));
        self.changed.notify_waiters();
    }

    /// An edge has said where it stands.
    pub(crate) fn stands(&self, id: &EdgeId, position: Cursor) {
        self.edges().insert(id.clone(), Told { position, reachable: true });
        self.changed.notify_waiters();
    }

    /// How many endings an edge has not acknowledged to this process; `None` where it has said nothing of this epoch yet.
    pub(crate) fn behind(&self, id: &EdgeId, head: &Cursor) -> Option<i64> {
        let edges = self.edges();
        let position = &edges.get(id)?.position;
        (position.epoch == head.epoch).then(|| (head.seq - position.seq).max(0))
    }

    /// An edge did not answer, or does not move.
    pub(crate) fn silent(&self, id: &EdgeId) {
        if let Some(told) = self.edges().get_mut(id) {
            told.reachable = false;
        }
        self.changed.notify_waiters();
    }

    /// Waits until every one of these edges that answers has an ending, at most [`PATIENCE`]; gives whether all have.
    pub(crate) async fn settled(&self, ids: &[EdgeId], place: &Cursor) -> bool {
        let settled = async {
            loop {
                let changed = self.changed.notified();
                if let Some(verdict) = self.judge(ids, place) {
                    return verdict;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.unwrap_or(false)
    }

    /// `None` while it is worth waiting.
    fn judge(&self, ids: &[EdgeId], place: &Cursor) -> Option<bool> {
        let edges = self.edges();
        let mut all = true;
        for id in ids {
            match edges.get(id) {
                Some(told) if told.position.covers(place) => {}
                Some(told) if told.reachable => return None,
                _ => all = false,
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EdgeId {
        EdgeId::parse(text).unwrap()
    }

    fn at(epoch: &str, seq: i64) -> Cursor {
        Cursor { epoch: epoch.to_owned(), seq }
    }

    #[tokio::test]
    async fn an_answer_waits_for_those_who_answer_and_for_nobody_else() {
        let propagation = Propagation::default();
        let (a, b) = (id("a"), id("b"));
        let judge = |seq| propagation.judge(&[a.clone(), b.clone()], &at("e", seq));
        assert_eq!(propagation.judge(&[], &at("e", 1)), Some(true), "there is nobody to tell");
        assert_eq!(judge(1), Some(false), "nobody has answered yet");
        propagation.stands(&a, at("e", 4));
        assert_eq!(judge(4), Some(false));
        propagation.stands(&b, at("e", 5));
        assert_eq!(judge(4), Some(true));
        assert_eq!(judge(5), None);
        assert!(!propagation.settled(&[a.clone(), b.clone()], &at("e", 5)).await, "patience has an end");
        propagation.silent(&a);
        assert_eq!(judge(5), Some(false), "not waited for, and not told");
        assert_eq!(judge(4), Some(true), "told before it fell silent");
        assert_eq!(judge(6), None, "the other one is");
        propagation.stands(&a, at("e", 6));
        propagation.stands(&b, at("e", 6));
        assert!(propagation.settled(&[a.clone(), b.clone()], &at("e", 6)).await);
        // Of another epoch nobody knows anything, whatever the number.
        assert_eq!(propagation.judge(std::slice::from_ref(&b), &at("f", 1)), None);
        // What nothing is pushed to any more is not waited for.
        propagation.keep(|id| *id == b);
        assert_eq!(judge(6), Some(false));
    }
}
