//! How an attempt draws from its buckets: from which, in which order, and what one that is empty means. Edge and issuer keep
//! their buckets differently and draw alike.

use super::Limit;
use super::gcra::Empty;
use super::limits::{Limits, all_outcomes};
use super::pair::{Act, Counting};
use super::rule::{BucketKind, Outcome, address_key, bucket_key};
use crate::id::MerchantId;
use crate::secret::SecretKey;
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
    /// The one of the merchant whose account it is said to be, which refuses nobody by itself: it makes the address's tight.
    pub merchant: Option<(MerchantId, Draw)>,
    /// The limit of an address that is tight.
    pub tight: Limit,
}

/// The buckets of a client.
#[derive(Debug, Clone, Copy)]
pub struct Buckets<'a> {
    /// The limits.
    pub limits: &'a Limits,
    /// What their names are hashed with.
    pub key: &'a SecretKey,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
}

impl Buckets<'_> {
    /// A bucket of its kind.
    pub fn bucket(&self, kind: BucketKind, value: &str, limit: Limit) -> Draw {
        let counting = Counting { limit, tight: None, all: Some(all_outcomes(limit)) };
        Draw { kind, key: bucket_key(self.key, kind, value), counting }
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
            Aim::Login { login, .. } => vec![strangers(), account(BucketKind::Account, login)],
            Aim::Key(key) => vec![strangers(), account(BucketKind::Key, key)],
            Aim::Refresh | Aim::Factors => vec![address(BucketKind::Exchange, self.limits.exchange)],
            Aim::Nothing => vec![strangers()],
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
    fn of_merchant(&self, merchant: &MerchantId) -> Draw {
        let mut draw = self.bucket(BucketKind::Merchant, merchant.as_str(), self.limits.merchant);
        draw.counting.all = None;
        draw
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

    /// Does something to a bucket.
    fn apply(&mut self, draw: &Draw, act: Act) -> impl Future<Output = Result<(), Refusal<Self::Failed>>>;

    /// Whether the logins of a merchant are taken to be tried one after another.
    fn is_suspected(&self, merchant: &MerchantId) -> bool;

    /// Notes that they are.
    fn suspect(&mut self, merchant: &MerchantId);
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
    for (i, bucket) in drawing.buckets.iter().enumerate() {
        keeper.apply(bucket, Act::Take).await?;
        taken.push(*bucket);
        if suspected && i == 0 {
            // Before the login's bucket: what the address may not do must not hold an attempt of its owner's.
            tighten(keeper, drawing.tight, taken).await?;
        }
    }
    let Some((merchant, bucket)) = merchant else { return Ok(()) };
    match keeper.apply(bucket, Act::Take).await {
        Ok(()) => taken.push(*bucket),
        Err(Refusal::Empty(_)) => {
            keeper.suspect(merchant);
            if !suspected {
                tighten(keeper, drawing.tight, taken).await?;
            }
        }
        // A bucket that is silent is taken for an empty one: it refuses nobody by itself.
        Err(Refusal::Failed(_)) if suspected => {}
        Err(Refusal::Failed(_)) => tighten(keeper, drawing.tight, taken).await?,
    }
    Ok(())
}

/// Counts the address of an attempt by the tight limit.
async fn tighten<K: Keeper>(
    keeper: &mut K,
    tight: Limit,
    taken: &mut [Draw],
) -> Result<(), Refusal<K::Failed>> {
    let Some(address) = taken.first_mut() else { return Ok(()) };
    let mut tightened = *address;
    tightened.counting.tight = Some(tight);
    keeper.apply(&tightened, Act::Tighten).await?;
    *address = tightened;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::Bucket;
    use crate::limiter::limits::LimitSettings;
    use crate::limiter::pair::Pair;
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
    }

    impl Keeper for InMemory {
        type Failed = ();

        async fn apply(&mut self, draw: &Draw, act: Act) -> Result<(), Refusal<()>> {
            if self.silent == Some(draw.kind) {
                return Err(Refusal::Failed(()));
            }
            let full = Pair { wrong: Bucket::FULL, all: Bucket::FULL };
            let pair = self.pairs.entry(draw.key).or_insert(full);
            *pair = draw.counting.apply(*pair, act, UnixMs(1_800_000_000_000)).map_err(Refusal::Empty)?;
            Ok(())
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
        let settings = LimitSettings { merchant_attempts: Some(12), ..LimitSettings::default() };
        let limits = settings.limits(&mut Vec::new()).unwrap();
        let key = SecretKey::from_bytes([1; 32]);
        let buckets = Buckets { limits: &limits, key: &key, client: client.parse().ok() };
        let run = async {
            let mut taken = Vec::new();
            let drawn = draw(keeper, &buckets.of(aim), &mut taken).await;
            if drawn.is_err() {
                for bucket in &taken {
                    keeper.apply(bucket, Act::Untake).await?;
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
