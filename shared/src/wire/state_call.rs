//! Calls between processes of one self-hosted edge: from a gate, which judges requests, to the state process, which has the
//! Durable Objects.
//!
//! Both ends hold the same key. A call is authenticated with the time and a nonce (HMAC-SHA-256), so that none is made up
//! or repeated; its answer is authenticated together with the call's nonce, so that none is made up, changed or taken for
//! the answer to another call. Neither is encrypted: docs/operations.md says over what they may travel.

use crate::base64;
use crate::id::is_opaque_id;
use crate::limiter::LimiterKeys;
use crate::secret::{SecretKey, equal_in_constant_time};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The header of a call and of its answer.
pub const STATE_PROOF: &str = "margrave-state";

/// How far the clocks of the two ends may be apart, in milliseconds. Deadlines of sessions cross between them, so an edge
/// whose clocks differ by more would end sessions too late.
pub const MAX_SKEW_MS: i64 = 5_000;

/// The longest call in bytes; a pushed batch of endings, escaped as JSON, is the longest there is.
pub const MAX_CALL_BYTES: usize = 300_000;

/// Which kind of object is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// Sessions.
    Account,
    /// Attempts.
    Limiter,
    /// Endings and keys.
    Feed,
}

impl ObjectKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Limiter => "limiter",
            Self::Feed => "feed",
        }
    }
}

/// One call of an object.
/// What an older reader does not know it passes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCall {
    /// Which kind of object.
    pub kind: ObjectKind,
    /// The object's name.
    pub name: String,
    /// The URL with the call's parameters.
    pub url: String,
    /// The body of a POST; a GET without.
    pub body: Option<String>,
}

/// What is wrong with a call or an answer. Nobody is told; the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// The header is missing or no such header.
    #[error("its proof cannot be read")]
    Malformed,
    /// Another key, or something was changed on the way.
    #[error(
        "its proof is of another key or another text: are STATE_KEY, LIMITER_KEY, edge_id, issuer and session.objects the \
         same at both ends?"
    )]
    Forged,
    /// The clocks differ, or it was held up.
    #[error("it is more than five seconds old or early: are the clocks of both ends right?")]
    Untimely,
    /// It was there before.
    #[error("it is a repetition")]
    Repeated,
}

/// The keys of the connection: the first one signs, each is believed, so that a new key can be brought in without a pause.
#[derive(Debug, Clone)]
pub struct StateKeys {
    first: NamedKey,
    others: Vec<NamedKey>,
}

#[derive(Debug, Clone)]
struct NamedKey {
    id: String,
    key: SecretKey,
}

/// A text that is no list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is written as <key id>:<key>, or as several of them with commas between, the one that signs first"
)]
pub struct NotStateKeys;

impl StateKeys {
    /// Reads the secret `STATE_KEY`.
    ///
    /// # Errors
    /// [`NotStateKeys`], also where two keys have one id.
    pub fn parse(text: &str) -> Result<Self, NotStateKeys> {
        let mut keys: Vec<NamedKey> = Vec::new();
        for part in text.trim().split(',') {
            let (id, key) = part.trim().split_once(':').ok_or(NotStateKeys)?;
            let key = SecretKey::parse(key).map_err(|_| NotStateKeys)?;
            if !is_opaque_id(id) || keys.iter().any(|held| held.id == id) {
                return Err(NotStateKeys);
            }
            keys.push(NamedKey { id: id.to_owned(), key });
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(NotStateKeys)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// The same keys for ends that agree on these things besides. Gates that counted under other names, or kept sessions in
    /// other objects, would each be exact by itself and wrong together. What they count by may be in the course of a change: a call
    /// is signed by the first key, and one that either of them has signed is believed.
    #[must_use]
    pub fn agreeing_on(&self, counted_by: &LimiterKeys, parts: &[&[u8]]) -> Self {
        let agreed = |held: &NamedKey, counted_by: &SecretKey| {
            let parts = [&[b"margrave state".as_slice(), counted_by.bytes()], parts].concat();
            NamedKey { id: held.id.clone(), key: SecretKey::from_bytes(held.key.tag(&parts)) }
        };
        let counted_by = counted_by.derive("state");
        let all = || core::iter::once(&self.first).chain(&self.others);
        let all = counted_by.each().flat_map(|by| all().map(move |held| agreed(held, by)));
        Self { first: agreed(&self.first, counted_by.first()), others: all.skip(1).collect() }
    }

    /// The header for a call with this body: `v1;<key id>;<created, Unix ms>;<nonce>;<tag>`.
    pub fn prove_call(&self, body: &[u8], nonce: &[u8; 16], now: UnixMs) -> String {
        let NamedKey { id, key } = &self.first;
        let (created, nonce) = (now.0.to_string(), base64::encode_url(nonce));
        let tag = call_tag(key, &created, &nonce, body);
        format!("v1;{id};{created};{nonce};{}", base64::encode_url(&tag))
    }

    /// Checks a call's header; gives what the answer needs for its own.
    ///
    /// # Errors
    /// [`BadProof`]; a repetition is told by `seen`.
    pub fn check_call(
        &self,
        header: &str,
        body: &[u8],
        now: UnixMs,
        seen: &mut SeenNonces,
    ) -> Result<Answering, BadProof> {
        let mut parts = header.split(';');
        let mut part = || parts.next().ok_or(BadProof::Malformed);
        let (version, id, created, nonce, tag) = (part()?, part()?, part()?, part()?, part()?);
        if version != "v1" || parts.next().is_some() {
            return Err(BadProof::Malformed);
        }
        let tag = base64::decode_url(tag).map_err(|_| BadProof::Malformed)?;
        let signed = |held: &&NamedKey| {
            held.id == id && equal_in_constant_time(&call_tag(&held.key, created, nonce, body), &tag)
        };
        let NamedKey { key, .. } =
            core::iter::once(&self.first).chain(&self.others).find(signed).ok_or(BadProof::Forged)?;
        let created: i64 = created.parse().map_err(|_| BadProof::Malformed)?;
        if now.0.abs_diff(created) > MAX_SKEW_MS.unsigned_abs() {
            return Err(BadProof::Untimely);
        }
        if !seen.remember(nonce, now) {
            return Err(BadProof::Repeated);
        }
        Ok(Answering { key: key.clone(), nonce: nonce.to_owned(), is_young: created >= seen.since_ms })
    }

    /// Checks the header of the answer to the call with this nonce.
    ///
    /// # Errors
    /// [`BadProof`].
    pub fn check_answer(
        &self,
        header: &str,
        nonce: &[u8; 16],
        status: u16,
        body: &[u8],
    ) -> Result<(), BadProof> {
        let tag = base64::decode_url(header).map_err(|_| BadProof::Malformed)?;
        let expected = answer_tag(&self.first.key, &base64::encode_url(nonce), status, body);
        if equal_in_constant_time(&expected, &tag) { Ok(()) } else { Err(BadProof::Forged) }
    }
}

/// Proves the answer to one call.
#[derive(Debug, Clone)]
pub struct Answering {
    key: SecretKey,
    nonce: String,
    /// Whether it was made since this process remembers calls. An older one may be a repetition of one that was answered
    /// before a restart: it is not carried out, and [`ASK_AGAIN`] is the answer.
    pub is_young: bool,
}

/// The status of an answer to a call that was not carried out and may be made anew.
pub const ASK_AGAIN: u16 = 425;

impl Answering {
    /// The header for the answer: its tag.
    pub fn prove(&self, status: u16, body: &[u8]) -> String {
        base64::encode_url(&answer_tag(&self.key, &self.nonce, status, body))
    }
}

fn call_tag(key: &SecretKey, created: &str, nonce: &str, body: &[u8]) -> [u8; 32] {
    key.tag(&[b"margrave state call v1", created.as_bytes(), nonce.as_bytes(), body])
}

fn answer_tag(key: &SecretKey, nonce: &str, status: u16, body: &[u8]) -> [u8; 32] {
    key.tag(&[b"margrave state answer v1", nonce.as_bytes(), &status.to_be_bytes(), body])
}

/// The nonces of the calls that could be repeated in time, in two generations.
///
/// Only authenticated calls are remembered, so strangers cannot fill it.
#[derive(Debug)]
pub struct SeenNonces {
    since_ms: i64,
    young: HashSet<String>,
    old: HashSet<String>,
    turned_at_ms: i64,
}

impl SeenNonces {
    /// Nothing seen yet, from now on.
    pub fn new(now: UnixMs) -> Self {
        Self { since_ms: now.0, young: HashSet::new(), old: HashSet::new(), turned_at_ms: now.0 }
    }

    /// Remembers a nonce; `false` when it was there before.
    fn remember(&mut self, nonce: &str, now: UnixMs) -> bool {
        // A call is believed from five seconds before its time to five after it.
        if now.0.abs_diff(self.turned_at_ms) > 2 * MAX_SKEW_MS.unsigned_abs() {
            self.old = core::mem::take(&mut self.young);
            self.turned_at_ms = now.0;
        }
        !self.old.contains(nonce) && self.young.insert(nonce.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn keys(text: &[(&str, u8)]) -> StateKeys {
        let list: Vec<String> = text
            .iter()
            .map(|(id, byte)| format!("{id}:{}", SecretKey::from_bytes([*byte; 32]).to_text().expose()))
            .collect();
        StateKeys::parse(&list.join(", ")).unwrap()
    }

    #[test]
    fn a_call_counts_once_unchanged_and_in_time() {
        let gate = keys(&[("k1", 1)]);
        let body = b"{\"kind\":\"feed\"}";
        let good = gate.prove_call(body, &[9; 16], NOW);
        let tag = good.rsplit(';').next().unwrap().to_owned();
        let at = |ms: i64| UnixMs(NOW.0 + ms);
        let changed_time = good.replace("1800000000000", "1800000000001");
        let other_nonce = good.replace(&base64::encode_url(&[9; 16]), &base64::encode_url(&[8; 16]));
        type Row<'a> = (&'a str, &'a StateKeys, &'a str, &'a [u8], UnixMs, Option<BadProof>);
        let rows: [Row<'_>; 14] = [
            ("good", &gate, &good, body, NOW, None),
            ("four seconds late", &gate, &good, body, at(4_000), None),
            ("four seconds early", &gate, &good, body, at(-4_000), None),
            ("too late", &gate, &good, body, at(5_001), Some(BadProof::Untimely)),
            ("too early", &gate, &good, body, at(-5_001), Some(BadProof::Untimely)),
            ("another body", &gate, &good, b"{\"kind\":\"feeD\"}", NOW, Some(BadProof::Forged)),
            ("another time", &gate, &changed_time, body, NOW, Some(BadProof::Forged)),
            ("another nonce", &gate, &other_nonce, body, NOW, Some(BadProof::Forged)),
            ("another key of the same name", &keys(&[("k1", 2)]), &good, body, NOW, Some(BadProof::Forged)),
            ("an unknown key", &keys(&[("k2", 1)]), &good, body, NOW, Some(BadProof::Forged)),
            ("a second key", &keys(&[("k2", 2), ("k1", 1)]), &good, body, NOW, None),
            ("no header", &gate, "", body, NOW, Some(BadProof::Malformed)),
            ("only a tag", &gate, &tag, body, NOW, Some(BadProof::Malformed)),
            ("more parts", &gate, &format!("{good};x"), body, NOW, Some(BadProof::Malformed)),
        ];
        for (name, state, header, body, now, refused) in rows {
            let checked = state.check_call(header, body, now, &mut SeenNonces::new(NOW));
            assert_eq!(checked.err(), refused, "{name}");
        }
    }

    #[test]
    fn a_repetition_is_refused_for_as_long_as_the_call_is_in_time() {
        let gate = keys(&[("k1", 1)]);
        let mut seen = SeenNonces::new(NOW);
        // Made on a clock that is five seconds ahead, it may be repeated for ten.
        let call = gate.prove_call(b"", &[1; 16], UnixMs(NOW.0 + MAX_SKEW_MS));
        assert!(gate.check_call(&call, b"", NOW, &mut seen).is_ok());
        for ms in (0..=2 * MAX_SKEW_MS).step_by(100) {
            let now = UnixMs(NOW.0 + ms);
            // Others keep coming and turn the generations.
            let other = gate.prove_call(b"", &(ms as u128 + 2).to_be_bytes(), now);
            assert!(gate.check_call(&other, b"", now, &mut seen).is_ok());
            assert_eq!(gate.check_call(&call, b"", now, &mut seen).err(), Some(BadProof::Repeated), "{ms}");
        }
        let late = UnixMs(NOW.0 + 2 * MAX_SKEW_MS + 1);
        assert_eq!(gate.check_call(&call, b"", late, &mut seen).err(), Some(BadProof::Untimely));
        assert!(seen.young.len() + seen.old.len() < 203, "what is over is forgotten");
    }

    #[test]
    fn what_was_made_before_a_restart_is_not_carried_out() {
        let gate = keys(&[("k1", 1)]);
        for (made, young) in [(NOW.0 - 1, false), (NOW.0, true), (NOW.0 + 1, true)] {
            let call = gate.prove_call(b"", &[1; 16], UnixMs(made));
            let answering = gate.check_call(&call, b"", NOW, &mut SeenNonces::new(NOW)).unwrap();
            assert_eq!(answering.is_young, young, "{made}");
        }
    }

    #[test]
    fn both_ends_agree_on_what_they_count_by() {
        let keys = keys(&[("k1", 1), ("k2", 2)]);
        let counted = |bytes: &[u8]| {
            let texts =
                bytes.iter().map(|byte| SecretKey::from_bytes([*byte; 32]).to_text().expose().to_owned());
            LimiterKeys::parse(&texts.collect::<Vec<_>>().join(",")).unwrap()
        };
        let edge: &[&[u8]] = &[b"edge", b"shared"];
        for (by_gate, by_state, parts, same) in [
            (&[7][..], &[7][..], edge, true),
            (&[7], &[7], &[b"edge", b"each"], false),
            (&[7], &[7], &[b"edg", b"eshared"], false),
            (&[7], &[8], edge, false),
            // While it is changed, in each step the one end before the other.
            (&[7], &[7, 8], edge, true),
            (&[7, 8], &[7], edge, true),
            (&[7, 8], &[7, 8], edge, true),
            (&[7, 8], &[8, 7], edge, true),
            (&[8, 7], &[7, 8], edge, true),
            (&[8, 7], &[8, 7], edge, true),
            (&[8], &[8, 7], edge, true),
            (&[8, 7], &[8], edge, true),
            // A step was left out.
            (&[8, 7], &[7], edge, false),
            (&[7, 8], &[8], edge, false),
            (&[7, 9], &[8, 9], edge, false),
        ] {
            let gate = keys.agreeing_on(&counted(by_gate), edge);
            let state = keys.agreeing_on(&counted(by_state), parts);
            let call = gate.prove_call(b"", &[1; 16], NOW);
            let checked = state.check_call(&call, b"", NOW, &mut SeenNonces::new(NOW));
            assert_eq!(checked.is_ok(), same, "{by_gate:?} {by_state:?} {parts:?}");
            if let Ok(answering) = checked {
                let answer = answering.prove(200, b"alive");
                assert_eq!(gate.check_answer(&answer, &[1; 16], 200, b"alive"), Ok(()));
            }
        }
    }

    #[test]
    fn an_answer_is_believed_for_its_own_call_only() {
        let gate = keys(&[("new", 2), ("old", 1)]);
        let state = keys(&[("old", 1), ("new", 2)]);
        let call = gate.prove_call(b"call", &[1; 16], NOW);
        let answering = state.check_call(&call, b"call", NOW, &mut SeenNonces::new(NOW)).unwrap();
        let proof = answering.prove(200, b"alive");
        assert_eq!(gate.check_answer(&proof, &[1; 16], 200, b"alive"), Ok(()));
        for (name, nonce, status, body) in [
            ("another call's", [2; 16], 200, &b"alive"[..]),
            ("another status", [1; 16], 503, b"alive"),
            ("another body", [1; 16], 200, b"ended"),
        ] {
            assert_eq!(gate.check_answer(&proof, &nonce, status, body), Err(BadProof::Forged), "{name}");
        }
        assert_eq!(gate.check_answer("%", &[1; 16], 200, b"alive"), Err(BadProof::Malformed));
        // A call sent back is no answer, though both are of one key.
        let tag = call.rsplit(';').next().unwrap();
        assert_eq!(gate.check_answer(tag, &[1; 16], 200, b"call"), Err(BadProof::Forged));
    }

    #[test]
    fn keys_have_names_of_their_own() {
        let key = SecretKey::from_bytes([1; 32]).to_text().expose().to_owned();
        for bad in
            [String::new(), key.clone(), format!("k1:{key},"), format!("k1:{key},k1:{key}"), "k1:x".into()]
        {
            assert!(StateKeys::parse(&bad).is_err(), "{bad}");
        }
        assert!(StateKeys::parse(&format!("k1:{key}\n")).is_ok());
        assert!(!format!("{:?}", keys(&[("k1", 1)])).contains(&key));
    }
}
