//! When edges were last heard of, for whoever watches: each polls its issuer all the time.

use crate::clock::Stopwatch;
use margrave_shared::id::EdgeId;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// What this process has heard of edges.
#[derive(Debug)]
pub(crate) struct Heard {
    since: Stopwatch,
    edges: Mutex<HashMap<EdgeId, Stopwatch>>,
    /// Whose next key is being noted.
    noting: Mutex<HashSet<EdgeId>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { since: Stopwatch::start(), edges: Mutex::default(), noting: Mutex::default() }
    }
}

impl Heard {
    /// A call that an edge has signed.
    pub(super) fn note(&self, edge: &EdgeId) {
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        edges.insert(edge.clone(), Stopwatch::start());
    }

    /// Whether nobody notes an edge's next key already: then the caller does.
    pub(super) fn begin_noting(&self, edge: &EdgeId) -> bool {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner).insert(edge.clone())
    }

    /// It is noted, or could not be.
    pub(super) fn end_noting(&self, edge: &EdgeId) {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
    }

    /// For how long nothing was heard of an edge, in seconds; of one that never called, since this process began.
    pub(crate) fn silent_s(&self, edge: &EdgeId) -> f64 {
        let edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        edges.get(edge).unwrap_or(&self.since).seconds()
    }
}
