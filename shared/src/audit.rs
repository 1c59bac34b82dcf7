//! The audit's chain: every sealed row holds the hash of the one before it, and the last hash is signed. Whoever changes,
//! removes or moves a row has to make all hashes after it anew, and cannot sign the last one.
//!
//! One file, though a long one: a third of it changes every field, row and order of a chain, and looks whether that is found.

use crate::base64;
use crate::time::UnixMs;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// A row's hash.
pub type Link = [u8; 32];

/// What the first row follows.
pub const START: Link = [0; 32];

/// What is hashed of a row; the rest of it is its number and its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditRow {
    /// The row's id.
    pub id: String,
    /// Unix milliseconds of the act.
    pub at: i64,
    /// What was done or tried.
    pub act: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Within which merchant.
    pub merchant_id: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// To whom or what.
    pub subject: Option<String>,
    /// The keyed hash of the client's address.
    pub address_tag: Option<Vec<u8>>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The account whose key seals what is personal.
    pub person: Option<String>,
    /// What is personal, sealed: it stays as it is when the key is destroyed.
    pub personal: Option<Vec<u8>>,
}

/// Hashes fields so that no two lists of fields are alike in bytes: each with its presence and its length.
struct Fields(Sha256);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn maybe(&mut self, bytes: Option<&[u8]>) {
        self.0.update([u8::from(bytes.is_some())]);
        self.bytes(bytes.unwrap_or_default());
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }
}

/// The hash of a row, its number among the sealed ones, and the hash before it.
pub fn link(former: &Link, seq: i64, row: &AuditRow) -> Link {
    // Every field by its name: a new column that is not hashed does not compile.
    let AuditRow {
        id,
        at,
        act,
        outcome,
        reason,
        merchant_id,
        actor,
        subject,
        address_tag,
        request_id,
        person,
        personal,
    } = row;
    let mut fields = Fields(Sha256::new_with_prefix(b"margrave audit row 1\0"));
    fields.bytes(former);
    fields.number(seq);
    fields.bytes(id.as_bytes());
    fields.number(*at);
    fields.bytes(act.as_bytes());
    fields.bytes(outcome.as_bytes());
    for text in [reason, merchant_id, actor, subject, request_id, person] {
        fields.maybe(text.as_deref().map(str::as_bytes));
    }
    fields.maybe(address_tag.as_deref());
    fields.maybe(personal.as_deref());
    fields.0.finalize().into()
}

/// The end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last sealed row; 0 before the first.
    pub seq: i64,
    /// Its hash.
    pub hash: Link,
    /// When it was sealed.
    pub at: UnixMs,
}

/// A head with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// The head.
    pub head: Head,
    /// Ed25519 (RFC 8032).
    pub signature: [u8; 64],
}

impl Head {
    /// Before any row.
    pub const fn start(at: UnixMs) -> Self {
        Self { seq: 0, hash: START, at }
    }

    fn message(&self) -> Vec<u8> {
        let mut message = b"margrave audit head 1\0".to_vec();
        message.extend(self.seq.to_be_bytes());
        message.extend(self.hash);
        message.extend(self.at.0.to_be_bytes());
        message
    }

    /// Signs it.
    pub fn sign(self, key: &SigningKey) -> SignedHead {
        SignedHead { head: self, signature: key.sign(&self.message()).to_bytes() }
    }

    /// `seq:hash`, as it is written down outside the database.
    pub fn print(&self) -> String {
        format!("{}:{}", self.seq, base64::encode_url(&self.hash))
    }
}

impl SignedHead {
    /// Whether the key has signed it.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify_strict(&self.head.message(), &Signature::from_bytes(&self.signature)).is_ok()
    }
}

/// A place of the chain that was written down outside the database: what stood there then must stand there still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The row's number.
    pub seq: i64,
    /// Its hash.
    pub hash: Link,
}

impl Witness {
    /// Reads what [`Head::print`] wrote; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.trim().split_once(':')?;
        let hash = base64::decode_url(hash).ok()?.try_into().ok()?;
        Some(Self { seq: seq.parse().ok().filter(|seq| *seq >= 0)?, hash })
    }
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Rows are not there, from the first number to the last.
    Missing(i64, i64),
    /// The row is not as it was sealed, or not where.
    Changed(i64),
    /// A row has a hash of the wrong length.
    Unreadable(i64),
    /// No head is there.
    NoHead,
    /// The head bears no good signature.
    Unsigned,
    /// The last row is not the one that was signed.
    NotTheHead(i64),
    /// What was written down elsewhere is not what stands there.
    NotAsWitnessed(i64),
    /// So many rows bear numbers that were not given out, or that another one bears.
    Beyond(i64),
    /// So many rows wait to be sealed, the oldest for so many seconds: longer than an issuer that runs leaves one.
    Late(i64, i64),
}

impl Finding {
    /// In words.
    pub fn print(&self) -> String {
        match self {
            Self::Missing(from, to) => {
                format!("rows {from} to {to} are missing; of the one after them nothing is known")
            }
            Self::Changed(seq) => format!("row {seq} was changed, or moved there"),
            Self::Unreadable(seq) => format!("the hash of row {seq} is none"),
            Self::NoHead => "the signed head is missing".to_owned(),
            Self::Unsigned => "the head was not signed by this issuer's master key".to_owned(),
            Self::NotTheHead(seq) => format!("row {seq} is not the one that was signed"),
            Self::Beyond(rows) => {
                format!("{rows} rows bear numbers that were not given out, or are another's")
            }
            Self::Late(rows, seconds) => format!(
                "{rows} rows wait to be sealed, the oldest for {seconds} s, and nothing is known of them: an issuer that runs \
                 (`margrave serve`) seals within a second, or its log says what is in the way"
            ),
            Self::NotAsWitnessed(seq) => format!("row {seq} is not the one that was written down"),
        }
    }
}

/// Walks a chain from its first row to its last.
#[derive(Debug)]
pub struct Walk {
    former: Link,
    next: i64,
    witnesses: Vec<Witness>,
    findings: Vec<Finding>,
    found: usize,
}

/// The most findings that are named.
const MOST_FINDINGS: usize = 100;

impl Walk {
    /// Before the first row.
    pub fn new(witnesses: impl IntoIterator<Item = Witness>) -> Self {
        let witnesses = witnesses.into_iter().collect();
        Self { former: START, next: 1, witnesses, findings: Vec::new(), found: 0 }
    }

    fn note(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        }
    }

    fn compare(&mut self, seq: i64, hash: &Link) {
        if self.witnesses.iter().any(|witness| witness.seq == seq && witness.hash != *hash) {
            self.note(Finding::NotAsWitnessed(seq));
        }
    }

    /// Takes the row with the next higher number.
    pub fn step(&mut self, seq: i64, hash: &[u8], row: &AuditRow) {
        let missing = seq != self.next;
        if seq > self.next {
            self.note(Finding::Missing(self.next, seq.saturating_sub(1)));
        } else if missing {
            // Numbers begin at one.
            self.note(Finding::Changed(seq));
            return;
        }
        self.next = seq.saturating_add(1);
        let Ok(stored) = Link::try_from(hash) else {
            self.note(Finding::Unreadable(seq));
            self.former = link(&self.former, seq, row);
            return;
        };
        // After a gap the hash before is not known, and the gap is told already.
        if !missing && link(&self.former, seq, row) != stored {
            self.note(Finding::Changed(seq));
        }
        self.compare(seq, &stored);
        // Going on from what is stored, so that one change is one finding and not all rows after it.
        self.former = stored;
    }

    /// Ends the walk at the head that is stored. Gives what was found, at most a hundred, and how much there was.
    pub fn end(mut self, head: Option<&SignedHead>, key: &VerifyingKey) -> (Vec<Finding>, usize) {
        let last = self.next - 1;
        let start = Link::default();
        self.compare(0, &start);
        let mut told = last;
        match head {
            None => self.note(Finding::NoHead),
            Some(signed) => {
                if !signed.is_signed_by(key) {
                    self.note(Finding::Unsigned);
                }
                let Head { seq, hash, .. } = signed.head;
                if seq > last {
                    told = seq;
                    self.note(Finding::Missing(self.next, seq));
                } else if seq < last || hash != self.former {
                    self.note(Finding::NotTheHead(last));
                }
            }
        }
        let seen = self.witnesses.iter().map(|witness| witness.seq).max().unwrap_or(0);
        if seen > told {
            self.note(Finding::Missing(told + 1, seen));
        }
        (self.findings, self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sealed = (i64, Link, AuditRow);

    fn row(number: i64) -> AuditRow {
        AuditRow {
            id: format!("id-{number}"),
            at: 1_800_000_000_000 + number,
            act: "factor.credentials".to_owned(),
            outcome: if number % 3 == 0 { "refused" } else { "done" }.to_owned(),
            reason: (number % 3 == 0).then(|| "wrong_password".to_owned()),
            merchant_id: Some("m".to_owned()),
            actor: None,
            subject: Some(format!("account:{}", number % 4)),
            address_tag: Some(vec![1, 2, 3]),
            request_id: None,
            person: Some("a".to_owned()),
            personal: Some(vec![7; 20]),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn chain(length: i64) -> (Vec<Sealed>, SignedHead) {
        let (mut rows, mut former) = (Vec::new(), START);
        for seq in 1..=length {
            former = link(&former, seq, &row(seq));
            rows.push((seq, former, row(seq)));
        }
        (rows, Head { seq: length, hash: former, at: UnixMs(5) }.sign(&key()))
    }

    fn walk(rows: &[Sealed], head: Option<&SignedHead>, witness: Option<Witness>) -> Vec<Finding> {
        let mut walk = Walk::new(witness);
        // As a database gives them: by their numbers.
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|(seq, ..)| *seq);
        for (seq, hash, row) in rows {
            walk.step(*seq, hash, row);
        }
        walk.end(head, &key().verifying_key()).0
    }

    /// Every field, changed in every way that keeps it a field.
    fn mutations(row: &AuditRow) -> Vec<AuditRow> {
        let text = |text: &Option<String>| match text {
            None => vec![Some(String::new()), Some("x".to_owned())],
            Some(text) => vec![None, Some(format!("{text}x")), Some(String::new())],
        };
        let bytes = |bytes: &Option<Vec<u8>>| match bytes {
            None => vec![Some(Vec::new()), Some(vec![1])],
            Some(bytes) => vec![None, Some(bytes[1..].to_vec()), Some(Vec::new())],
        };
        let mut all = vec![
            AuditRow { id: "other".to_owned(), ..row.clone() },
            AuditRow { at: row.at + 1, ..row.clone() },
            AuditRow { act: "token.revoke".to_owned(), ..row.clone() },
            AuditRow { outcome: "other".to_owned(), ..row.clone() },
        ];
        all.extend(text(&row.reason).into_iter().map(|reason| AuditRow { reason, ..row.clone() }));
        all.extend(
            text(&row.merchant_id).into_iter().map(|merchant_id| AuditRow { merchant_id, ..row.clone() }),
        );
        all.extend(text(&row.actor).into_iter().map(|actor| AuditRow { actor, ..row.clone() }));
        all.extend(text(&row.subject).into_iter().map(|subject| AuditRow { subject, ..row.clone() }));
        all.extend(
            text(&row.request_id).into_iter().map(|request_id| AuditRow { request_id, ..row.clone() }),
        );
        all.extend(text(&row.person).into_iter().map(|person| AuditRow { person, ..row.clone() }));
        all.extend(
            bytes(&row.address_tag).into_iter().map(|address_tag| AuditRow { address_tag, ..row.clone() }),
        );
        all.extend(bytes(&row.personal).into_iter().map(|personal| AuditRow { personal, ..row.clone() }));
        // What stands in one field moves to the next.
        all.push(AuditRow { actor: row.subject.clone(), subject: row.actor.clone(), ..row.clone() });
        all
    }

    #[test]
    fn an_honest_chain_has_nothing_to_find() {
        for length in [0, 1, 2, 50] {
            let (rows, head) = chain(length);
            assert_eq!(walk(&rows, Some(&head), None), []);
            let witness = Witness::parse(&head.head.print()).unwrap();
            assert_eq!(walk(&rows, Some(&head), Some(witness)), []);
        }
        let start = Witness::parse(&Head::start(UnixMs(0)).print()).unwrap();
        assert_eq!(walk(&chain(5).0, Some(&chain(5).1), Some(start)), []);
    }

    #[test]
    fn every_change_of_every_field_of_every_row_is_found() {
        let (rows, head) = chain(8);
        let mut tried = 0;
        for place in 0..rows.len() {
            for mutated in mutations(&rows[place].2) {
                let mut rows = rows.clone();
                rows[place].2 = mutated;
                assert_eq!(walk(&rows, Some(&head), None), [Finding::Changed(place as i64 + 1)]);
                tried += 1;
            }
        }
        assert!(tried > 8 * 20);
    }

    #[test]
    fn every_run_of_rows_that_is_cut_out_is_found() {
        let (rows, head) = chain(8);
        for from in 0..8 {
            for to in from + 1..=8 {
                let mut left = rows.clone();
                left.drain(from..to);
                let findings = walk(&left, Some(&head), None);
                assert_eq!(findings[0], Finding::Missing(from as i64 + 1, to as i64), "{findings:?}");
                // Closing the gap by new numbers does not help.
                for (place, row) in left.iter_mut().enumerate() {
                    row.0 = place as i64 + 1;
                }
                assert_ne!(walk(&left, Some(&head), None), [], "{from}..{to}");
            }
        }
    }

    #[test]
    fn rows_that_change_places_are_found() {
        let (rows, head) = chain(8);
        for a in 0..8 {
            for b in a + 1..8 {
                // Their numbers, with and without their hashes.
                let mut swapped = rows.clone();
                (swapped[a].0, swapped[b].0) = (rows[b].0, rows[a].0);
                assert_ne!(walk(&swapped, Some(&head), None), []);
                (swapped[a].1, swapped[b].1) = (rows[b].1, rows[a].1);
                assert_ne!(walk(&swapped, Some(&head), None), []);
            }
        }
    }

    #[test]
    fn who_makes_all_hashes_anew_cannot_sign_the_last() {
        let (rows, head) = chain(8);
        let forge = |rows: &[Sealed], change: &dyn Fn(&mut AuditRow)| {
            let (mut forged, mut former) = (Vec::new(), START);
            for (seq, _, row) in rows {
                let mut row = row.clone();
                if *seq == 3 {
                    change(&mut row);
                }
                former = link(&former, *seq, &row);
                forged.push((*seq, former, row));
            }
            (forged, former)
        };
        let (forged, last) = forge(&rows, &|row| row.outcome = "done".to_owned());
        assert_eq!(walk(&forged, Some(&head), None), [Finding::NotTheHead(8)]);
        let unsigned = SignedHead { head: Head { hash: last, ..head.head }, ..head };
        assert_eq!(walk(&forged, Some(&unsigned), None), [Finding::Unsigned]);
        let by_another = unsigned.head.sign(&SigningKey::from_bytes(&[4; 32]));
        assert_eq!(walk(&forged, Some(&by_another), None), [Finding::Unsigned]);
        assert_eq!(walk(&forged, None, None), [Finding::NoHead]);
        // A number or a time that was not signed.
        let moved = SignedHead { head: Head { at: UnixMs(6), ..head.head }, ..head };
        assert_eq!(walk(&rows, Some(&moved), None), [Finding::Unsigned]);
    }

    #[test]
    fn an_older_head_with_its_rows_is_found_by_what_was_written_down() {
        let (rows, _) = chain(5);
        let (_, later) = chain(8);
        let (_, older) = chain(5);
        let witness = Witness::parse(&later.head.print()).unwrap();
        assert_eq!(walk(&rows, Some(&older), None), [], "the chain alone cannot know");
        assert_eq!(walk(&rows, Some(&older), Some(witness)), [Finding::Missing(6, 8)]);
        let other = Witness { seq: 4, hash: [9; 32] };
        assert_eq!(walk(&rows, Some(&older), Some(other)), [Finding::NotAsWitnessed(4)]);
        for text in ["", "5", "5:x", "-1:AAAA", "5:AAAA"] {
            assert_eq!(Witness::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_found_is_bounded_and_counted() {
        let (mut rows, head) = chain(300);
        for (_, _, row) in &mut rows {
            row.at += 1;
        }
        let mut walk = Walk::new(None);
        for (seq, hash, row) in &rows {
            walk.step(*seq, hash, row);
        }
        let (findings, found) = walk.end(Some(&head), &key().verifying_key());
        assert_eq!((findings.len(), found), (100, 300));
    }

    proptest! {
        #[test]
        fn fields_do_not_run_into_each_other(
            actor in proptest::option::of("[a-c]{0,3}"), subject in proptest::option::of("[a-c]{0,3}"),
            other_actor in proptest::option::of("[a-c]{0,3}"), other_subject in proptest::option::of("[a-c]{0,3}"),
        ) {
            let a = AuditRow { actor: actor.clone(), subject: subject.clone(), ..row(1) };
            let b = AuditRow { actor: other_actor.clone(), subject: other_subject.clone(), ..row(1) };
            prop_assert_eq!(link(&START, 1, &a) == link(&START, 1, &b), a == b);
        }
    }
}
