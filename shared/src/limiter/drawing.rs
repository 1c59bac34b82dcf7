//! How an attempt draws from its buckets: from which, in which order, and what one that is empty means. Edge and issuer keep
//! their buckets differently and draw alike.
//!
//! It is long since the rule is followed through floods, alarms, silent buckets and a change of keys; that is two thirds of it.

use super::gcra::Empty;
use super::limits::{Limits, all_outcomes};
use super::pair::{Act, Counting, Pair};
use super::rule::{BucketKind, Outcome, address_key, bucket_key};
use super::{Limit, LimiterKeys};
use crate::id::MerchantId;
use crate::wire::token::FACTORS_GRANT;
use core::net::IpAddr;

/// What an attempt is on.
#[derive(Debug, Clone, Copy)]
pub enum Aim<'a> {
    /// Login and password.
    Login {
        /// The login in its normal form.
        login: &'a str,
        /// The merchant whose account it is said to be, where there is such a merchant.
        merchant: Option<&'a MerchantId>,
    },
    /// A merchant key's id.
    Key(&'a str),
    /// A refresh, which counts whatever its outcome.
    Refresh,
    /// A factors grant.
    Factors,
    /// Nothing in particular: the address alone counts.
    Nothing,
}

impl<'a> Aim<'a> {
    /// What a request of the token endpoint is an attempt on; `key` is the key's id of HTTP Basic, where there is one.
    pub fn of_grant(grant_type: Option<&str>, key: Option<&'a str>) -> Self {
        match (grant_type, key) {
            (Some("client_credentials"), Some(key)) => Self::Key(key),
            (Some("refresh_token"), None) => Self::Refresh,
            (Some(FACTORS_GRANT), None) => Self::Factors,
            _ => Self::Nothing,
        }
    }

    /// Whether an attempt of this outcome returns to its buckets.
    pub const fn gives_back(self, outcome: Outcome) -> bool {
        match self {
            Self::Refresh => false,
            Self::Login { .. } | Self::Key(_) | Self::Factors | Self::Nothing => outcome.gives_back(),
        }
    }
}

/// A bucket, and how it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// What it counts by.
    pub kind: BucketKind,
    /// Its keyed hash.
    pub key: [u8; 16],
    /// By which limits.
    pub counting: Counting,
}

/// What an attempt draws from.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// Those that admit or refuse, in the order of drawing: the address first, so that a flood from one address does not
    /// even reach the account's bucket.
    pub buckets: Vec<Draw>,
    /// Those of the merchant whose account it is said to be, which refuse nobody by themselves: they make the address's tight.
    pub merchant: Option<(MerchantId, Vec<Draw>)>,
    /// The limit of an address that is tight.
    pub tight: Limit,
}

/// The buckets of a client.
#[derive(Debug, Clone, Copy)]
pub struct Buckets<'a> {
    /// The limits.
    pub limits: &'a Limits,
    /// What their names are hashed with; each bucket is there once for each key.
    pub keys: &'a LimiterKeys,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
}

impl Buckets<'_> {
    /// A bucket of its kind, under each key.
    pub fn bucket(&self, kind: BucketKind, value: &str, limit: Limit) -> Vec<Draw> {
        let counting = Counting { limit, tight: None, all: Some(all_outcomes(limit)) };
        self.keys.each().map(|key| Draw { kind, key: bucket_key(key, kind, value), counting }).collect()
    }

    /// The client's address. Who has none shares one bucket with all who have none.
    pub fn address(&self) -> String {
        self.client.map_or_else(|| "unknown".to_owned(), address_key)
    }

    /// What an attempt draws from.
    pub fn of(&self, aim: Aim<'_>) -> Drawing {
        let address = |kind, limit| self.bucket(kind, &self.address(), limit);
        let strangers = || address(BucketKind::Address, self.limits.address);
        let account = |kind, value| self.bucket(kind, value, self.limits.account);
        let buckets = match aim {
            Aim::Login { login, .. } => [strangers(), account(BucketKind::Account, login)].concat(),
            Aim::Key(key) => [strangers(), account(BucketKind::Key, key)].concat(),
            Aim::Refresh | Aim::Factors => address(BucketKind::Exchange, self.limits.exchange),
            Aim::Nothing => strangers(),
        };
        let merchant = match aim {
            Aim::Login { merchant, .. } => {
                merchant.map(|merchant| (merchant.clone(), self.of_merchant(merchant)))
            }
            Aim::Key(_) | Aim::Refresh | Aim::Factors | Aim::Nothing => None,
        };
        Drawing { buckets, merchant, tight: self.limits.tight }
    }

    /// The one of a merchant, which sees only what is wrong: a large merchant has many right attempts.
    fn of_merchant(&self, merchant: &MerchantId) -> Vec<Draw> {
        let mut draws = self.bucket(BucketKind::Merchant, merchant.as_str(), self.limits.merchant);
        for draw in &mut draws {
            draw.counting.all = None;
        }
        draws
    }
}

/// Why nothing was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<F> {
    /// The bucket is empty.
    Empty(Empty),
    /// The bucket does not answer.
    Failed(F),
}

/// Where buckets are kept.
pub trait Keeper {
    /// Why a bucket does not answer.
    type Failed;

    /// Does something to a bucket that holds `at_most` so much; gives what it held before.
    fn apply(
        &mut self,
        draw: &Draw,
        act: Act,
        at_most: Pair,
    ) -> impl Future<Output = Result<Pair, Refusal<Self::Failed>>>;

    /// Whether the logins of a merchant are taken to be tried one after another.
    fn is_suspected(&self, merchant: &MerchantId) -> bool;

    /// Notes that they are.
    fn suspect(&mut self, merchant: &MerchantId);
}

/// Takes an attempt from one bucket under each of its keys. Under the next one it holds no more than under the one before: a key that
/// has just come in goes on from there.
///
/// # Errors
/// [`Refusal`] under the first key that refuses; what was drawn is in `taken`.
pub async fn take_under_each<K: Keeper>(
    keeper: &mut K,
    bucket: &[Draw],
    taken: &mut Vec<Draw>,
) -> Result<(), Refusal<K::Failed>> {
    let mut held = Pair::FULL;
    for draw in bucket {
        held = keeper.apply(draw, Act::Take, held).await?;
        taken.push(*draw);
    }
    Ok(())
}

/// Draws one attempt from every bucket; those that it has drawn from are in `taken`, also where it is refused: then
/// they are to be given back, since an attempt that one bucket refuses consumes from none.
///
/// # Errors
/// [`Refusal`] of the first bucket that refuses. That of a merchant never does by itself: it makes the address's tight.
pub async fn draw<K: Keeper>(
    keeper: &mut K,
    drawing: &Drawing,
    taken: &mut Vec<Draw>,
) -> Result<(), Refusal<K::Failed>> {
    let merchant = drawing.merchant.as_ref();
    let suspected = merchant.is_some_and(|(merchant, _)| keeper.is_suspected(merchant));
    for bucket in drawing.buckets.chunk_by(|a, b| a.kind == b.kind) {
        take_under_each(keeper, bucket, taken).await?;
        if suspected && bucket.iter().any(|draw| draw.kind == BucketKind::Address) {
            // Before the login's bucket: what the address may not do must not hold an attempt of its owner's.
            tighten(keeper, drawing.tight, taken).await?;
        }
    }
    let Some((merchant, bucket)) = merchant else { return Ok(()) };
    match take_under_each(keeper, bucket, taken).await {
        Ok(()) => return Ok(()),
        Err(Refusal::Empty(_)) => keeper.suspect(merchant),
        // A bucket that is silent is taken for an empty one: it refuses nobody by itself.
        Err(Refusal::Failed(_)) => {}
    }
    if suspected { Ok(()) } else { tighten(keeper, drawing.tight, taken).await }
}

/// Counts the address of an attempt by the tight limit.
async fn tighten<K: Keeper>(
    keeper: &mut K,
    tight: Limit,
    taken: &mut [Draw],
) -> Result<(), Refusal<K::Failed>> {
    for address in taken.iter_mut().filter(|draw| draw.kind == BucketKind::Address) {
        let mut tightened = *address;
        tightened.counting.tight = Some(tight);
        keeper.apply(&tightened, Act::Tighten, Pair::FULL).await?;
        *address = tightened;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::limits::LimitSettings;
    use crate::secret::SecretKey;
    use crate::time::UnixMs;
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Buckets in a map; those of one kind may be silent.
    #[derive(Default)]
    struct InMemory {
        pairs: HashMap<[u8; 16], Pair>,
        silent: Option<BucketKind>,
        suspected: Cell<bool>,
        /// Milliseconds since the first attempt.
        ms: i64,
    }

    impl Keeper for InMemory {
        type Failed = ();

        async fn apply(&mut self, draw: &Draw, act: Act, at_most: Pair) -> Result<Pair, Refusal<()>> {
            if self.silent == Some(draw.kind) {
                return Err(Refusal::Failed(()));
            }
            let pair = self.pairs.entry(draw.key).or_insert(Pair::FULL);
            let before = pair.at_most(at_most);
            let now = UnixMs(1_800_000_000_000 + self.ms);
            *pair = draw.counting.apply(before, act, now).map_err(Refusal::Empty)?;
            Ok(before)
        }

        fn is_suspected(&self, _: &MerchantId) -> bool {
            self.suspected.get()
        }

        fn suspect(&mut self, _: &MerchantId) {
            self.suspected.set(true);
        }
    }

    /// One attempt; whoever is refused gives back what was drawn.
    fn attempt(keeper: &mut InMemory, aim: Aim<'_>, client: &str) -> Result<Vec<BucketKind>, Refusal<()>> {
        attempt_under(keeper, aim, client, &SecretKey::from_bytes([1; 32]).into())
    }

    fn attempt_under(
        keeper: &mut InMemory,
        aim: Aim<'_>,
        client: &str,
        keys: &LimiterKeys,
    ) -> Result<Vec<BucketKind>, Refusal<()>> {
        let settings = LimitSettings { merchant_attempts: Some(12), ..LimitSettings::default() };
        let limits = settings.limits(&mut Vec::new()).unwrap();
        let buckets = Buckets { limits: &limits, keys, client: client.parse().ok() };
        let run = async {
            let mut taken = Vec::new();
            let drawn = draw(keeper, &buckets.of(aim), &mut taken).await;
            if drawn.is_err() {
                for bucket in &taken {
                    keeper.apply(bucket, Act::Untake, Pair::FULL).await?;
                }
            }
            drawn.map(|()| taken.iter().map(|bucket| bucket.kind).collect())
        };
        match pin!(run).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a map waits for nobody"),
        }
    }

    fn login<'a>(login: &'a str, merchant: &'a MerchantId) -> Aim<'a> {
        Aim::Login { login, merchant: Some(merchant) }
    }

    #[test]
    fn every_aim_has_its_buckets_in_their_order() {
        use BucketKind::{Account, Address, Exchange, Key, Merchant};
        let merchant = MerchantId::parse("m").unwrap();
        for (aim, kinds) in [
            (login("a", &merchant), vec![Address, Account, Merchant]),
            (Aim::Login { login: "a", merchant: None }, vec![Address, Account]),
            (Aim::Key("k"), vec![Address, Key]),
            (Aim::Refresh, vec![Exchange]),
            (Aim::Factors, vec![Exchange]),
            (Aim::Nothing, vec![Address]),
        ] {
            assert_eq!(attempt(&mut InMemory::default(), aim, "192.0.2.1").unwrap(), kinds, "{aim:?}");
        }
    }

    #[test]
    fn what_a_grant_draws_from_and_whether_it_comes_back() {
        for (grant, key, kind, right_returns) in [
            (Some("client_credentials"), Some("k"), BucketKind::Key, true),
            (Some("client_credentials"), None, BucketKind::Address, true),
            (Some("refresh_token"), None, BucketKind::Exchange, false),
            (Some("refresh_token"), Some("k"), BucketKind::Address, true),
            (Some(FACTORS_GRANT), None, BucketKind::Exchange, true),
            (Some("password"), None, BucketKind::Address, true),
            (None, None, BucketKind::Address, true),
        ] {
            let aim = Aim::of_grant(grant, key);
            let kinds = attempt(&mut InMemory::default(), aim, "192.0.2.1").unwrap();
            assert_eq!(kinds.last(), Some(&kind), "{grant:?} {key:?}");
            assert_eq!(aim.gives_back(Outcome::Right), right_returns, "{grant:?} {key:?}");
            assert!(!aim.gives_back(Outcome::Wrong));
        }
    }

    #[test]
    fn a_flood_from_one_address_stops_at_the_login_and_costs_its_owner_nothing_more() {
        let merchant = MerchantId::parse("m").unwrap();
        let mut keeper = InMemory::default();
        let admitted = |keeper: &mut InMemory, login_: &str, client: &str| {
            (0..40).filter(|_| attempt(keeper, login(login_, &merchant), client).is_ok()).count()
        };
        assert_eq!(admitted(&mut keeper, "alice", "192.0.2.1"), 5);
        assert_eq!(admitted(&mut keeper, "alice", "192.0.2.2"), 0, "the login is empty from wherever");
        // What the login refused did not come out of the address: it has its other attempts, until the merchant's seven are used up
        // and the address is tight, which leaves it two more: seven loose ones weigh less than one tight one.
        let others =
            (0..40).filter(|n| attempt(&mut keeper, login(&format!("l{n}"), &merchant), "192.0.2.2").is_ok());
        assert_eq!(others.count(), 9);
        assert!(keeper.suspected.get());
        assert_eq!(admitted(&mut keeper, "bob", "192.0.2.3"), 3, "tight for strangers");
        assert_eq!(
            admitted(&mut keeper, "bob", "192.0.2.4"),
            2,
            "and the rest of the login's five is not lost"
        );
    }

    #[test]
    fn limits_go_on_while_the_key_is_changed() {
        let merchant = MerchantId::parse("m").unwrap();
        let text = |bytes: &[u8]| {
            let keys =
                bytes.iter().map(|byte| SecretKey::from_bytes([*byte; 32]).to_text().expose().to_owned());
            LimiterKeys::parse(&keys.collect::<Vec<_>>().join(",")).unwrap()
        };
        let (old, both, new_first, new) = (text(&[1]), text(&[1, 2]), text(&[2, 1]), text(&[2]));
        // Which attempts are made under which keys, and how many of them are admitted, of one login and of one address.
        for (stages, admitted) in [
            (vec![&old, &both, &new_first], 5),
            (vec![&both, &new_first, &new], 5),
            // Gates of two stages at once.
            (vec![&both, &old, &both], 5),
            (vec![&new_first, &both, &new], 5),
            // What was taken under the old key is known under the new one, once both have admitted an attempt; not before.
            (vec![&old, &both, &new], 5),
            (vec![&old, &new, &new], 7),
        ] {
            let mut keeper = InMemory::default();
            let under = |keeper: &mut InMemory, keys: &LimiterKeys, tries: usize| {
                (0..tries)
                    .filter(|_| attempt_under(keeper, login("alice", &merchant), "192.0.2.1", keys).is_ok())
                    .count()
            };
            let first = under(&mut keeper, stages[0], 2);
            let rest = under(&mut keeper, stages[1], 40) + under(&mut keeper, stages[2], 40);
            assert_eq!(first + rest, admitted, "{stages:?}");
        }
    }

    #[test]
    fn what_is_flooded_has_no_more_when_the_old_key_goes() {
        let merchant = MerchantId::parse("m").unwrap();
        let keys = |bytes: &[u8]| {
            let keys =
                bytes.iter().map(|byte| SecretKey::from_bytes([*byte; 32]).to_text().expose().to_owned());
            LimiterKeys::parse(&keys.collect::<Vec<_>>().join(",")).unwrap()
        };
        // Attempts twice a second on one login and on ever new ones, while the key is changed in steps of a window or not at all.
        let flood = |stages: [&[u8]; 4], is_one: bool| {
            let mut keeper = InMemory::default();
            let mut admitted = 0;
            for (stage, bytes) in stages.into_iter().enumerate() {
                let keys = keys(bytes);
                for n in 0..600 {
                    let name = if is_one { "alice".to_owned() } else { format!("l{stage}-{n}") };
                    keeper.ms += 500;
                    admitted += usize::from(
                        attempt_under(&mut keeper, login(&name, &merchant), "192.0.2.1", &keys).is_ok(),
                    );
                }
            }
            admitted
        };
        for is_one in [true, false] {
            let changed = flood([&[1], &[1, 2], &[2, 1], &[2]], is_one);
            assert_eq!(changed, flood([&[1]; 4], is_one), "{is_one}");
        }
    }

    #[test]
    fn an_alarm_makes_the_address_tight_under_both_keys() {
        let merchant = MerchantId::parse("m").unwrap();
        let text = |byte| SecretKey::from_bytes([byte; 32]).to_text().expose().to_owned();
        let both = LimiterKeys::parse(&format!("{},{}", text(1), text(2))).unwrap();
        let second = LimiterKeys::parse(&text(2)).unwrap();
        for suspected in [false, true] {
            let mut keeper = InMemory { silent: Some(BucketKind::Merchant), ..InMemory::default() };
            keeper.suspected.set(suspected);
            let admitted = |keeper: &mut InMemory, keys: &LimiterKeys| {
                let names = (0..40).map(|n| format!("l{n}"));
                names
                    .filter(|name| attempt_under(keeper, login(name, &merchant), "192.0.2.1", keys).is_ok())
                    .count()
            };
            assert_eq!(admitted(&mut keeper, &both), 3);
            assert_eq!(admitted(&mut keeper, &second), 0, "{suspected}");
        }
    }

    #[test]
    fn a_silent_bucket_refuses_and_a_silent_merchant_only_tightens() {
        let merchant = MerchantId::parse("m").unwrap();
        for (silent, refused) in
            [(BucketKind::Address, true), (BucketKind::Account, true), (BucketKind::Merchant, false)]
        {
            let mut keeper = InMemory { silent: Some(silent), ..InMemory::default() };
            let result = attempt(&mut keeper, login("a", &merchant), "192.0.2.1");
            assert_eq!(result.is_err(), refused, "{silent:?}");
        }
        let mut keeper = InMemory { silent: Some(BucketKind::Merchant), ..InMemory::default() };
        let admitted = (0..40)
            .filter(|n| attempt(&mut keeper, login(&format!("l{n}"), &merchant), "192.0.2.1").is_ok())
            .count();
        assert_eq!(admitted, 3);
    }
}
