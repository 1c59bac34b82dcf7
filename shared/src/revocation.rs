//! The set of endings that a verifier holds: exact, bounded by the lives of tokens, and idempotent.

use crate::claims::PermissionClaims;
use crate::event::{Batch, Ended, Event};
use crate::id::{AccountId, AppointmentId, GrantId, KeyId, Kid, SessionId};
use crate::time::UnixMs;
use crate::token::expect::LEEWAY_S;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Endings by kind and id; the value is (first generation that counts, until when to remember).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevocationSet {
    by_kind: HashMap<&'static str, HashMap<String, Entry>>,
    /// When each entry may be forgotten, soonest first.
    deaths: BTreeMap<i64, Vec<(&'static str, String)>>,
}

/// What of a token an ending may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concerned<'a> {
    /// The key that signed it.
    pub kid: &'a str,
    /// The token's id.
    pub jti: &'a str,
    /// Its session.
    pub sid: Option<&'a str>,
    /// The account of the person who acts.
    pub person: Option<&'a str>,
    /// The account's generation when it was minted.
    pub generation: Option<i64>,
    /// The merchant key it came from.
    pub key_id: Option<&'a str>,
    /// The application's grant it came from.
    pub grant_id: Option<&'a str>,
    /// The appointment it acts by.
    pub appointment_id: Option<&'a str>,
}

impl PermissionClaims {
    /// What of this token an ending may name.
    pub fn concerned<'a>(&'a self, kid: &'a Kid) -> Concerned<'a> {
        let appointment = self.cabinet.as_ref().and_then(|cabinet| cabinet.appointment_id.as_ref());
        Concerned {
            kid: kid.as_str(),
            jti: self.jti.as_str(),
            sid: self.sid.as_ref().map(SessionId::as_str),
            person: self.person().map(AccountId::as_str),
            generation: self.generation,
            key_id: self.key_id.as_ref().map(KeyId::as_str),
            grant_id: self.grant_id.as_ref().map(GrantId::as_str),
            appointment_id: appointment.map(AppointmentId::as_str),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    generation: i64,
    until: i64,
}

impl RevocationSet {
    /// Applies one event. Twice, late or out of order: the result is the same.
    pub fn apply(&mut self, event: &Event) {
        let kind = event.ended.kind();
        let id = event.ended.id();
        let until = if event.until == 0 { i64::MAX } else { event.until };
        let entries = self.by_kind.entry(kind).or_default();
        let entry = entries.entry(id.to_owned()).or_insert(Entry { generation: 0, until: i64::MIN });
        entry.generation = entry.generation.max(event.ended.generation());
        if until > entry.until {
            entry.until = until;
            if until != i64::MAX {
                self.deaths.entry(until).or_default().push((kind, id.to_owned()));
            }
        }
    }

    /// Forgets what can concern no living token any more.
    pub fn forget_dead(&mut self, now: UnixMs) {
        let alive_from = now.seconds() - LEEWAY_S;
        while let Some(first) = self.deaths.first_entry() {
            if *first.key() > alive_from {
                return;
            }
            let until = *first.key();
            for (kind, id) in first.remove() {
                let entries = self.by_kind.entry(kind).or_default();
                if entries.get(&id).is_some_and(|entry| entry.until <= until) {
                    entries.remove(&id);
                }
            }
        }
    }

    /// How many endings are held.
    pub fn len(&self) -> usize {
        self.by_kind.values().map(HashMap::len).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a session was ended.
    pub fn session_ended(&self, sid: &SessionId) -> bool {
        self.has("session", sid.as_str())
    }

    /// Whether a signing key is refused for ever.
    pub fn signing_key_ended(&self, kid: &Kid) -> bool {
        self.has("signing_key", kid.as_str())
    }

    /// What ended a token, if anything did.
    pub fn ending_of(&self, token: &Concerned<'_>) -> Option<&'static str> {
        let named = [
            ("signing_key", Some(token.kid)),
            ("token", Some(token.jti)),
            ("session", token.sid),
            ("key", token.key_id),
            ("grant", token.grant_id),
            ("appointment", token.appointment_id),
        ];
        if let Some((kind, _)) = named.into_iter().find(|(kind, id)| id.is_some_and(|id| self.has(kind, id)))
        {
            return Some(kind);
        }
        let entry = self.by_kind.get("account")?.get(token.person?)?;
        // A token without a generation is older than any.
        (token.generation.unwrap_or(-1) < entry.generation).then_some("account")
    }

    fn has(&self, kind: &str, id: &str) -> bool {
        self.by_kind.get(kind).is_some_and(|entries| entries.contains_key(id))
    }
}

/// Where a reader of the feed stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch it follows; empty before the first batch.
    pub epoch: String,
    /// The last number it has applied.
    pub seq: i64,
}

/// What a pulled batch is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It begins anew: forget everything, then apply.
    Replaces,
    /// It continues where the reader stands: apply.
    Continues,
    /// It does not fit: ask for everything that lives.
    Gap,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl Cursor {
    /// Whether who stands here has what is there. Numbers of different epochs say nothing about each other.
    pub fn covers(&self, place: &Self) -> bool {
        self.epoch == place.epoch && self.seq >= place.seq
    }

    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.rsplit_once(':')?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
        Some(Self { epoch: epoch.to_owned(), seq })
    }

    /// Judges a pulled batch.
    pub fn judge(&self, batch: &Batch) -> Continuity {
        if batch.from == 0 {
            Continuity::Replaces
        } else if batch.epoch == self.epoch && batch.from == self.seq {
            Continuity::Continues
        } else {
            Continuity::Gap
        }
    }
}

/// How far the clock of whoever ends something may be behind the clock of whoever has minted it, in seconds.
const CLOCKS_APART_S: i64 = 900;

/// Until when an ending must be remembered: for as long as a token minted until now can live, by whichever issuer's clock. Signing keys
/// never die.
pub fn remembered_until(ended: &Ended, now: UnixMs, longest_token_s: i64) -> i64 {
    match ended {
        Ended::SigningKey { .. } => 0,
        _ => now.seconds().saturating_add(longest_token_s).saturating_add(2 * LEEWAY_S + CLOCKS_APART_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::CommonClaims;
    use crate::id::{AccountId, KeyId, TokenId};
    use crate::json::Json;
    use proptest::prelude::*;

    #[test]
    fn an_ending_outlives_what_it_ends_though_a_clock_is_ten_minutes_behind() {
        let now = UnixMs(1_800_000_000_000);
        let ended = Ended::Token { jti: TokenId::parse("t").unwrap() };
        assert!(remembered_until(&ended, now.plus_seconds(-600), 300) > now.seconds() + 300);
        let key = Ended::SigningKey { kid: crate::id::Kid::parse("k").unwrap() };
        assert_eq!(remembered_until(&key, now, 300), 0);
    }

    fn claims(members: &str) -> PermissionClaims {
        let text =
            format!(r#"{{"iss":"i","aud":"a","iat":1,"exp":2,"jti":"t1","merchant_id":"m",{members}}}"#);
        let json = Json::parse(text.as_bytes()).unwrap();
        PermissionClaims::from_json(CommonClaims::from_json(&json).unwrap(), &json).unwrap()
    }

    fn event(seq: i64, until: i64, ended: Ended) -> Event {
        Event { seq, until, ended }
    }

    fn kid(text: &str) -> Kid {
        Kid::parse(text).unwrap()
    }

    #[test]
    fn an_ending_ends_exactly_what_it_names() {
        let person = |generation: i64| {
            claims(&format!(r#""sub":"a1","account_id":"a1","sid":"s1","gen":{generation},"grant_id":"g1""#))
        };
        let cabinet = claims(
            r#""sub":"x:desk","cabinet":{"kind":"office","appointment_id":"p1"},"act":{"sub":"a1"},"sid":"s1","gen":2"#,
        );
        let key = claims(r#""sub":"merchant:m","key_id":"k1""#);
        let account = |generation| Ended::Account { id: AccountId::parse("a1").unwrap(), generation };
        let of = |kind: &str, id: &str| Ended::from_parts(kind, id, 0).unwrap();
        let table = [
            (of("token", "t1"), &person(2), true),
            (of("token", "t2"), &person(2), false),
            (of("session", "s1"), &person(2), true),
            (of("session", "s1"), &cabinet, true),
            (of("session", "s1"), &key, false),
            (of("session", "a1"), &person(2), false),
            (account(3), &person(2), true),
            (account(2), &person(2), false),
            (account(3), &cabinet, true),
            (account(9), &key, false),
            (of("key", "k1"), &key, true),
            (of("key", "k1"), &person(2), false),
            (of("grant", "g1"), &person(2), true),
            (of("appointment", "p1"), &cabinet, true),
            (of("appointment", "p1"), &person(2), false),
            (of("signing_key", "d1"), &person(2), true),
            (of("signing_key", "d2"), &person(2), false),
        ];
        for (ended, claims, verdict) in table {
            let mut set = RevocationSet::default();
            assert_eq!(set.ending_of(&claims.concerned(&kid("d1"))), None);
            set.apply(&event(1, 100, ended.clone()));
            assert_eq!(
                set.ending_of(&claims.concerned(&kid("d1"))).is_some(),
                verdict,
                "{ended:?} {:?}",
                claims.sub
            );
        }
    }

    #[test]
    fn entries_die_with_the_last_token_they_could_concern() {
        let mut set = RevocationSet::default();
        set.apply(&event(1, 100, Ended::Token { jti: TokenId::parse("t").unwrap() }));
        set.apply(&event(2, 200, Ended::Key { key_id: KeyId::parse("k").unwrap() }));
        set.apply(&event(3, 300, Ended::Key { key_id: KeyId::parse("k").unwrap() }));
        set.apply(&event(4, 0, Ended::SigningKey { kid: kid("d") }));
        for (now, left) in [(129, 3), (130, 2), (329, 2), (330, 1), (1 << 40, 1)] {
            set.forget_dead(UnixMs::from_seconds(now));
            assert_eq!(set.len(), left, "{now}");
        }
    }

    #[test]
    fn only_the_next_batch_continues() {
        let batch =
            |epoch: &str, from| Batch { epoch: epoch.into(), from, to: from, head: from, events: Vec::new() };
        let cursor = Cursor { epoch: "e".into(), seq: 7 };
        for (batch, verdict) in [
            (batch("e", 7), Continuity::Continues),
            (batch("e", 6), Continuity::Gap),
            (batch("e", 8), Continuity::Gap),
            (batch("f", 7), Continuity::Gap),
            (batch("f", 0), Continuity::Replaces),
            (batch("e", 0), Continuity::Replaces),
        ] {
            assert_eq!(cursor.judge(&batch), verdict, "{batch:?}");
        }
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            events in proptest::collection::vec((0_i64..4, 1_i64..5, 1_i64..50), 1..30), seed in any::<u64>()
        ) {
            let events: Vec<_> = events
                .into_iter()
                .map(|(id, generation, until)| {
                    event(1, until, Ended::Account { id: AccountId::parse(&format!("a{id}")).unwrap(), generation })
                })
                .collect();
            let mut shuffled: Vec<_> = events.iter().chain(&events).cloned().collect();
            let len = shuffled.len() as u64;
            for i in 0..shuffled.len() {
                let j = (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i as u64 * 77) % len) as usize;
                shuffled.swap(i, j);
            }
            let (mut a, mut b) = (RevocationSet::default(), RevocationSet::default());
            for event in &events {
                a.apply(event);
            }
            for event in &shuffled {
                b.apply(event);
            }
            prop_assert_eq!(&a.by_kind, &b.by_kind);
            a.forget_dead(UnixMs::from_seconds(1000));
            prop_assert!(a.is_empty());
        }
    }
}
