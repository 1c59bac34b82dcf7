//! Which traces are sent: a share of them, chosen by a keyed hash of the trace's id. The id is the caller's to choose, and nobody chooses
//! by it that theirs is sent, or that all of them are; all issuers choose alike.

use margrave_shared::secret::SecretKey;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use std::sync::Arc;

/// A share of all traces.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    key: Arc<SecretKey>,
    ratio: f64,
}

impl Share {
    /// `ratio` of all traces, 0 to 1, chosen with a key that comes from this one.
    pub(crate) fn new(key: &SecretKey, ratio: f64) -> Self {
        Self { key: Arc::new(key.derive("sampled traces")), ratio }
    }

    fn takes(&self, id: TraceId) -> bool {
        let [a, b, c, d, ..] = self.key.tag(&[&id.to_bytes()]);
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.ratio * (f64::from(u32::MAX) + 1.0)
    }
}

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        id: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let decision =
            if self.takes(id) { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        let trace_state = parent.map(|parent| parent.span().span_context().trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state: trace_state.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_whatever_the_ids_are() {
        let key = SecretKey::from_bytes([7; 32]);
        for (ratio, least, most) in [(0.0, 0, 0), (0.01, 50, 150), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)]
        {
            let share = Share::new(&key, ratio);
            // Small ids, as somebody makes them who wants to be seen.
            let taken =
                (1..=10_000_u128).filter(|id| share.takes(TraceId::from_bytes(id.to_be_bytes()))).count();
            assert!((least..=most).contains(&taken), "{ratio}: {taken}");
        }
        let (one, other) = (Share::new(&key, 0.5), Share::new(&SecretKey::from_bytes([8; 32]), 0.5));
        let ids = || (1..=1_000_u128).map(|id| TraceId::from_bytes(id.to_be_bytes()));
        assert!(ids().any(|id| one.takes(id) != other.takes(id)), "it is chosen by the key");
    }
}
