//! Who is calling, as far as the transport knows.

use crate::audit::Person;
use margrave_shared::id::{EdgeId, RequestId};
use margrave_shared::wire::device::DeviceClaim;
use margrave_shared::wire::session_seen::SessionSeen;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// The id by which a client knows its request: the edge's, once it is known that an edge has signed it.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownAs(Arc<OnceLock<RequestId>>);

impl KnownAs {
    /// An edge knows it by this one.
    pub(crate) fn set(&self, id: RequestId) {
        let _ = self.0.set(id);
    }

    /// That one, where there is one.
    pub(crate) fn get(&self) -> Option<&RequestId> {
        self.0.get()
    }
}

/// The caller of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The client's address: from the edge's signature, or the peer's.
    pub(crate) address: Option<IpAddr>,
    /// The request's id.
    pub(crate) request_id: Option<RequestId>,
    /// The edge that signed the request.
    pub(crate) edge: Option<EdgeId>,
    /// What the edge has seen of the session that the request is about.
    pub(crate) session_seen: Option<SessionSeen>,
    /// The device that the edge knows the attempt to come from.
    pub(crate) device: Option<DeviceClaim>,
    /// What the client calls itself.
    pub(crate) user_agent: Option<String>,
    /// The client's `Idempotency-Key`.
    pub(crate) idempotency_key: Option<String>,
    /// Who it is, once a person is known: what is personal about what they do is kept under their key.
    pub(crate) person: OnceLock<Person>,
}

impl Caller {
    /// The operator at a shell.
    pub(crate) fn operator() -> Self {
        Self::default()
    }
}
