//! Who acts in an administrative request, from the moment at which that is known.

use super::context::Caller;
use margrave_shared::id::MerchantId;
use std::sync::{Arc, OnceLock};

/// Whose act a request is. It is put there before the request is handled, and filled in by who authenticates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acting(Arc<OnceLock<Actor>>);

/// Who acts, and on whose things.
#[derive(Debug)]
pub(crate) struct Actor {
    /// As the audit names them.
    pub(crate) name: String,
    /// Within which merchant it stands in the audit.
    pub(crate) merchant: MerchantId,
    /// What the transport knows of them.
    pub(crate) caller: Caller,
}

impl Acting {
    /// It is this one's; the first word counts.
    pub(crate) fn fill_in(&self, actor: Actor) {
        let _ = self.0.set(actor);
    }

    /// Whose it is, once that is known.
    pub(crate) fn actor(&self) -> Option<&Actor> {
        self.0.get()
    }
}
