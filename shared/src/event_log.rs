//! What a reader of the feed holds: pulled batches in their order, and pushed ones (RFC 8935) ahead of them.
//!
//! A pull is the truth; a push is believed until a pull that began after it has come. So the cursor moves by pulls only,
//! and a push that was lost, repeated, of another time or forged changes nothing for longer than that.
//!
//! One file, though a long one: the log and its rules are two hundred lines, the rest is the model of an issuer that loses,
//! repeats, forges and goes back, against which they are proven.

use crate::event::{Batch, Event};
use crate::revocation::Cursor;
use crate::time::UnixMs;
use crate::token::expect::LEEWAY_S;
use std::collections::BTreeMap;

/// The most events that are held ahead of the pull.
const MAX_HELD: usize = 10_000;

/// The events that live, and how far the reader has pulled.
///
/// What happens is judged first ([`EventLog::pull`], [`EventLog::push`]), then stored by the reader, then applied: what
/// cannot be stored did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    cursor: Cursor,
    events: BTreeMap<i64, Event>,
    /// Events above the cursor, and when they were pushed.
    held: BTreeMap<i64, Tick>,
    /// Up to here nothing is missing, thanks to pushes.
    known: i64,
    /// When a push last moved `known`.
    known_at: Tick,
    /// Grows whenever an event goes that was not dead: who reads on from before holds what is no truth.
    revision: i64,
}

/// Counts the beginnings of pulls and the pushes of one reader. No clock: those are set back.
pub type Tick = u64;

/// What a step changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The numbers of events that are gone.
    pub gone: Vec<i64>,
    /// Events that are new, or another under their number.
    pub new: Vec<Event>,
    /// How far the reader has pulled then.
    pub cursor: Cursor,
    known: i64,
    known_at: Tick,
    taken_back: bool,
    /// For a push: when.
    pushed: Option<Tick>,
}

/// Why a pushed batch is not taken: the reader pulls instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Of another epoch than the one that is followed.
    #[error("a batch of another epoch")]
    OtherEpoch,
    /// It begins above what is known.
    #[error("what is before this batch is missing")]
    Gap,
    /// It says something else under a number than is known: one of the two is no truth. Only a pull of everything tells.
    #[error("a batch that contradicts what is known")]
    Contradiction,
    /// Too much is held ahead of the pull already.
    #[error("too much is held")]
    Full,
}

impl EventLog {
    /// What a storage holds. The revision is higher than any that this reader gave out before.
    pub fn new(cursor: Cursor, events: impl IntoIterator<Item = Event>, revision: i64) -> Self {
        let events: BTreeMap<i64, Event> = events.into_iter().map(|event| (event.seq, event)).collect();
        let held = events.range(cursor.seq + 1..).map(|(seq, _)| (*seq, 0)).collect();
        Self { known: cursor.seq, known_at: 0, cursor, events, held, revision }
    }

    /// How far it has pulled.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Up to which number nothing is missing.
    pub const fn known(&self) -> i64 {
        self.known
    }

    /// Counts what was taken back.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// All events that live, by number.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// The events that a pull has confirmed.
    pub fn pulled(&self) -> impl Iterator<Item = &Event> {
        self.events.range(..=self.cursor.seq).map(|(_, event)| event)
    }

    /// Judges what a pull that began at `began` gave, up to `cursor`. With `replaces` it is everything that lives up to
    /// there.
    pub fn pull(
        &self,
        replaces: bool,
        events: Vec<Event>,
        cursor: Cursor,
        began: Tick,
        now: UnixMs,
    ) -> Change {
        let same_epoch = cursor.epoch == self.cursor.epoch;
        let pulled: BTreeMap<i64, Event> = events.into_iter().map(|event| (event.seq, event)).collect();
        // What was pushed after the pull began may be younger than what it read.
        let ahead = |seq: i64| {
            same_epoch && seq > cursor.seq && self.held.get(&seq).is_some_and(|pushed| *pushed >= began)
        };
        let refuted = |seq: i64| {
            (replaces || self.held.contains_key(&seq)) && !pulled.contains_key(&seq) && !ahead(seq)
        };
        let gone: Vec<i64> = self.events.keys().copied().filter(|seq| refuted(*seq)).collect();
        // The issuer leaves out what is dead, and so may we.
        let was_alive = |seq: &i64| self.events.get(seq).is_some_and(|event| !is_dead(event, now));
        let mut taken_back = !same_epoch || gone.iter().any(was_alive);
        let mut new = Vec::new();
        for (seq, event) in pulled {
            match self.events.get(&seq) {
                Some(before) if *before == event => continue,
                Some(_) => taken_back = true,
                None => {}
            }
            new.push(event);
        }
        let pushed_on = same_epoch && self.known_at >= began;
        let known = if pushed_on { self.known.max(cursor.seq) } else { cursor.seq };
        Change { gone, new, cursor, known, known_at: self.known_at, taken_back, pushed: None }
    }

    /// Judges a pushed batch. Twice or late: the result is the same.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn push(&self, batch: Batch, at: Tick, now: UnixMs) -> Result<Change, NotTaken> {
        if batch.epoch != self.cursor.epoch {
            return Err(NotTaken::OtherEpoch);
        }
        if batch.from > self.known {
            return Err(NotTaken::Gap);
        }
        let mut new = Vec::new();
        for event in batch.events {
            match self.events.get(&event.seq) {
                _ if is_dead(&event, now) => {}
                Some(known) if *known == event => {}
                // Up to the cursor everything that lives is here.
                None if event.seq > self.cursor.seq => new.push(event),
                Some(_) | None => return Err(NotTaken::Contradiction),
            }
        }
        if self.held.len() + new.len() > MAX_HELD {
            return Err(NotTaken::Full);
        }
        let moves = batch.to > self.known;
        Ok(Change {
            gone: Vec::new(),
            new,
            cursor: self.cursor.clone(),
            known: self.known.max(batch.to),
            known_at: if moves { at } else { self.known_at },
            taken_back: false,
            pushed: Some(at),
        })
    }

    /// Does what was judged on this very log.
    pub fn apply(&mut self, change: Change) {
        for seq in &change.gone {
            self.events.remove(seq);
        }
        for event in change.new {
            if let Some(at) = change.pushed {
                self.held.insert(event.seq, at);
            }
            self.events.insert(event.seq, event);
        }
        self.cursor = change.cursor;
        (self.known, self.known_at) = (change.known, change.known_at);
        self.revision += i64::from(change.taken_back);
        self.held.retain(|seq, _| *seq > self.cursor.seq && self.events.contains_key(seq));
    }

    /// Forgets what can concern no living token any more; gives the numbers.
    pub fn forget_dead(&mut self, now: UnixMs) -> Vec<i64> {
        let dead: Vec<i64> =
            self.events.values().filter(|event| is_dead(event, now)).map(|event| event.seq).collect();
        for seq in &dead {
            self.events.remove(seq);
            self.held.remove(seq);
        }
        dead
    }

    /// What a reader of this reader lacks, and whether that replaces what it has. What was pushed is told every time
    /// until the cursor has passed it.
    pub fn since(&self, cursor: &Cursor, revision: i64) -> (bool, Vec<Event>) {
        let continues =
            cursor.epoch == self.cursor.epoch && cursor.seq <= self.cursor.seq && revision == self.revision;
        let from = if continues { cursor.seq } else { 0 };
        (!continues, self.events.range(from + 1..).map(|(_, event)| event.clone()).collect())
    }
}

fn is_dead(event: &Event, now: UnixMs) -> bool {
    event.until != 0 && event.until <= now.seconds() - LEEWAY_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Ended;
    use crate::id::SessionId;
    use proptest::prelude::*;

    fn event(seq: i64, until: i64, sid: &str) -> Event {
        Event { seq, until, ended: Ended::Session { sid: SessionId::parse(sid).unwrap() } }
    }

    fn batch(epoch: &str, from: i64, events: Vec<Event>) -> Batch {
        let to = events.last().map_or(from, |event| event.seq);
        Batch { epoch: epoch.to_owned(), from, to, head: to, events }
    }

    fn at(epoch: &str, seq: i64) -> Cursor {
        Cursor { epoch: epoch.to_owned(), seq }
    }

    type Outcome = (Vec<i64>, Vec<Event>);

    fn push(log: &mut EventLog, batch: Batch, tick: Tick) -> Result<Outcome, NotTaken> {
        let change = log.push(batch, tick, UnixMs(0))?;
        log.apply(change.clone());
        Ok((change.gone, change.new))
    }

    fn pull(log: &mut EventLog, replaces: bool, events: Vec<Event>, cursor: Cursor, began: Tick) -> Outcome {
        let change = log.pull(replaces, events, cursor, began, UnixMs(0));
        log.apply(change.clone());
        (change.gone, change.new)
    }

    fn seqs(log: &EventLog) -> Vec<i64> {
        log.events().map(|event| event.seq).collect()
    }

    #[test]
    fn a_push_moves_no_cursor_and_is_told_until_a_pull_has_passed_it() {
        let mut log = EventLog::new(at("e", 1), [event(1, 0, "a")], 7);
        let two = vec![event(1, 0, "a"), event(2, 0, "b")];
        assert_eq!(push(&mut log, batch("e", 0, two), 5), Ok((vec![], vec![event(2, 0, "b")])));
        assert_eq!((log.cursor(), log.known()), (&at("e", 1), 2));
        for _ in 0..2 {
            assert_eq!(log.since(&at("e", 1), 7), (false, vec![event(2, 0, "b")]));
        }
        let two = vec![event(2, 0, "b"), event(3, 0, "c")];
        assert_eq!(pull(&mut log, false, two, at("e", 3), 5), (vec![], vec![event(3, 0, "c")]));
        assert_eq!(log.since(&at("e", 3), 7), (false, vec![]));
        assert!(log.since(&at("other", 9), 7).0);
        assert!(log.since(&at("e", 3), 6).0);
    }

    #[test]
    fn what_is_of_another_epoch_contradicts_or_leaves_a_gap_changes_nothing() {
        let mut log = EventLog::new(at("e", 5), [event(4, 2000, "known")], 0);
        let now = UnixMs::from_seconds(1000);
        let unchanged = log.clone();
        let push =
            |from, events, epoch| log.push(batch(epoch, from, events), 1, now).map(|change| change.new);
        assert_eq!(push(3, vec![event(4, 2000, "known"), event(5, 970, "dead")], "e"), Ok(vec![]));
        assert_eq!(push(5, vec![event(6, 2000, "never-was")], "f"), Err(NotTaken::OtherEpoch));
        assert_eq!(push(6, vec![event(7, 2000, "later")], "e"), Err(NotTaken::Gap));
        // Numbers that were given out twice, or an ending that was not: nobody can tell which.
        for other in [vec![event(4, 2000, "other")], vec![event(5, 2000, "forgotten-or-never-heard-of")]] {
            assert_eq!(push(3, other, "e"), Err(NotTaken::Contradiction));
        }
        let many = (6..).take(MAX_HELD + 1).map(|seq| event(seq, 0, "x")).collect();
        assert_eq!(push(5, many, "e"), Err(NotTaken::Full));
        assert_eq!(log, unchanged);
        let change = log.push(batch("e", 5, vec![event(6, 970, "dead"), event(7, 971, "dying")]), 1, now);
        log.apply(change.unwrap());
        assert_eq!((seqs(&log), log.known()), (vec![4, 7], 7));
        let other = log.push(batch("e", 6, vec![event(7, 971, "suppressing")]), 2, now);
        assert_eq!(other, Err(NotTaken::Contradiction));
        assert_eq!(log.forget_dead(UnixMs::from_seconds(1001)), [7]);
    }

    #[test]
    fn a_pull_that_began_later_takes_back_what_it_does_not_confirm() {
        let mut log = EventLog::new(at("e", 1), [event(1, 0, "real")], 0);
        // Signed by a key that somebody has stolen: one that never was, one under another's number, one far ahead.
        let forged = vec![event(2, 0, "forged"), event(3, 0, "forged"), event(900, 0, "forged")];
        push(&mut log, batch("e", 1, forged), 10).unwrap();
        assert_eq!(log.known(), 900);
        // This one began before: what it does not reach it does not judge.
        let (gone, new) = pull(&mut log, false, vec![event(2, 0, "true")], at("e", 2), 10);
        assert_eq!((gone, new), (vec![], vec![event(2, 0, "true")]));
        assert_eq!((seqs(&log), log.revision()), (vec![1, 2, 3, 900], 1));
        assert_eq!(pull(&mut log, false, vec![], at("e", 2), 11), (vec![3, 900], vec![]));
        assert_eq!((seqs(&log), log.known(), log.revision()), (vec![1, 2], 2, 2));
    }

    #[test]
    fn a_database_that_went_back_takes_its_endings_back() {
        let mut log = EventLog::new(at("e", 1), [event(1, 0, "old")], 0);
        push(&mut log, batch("e", 1, vec![event(2, 0, "undone")]), 1).unwrap();
        let new = vec![event(1, 0, "new")];
        assert_eq!(pull(&mut log, true, new.clone(), at("f", 1), 1), (vec![2], new));
        // Without anybody having said so.
        pull(&mut log, false, vec![event(2, 0, "b"), event(3, 0, "c")], at("f", 3), 2);
        push(&mut log, batch("f", 3, vec![event(4, 0, "d")]), 3).unwrap();
        let two = vec![event(1, 0, "new"), event(2, 0, "other")];
        let (gone, new) = pull(&mut log, true, two, at("f", 2), 4);
        assert_eq!((gone, new), (vec![3, 4], vec![event(2, 0, "other")]));
        assert_eq!((seqs(&log), log.known()), (vec![1, 2], 2));
    }

    /// The issuer, as far as its feed goes.
    struct Issuer {
        epoch: u32,
        events: Vec<Event>,
        now: i64,
        /// Every event has a name of its own, whatever its number.
        names: u32,
    }

    impl Issuer {
        fn live(&self) -> Vec<Event> {
            let now = UnixMs::from_seconds(self.now);
            self.events.iter().filter(|event| !is_dead(event, now)).cloned().collect()
        }

        fn head(&self) -> i64 {
            self.events.last().map_or(0, |event| event.seq)
        }

        fn name(&mut self) -> String {
            self.names += 1;
            format!("s{}", self.names)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Something ends; its entry lives so many seconds, 0 = for ever.
        End(i64),
        /// A batch of the newest is signed and put on its way.
        Send(usize),
        /// One that is on its way, or was long ago, arrives.
        Arrive(usize),
        /// Somebody with a stolen key sends an ending so far ahead.
        Forge(i64),
        /// The reader pulls, as far as the head.
        Pull,
        /// The reader begins again with what it has stored.
        Restart,
        /// The database is restored to so many events earlier; somebody may say so.
        Restore(usize, bool),
        /// A reader of the reader asks.
        Sync,
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop_oneof![Just(0_i64), 1_i64..200].prop_map(Step::End),
            3 => (1_usize..4).prop_map(Step::Send),
            4 => any::<usize>().prop_map(Step::Arrive),
            1 => (1_i64..4).prop_map(Step::Forge),
            3 => Just(Step::Pull),
            1 => Just(Step::Restart),
            1 => (0_usize..3, any::<bool>()).prop_map(|(back, said)| Step::Restore(back, said)),
            3 => Just(Step::Sync),
            2 => (1_i64..100).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Loss, duplication, reordering, replay, forgery, restarts on both sides, a database that goes back.
        #[test]
        fn whatever_happens_to_pushes_the_log_is_exact(
            steps in proptest::collection::vec((step(), 0..5_u8), 1..80),
        ) {
            let mut issuer = Issuer { epoch: 1, events: Vec::new(), now: 1000, names: 0 };
            let mut sent: Vec<Batch> = Vec::new();
            let mut log = EventLog::new(Cursor::default(), [], 0);
            let mut stored: BTreeMap<i64, Event> = BTreeMap::new();
            let (mut isolate, mut isolate_at) = (BTreeMap::new(), (Cursor::default(), -1));
            // What a push has acknowledged, and whether something untrue may have come since the last pull.
            let mut acknowledged: Vec<Event> = Vec::new();
            let mut doubtful = false;
            let mut unsaid = false;
            let mut anew = false;
            for (tick, (step, fate)) in steps.into_iter().enumerate() {
                let now = UnixMs::from_seconds(issuer.now);
                let tick = tick as Tick;
                let epoch = issuer.epoch.to_string();
                let mut change = None;
                let pulls = matches!(step, Step::Pull);
                match step {
                    Step::End(life) => {
                        // The issuer sees that its feed is shorter than it was.
                        issuer.epoch += u32::from(std::mem::take(&mut unsaid));
                        let until = if life == 0 { 0 } else { issuer.now + life };
                        let name = issuer.name();
                        issuer.events.push(event(issuer.head() + 1, until, &name));
                    }
                    Step::Send(count) => {
                        let from = issuer.events.len().saturating_sub(count);
                        sent.push(batch(&epoch, from as i64, issuer.events[from..].to_vec()));
                    }
                    Step::Arrive(which) if !sent.is_empty() => {
                        let batch = sent[which % sent.len()].clone();
                        // Of before the database went back.
                        doubtful |= batch.events.iter().any(|event| !issuer.events.contains(event));
                        match log.push(batch.clone(), tick, now) {
                            Ok(judged) => {
                                change = Some(judged);
                                acknowledged.extend(batch.events);
                            }
                            // What is known may be what is not true: then everything is pulled.
                            Err(NotTaken::Contradiction) => anew = true,
                            Err(_) => {}
                        }
                    }
                    Step::Forge(ahead) => {
                        let name = issuer.name();
                        let known = log.known();
                        let forged = batch(&log.cursor().epoch.clone(), known, vec![event(known + ahead, 0, &name)]);
                        change = log.push(forged, tick, now).ok();
                        doubtful = true;
                    }
                    Step::Pull => {
                        let replaces =
                            anew || log.cursor().epoch != epoch || log.cursor().seq > issuer.head();
                        anew = false;
                        let from = if replaces { 0 } else { log.cursor().seq };
                        let events = issuer.live().into_iter().filter(|event| event.seq > from).collect();
                        change = Some(log.pull(replaces, events, at(&epoch, issuer.head()), tick, now));
                        acknowledged.clear();
                        doubtful = false;
                    }
                    Step::Restart => {
                        log = EventLog::new(log.cursor().clone(), stored.values().cloned(), 1000 * tick as i64 + 1000);
                    }
                    Step::Restore(back, said) => {
                        issuer.events.truncate(issuer.events.len().saturating_sub(back));
                        issuer.epoch += u32::from(said);
                        unsaid |= back > 0 && !said;
                        doubtful |= back > 0 || said;
                    }
                    Step::Sync => {
                        let (cursor, revision) = &isolate_at;
                        let (replaces, events) = log.since(cursor, *revision);
                        if replaces {
                            isolate.clear();
                        }
                        isolate.extend(events.into_iter().map(|event| (event.seq, event)));
                        isolate_at = (log.cursor().clone(), log.revision());
                        isolate.retain(|_, event| !is_dead(event, now));
                        let held: Vec<Event> = log.events().filter(|event| !is_dead(event, now)).cloned().collect();
                        let knows: Vec<Event> = isolate.values().cloned().collect();
                        prop_assert_eq!(knows, held, "who reads this reader knows the same");
                    }
                    Step::Pass(seconds) => issuer.now += seconds,
                    Step::Arrive(_) => {}
                }
                // One in five cannot be stored, and then did not happen.
                let fails = matches!(fate, 0) && !pulls;
                if let Some(change) = change.filter(|_| !fails) {
                    for seq in &change.gone {
                        stored.remove(seq);
                    }
                    stored.extend(change.new.iter().map(|event| (event.seq, event.clone())));
                    log.apply(change);
                } else if fails {
                    acknowledged.clear();
                }
                for seq in log.forget_dead(UnixMs::from_seconds(issuer.now)) {
                    stored.remove(&seq);
                }
                prop_assert!(stored.values().eq(log.events()), "what is stored is what is known");
                if pulls {
                    prop_assert!(log.events().eq(issuer.live().iter()), "a pull is the truth");
                }
                if !doubtful && log.cursor().epoch == issuer.epoch.to_string() {
                    let live = issuer.live();
                    for event in log.events() {
                        prop_assert!(live.contains(event), "{event:?} never ended");
                    }
                    for event in &live {
                        if event.seq <= log.known() || acknowledged.contains(event) {
                            prop_assert!(log.events().any(|held| held == event), "{event:?} is missing");
                        }
                    }
                }
            }
        }
    }
}
