//! Login attempts: every one is taken from its buckets before it is forwarded, and what was right or not evaluated
//! comes back.

use crate::budget::OBJECT;
use crate::config::EdgeConfig;
use crate::metrics;
use crate::objects::limiter::{self, BucketAnswer, BucketQuery, DeviceQuery};
use crate::respond::Refused;
use crate::spraying;
use crate::state::{self, Repeatable};
use margrave_shared::device::{ATTEMPTS_OF_ALL, Device};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::pair::Act;
use margrave_shared::limiter::rule::{ALL_OUTCOMES_FACTOR, BucketKind, Outcome, address_key, bucket_key};
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use std::net::IpAddr;
use worker::Env;

/// An attempt under way: what it has drawn from.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    taken: Vec<BucketQuery>,
    /// Whether it counts as one of a known device.
    pub(crate) by_known_device: bool,
}

/// What an attempt is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim<'a> {
    /// Login and password.
    Login {
        /// The login in its normal form.
        login: &'a str,
        /// The merchant whose account it is said to be.
        merchant: &'a MerchantId,
        /// The device that it comes from, if its owner has logged in from there.
        device: Option<&'a Device>,
    },
    /// A merchant key's id.
    Key(&'a str),
    /// Nothing in particular: the address alone counts.
    Nothing,
    /// A refresh or a factors grant, from a client whose owner has logged in to these accounts.
    Exchange(&'a [Device]),
    /// A request to a route that is limited.
    Route {
        /// The route.
        route: &'a str,
        /// How often it may be asked.
        limit: Limit,
        /// Whose request it is, where that is known.
        subject: Option<&'a str>,
    },
}

/// How many attempts there may be of whatever outcome.
fn all_outcomes(limit: Limit) -> i64 {
    limit.attempts.saturating_mul(ALL_OUTCOMES_FACTOR).min(Limit::MOST_ATTEMPTS)
}

/// The buckets of an edge.
struct Buckets<'a> {
    config: &'a EdgeConfig,
    client: Option<IpAddr>,
}

impl Buckets<'_> {
    fn bucket(&self, kind: BucketKind, value: &str, limit: Limit) -> BucketQuery {
        let key = bucket_key(&self.config.limiter_key, kind, value);
        BucketQuery {
            act: Act::Take,
            kind,
            key,
            limit,
            tight: None,
            all_outcomes: Some(all_outcomes(limit)),
            device: None,
        }
    }

    fn by_address(&self, kind: BucketKind, limit: Limit) -> BucketQuery {
        self.bucket(kind, &self.address(), limit)
    }

    /// Who has no address shares one bucket with all who have none.
    fn address(&self) -> String {
        self.client.map_or_else(|| "unknown".to_owned(), address_key)
    }

    /// Those that admit or refuse, in the order of drawing: the address first, so that a flood from one address does not
    /// even reach the account's bucket.
    fn of(&self, aim: Aim<'_>) -> Vec<BucketQuery> {
        let address = || self.by_address(BucketKind::Address, self.config.address_limit);
        let account = |kind, value| self.bucket(kind, value, self.config.account_limit);
        match aim {
            Aim::Login { login, .. } => vec![address(), account(BucketKind::Account, login)],
            Aim::Key(key) => vec![address(), account(BucketKind::Key, key)],
            Aim::Nothing => vec![address()],
            Aim::Route { route, limit, subject } => {
                let bucket = |kind, value: &str| {
                    let value = format!("{route} {value}");
                    BucketQuery { all_outcomes: None, ..self.bucket(kind, &value, limit) }
                };
                let mut both = vec![bucket(BucketKind::RouteAddress, &self.address())];
                both.extend(subject.map(|subject| bucket(BucketKind::RouteAccount, subject)));
                both
            }
            Aim::Exchange(_) => vec![self.by_address(BucketKind::Exchange, self.config.exchange_limit)],
        }
    }

    /// The one of a merchant, which sees only what is wrong: a large merchant has many right attempts.
    fn of_merchant(&self, merchant: &MerchantId) -> BucketQuery {
        let bucket = self.bucket(BucketKind::Merchant, merchant.as_str(), self.config.merchant_limit);
        BucketQuery { all_outcomes: None, ..bucket }
    }

    /// The one of a known device.
    fn of_device(&self, device: &Device) -> BucketQuery {
        let keys = &self.config.device_key;
        let account = DeviceQuery {
            account: keys.account(&device.account),
            generation: device.generation,
            attempts_of_all: ATTEMPTS_OF_ALL,
        };
        BucketQuery {
            act: Act::Take,
            kind: BucketKind::Device,
            key: keys.bucket(device),
            limit: self.config.device_limit,
            tight: None,
            // As many right ones as an address may have.
            all_outcomes: Some(all_outcomes(self.config.address_limit)),
            device: Some(account),
        }
    }
}

/// Takes one attempt from every bucket, or from none.
///
/// # Errors
/// `too_many_attempts` with the time to come back; `state_unavailable` when a bucket does not answer.
pub(crate) async fn take(
    env: &Env,
    config: &EdgeConfig,
    aim: Aim<'_>,
    client: Option<IpAddr>,
) -> Result<Attempt, Refused> {
    let buckets = Buckets { config, client };
    let mut attempt = Attempt::default();
    match draw(env, &buckets, aim, &mut attempt).await {
        Ok(()) => Ok(attempt),
        Err(refused) => {
            // Refused by one bucket, an attempt consumes from none.
            undo(env, attempt, Act::Untake).await;
            Err(refused)
        }
    }
}

async fn draw(env: &Env, buckets: &Buckets<'_>, aim: Aim<'_>, attempt: &mut Attempt) -> Result<(), Refused> {
    if let Aim::Login { device: Some(device), .. } = aim {
        // What strangers do to the login and to the address is nothing to the owner's own device.
        let query = buckets.of_device(device);
        if !ask(env, &query).await?.admitted()?.forgotten {
            attempt.by_known_device = true;
            attempt.taken.push(query);
            return Ok(());
        }
    }
    if let Aim::Exchange(devices) = aim {
        return exchange(env, buckets, devices, attempt).await;
    }
    let merchant = match aim {
        Aim::Login { merchant, .. } if buckets.config.serves(merchant) => Some(merchant),
        _ => None,
    };
    let alarmed = merchant.is_some_and(spraying::is_suspected);
    for (i, query) in buckets.of(aim).into_iter().enumerate() {
        ask(env, &query).await?.admitted()?;
        attempt.taken.push(query);
        if alarmed && i == 0 {
            // Before the login's bucket: what the address may not do must not hold an attempt of its owner's.
            tighten(env, buckets, attempt).await?;
        }
    }
    let Some(merchant) = merchant else { return Ok(()) };
    let query = buckets.of_merchant(merchant);
    match ask(env, &query).await {
        Ok(BucketAnswer { retry_after_ms: None, .. }) => attempt.taken.push(query),
        Ok(_) => {
            spraying::suspect(merchant);
            if !alarmed {
                tighten(env, buckets, attempt).await?;
            }
        }
        // A bucket that is silent is taken for an empty one: it refuses nobody by itself.
        Err(_) if alarmed => {}
        Err(_) => tighten(env, buckets, attempt).await?,
    }
    Ok(())
}

/// A refresh or a grant. Where an address has none left, because others behind it have used them up, who has logged in
/// before draws from a bucket of the account's.
async fn exchange(
    env: &Env,
    buckets: &Buckets<'_>,
    devices: &[Device],
    attempt: &mut Attempt,
) -> Result<(), Refused> {
    let limit = buckets.config.exchange_limit;
    let address = buckets.by_address(BucketKind::Exchange, limit);
    let of_device =
        |device: &Device| buckets.bucket(BucketKind::ExchangeAccount, device.account.as_str(), limit);
    let mut refused = None;
    for query in core::iter::once(address).chain(devices.iter().map(of_device)) {
        match ask(env, &query).await?.admitted() {
            Ok(_) => {
                attempt.taken.push(query);
                return Ok(());
            }
            Err(empty) => refused = refused.or(Some(empty)),
        }
    }
    Err(refused.unwrap_or(ErrorCode::StateUnavailable.into()))
}

/// Counts the address of an attempt by the tight limit.
async fn tighten(env: &Env, buckets: &Buckets<'_>, attempt: &mut Attempt) -> Result<(), Refused> {
    let Some(address) = attempt.taken.first_mut() else { return Ok(()) };
    let tightened = BucketQuery { tight: Some(buckets.config.tight_limit.attempts), ..*address };
    ask(env, &BucketQuery { act: Act::Tighten, ..tightened }).await?.admitted()?;
    *address = tightened;
    Ok(())
}

/// Gives an attempt back if its outcome says so.
pub(crate) async fn settle(env: &Env, attempt: Attempt, outcome: Outcome) {
    if outcome.gives_back() {
        undo(env, attempt, Act::GiveBack).await;
    }
}

async fn undo(env: &Env, attempt: Attempt, act: Act) {
    for query in attempt.taken {
        // Should it fail, an attempt is lost to its owner, never won by an attacker.
        let _ = ask(env, &BucketQuery { act, ..query }).await;
    }
}

/// Makes all devices of an account strangers that became known before this generation; gives whether that is done.
pub(crate) async fn forget_devices(env: &Env, account: [u8; 16], generation: i64) -> bool {
    let (shard, url) = limiter::forget(account, generation);
    call(env, shard, url, Repeatable::Yes).await.is_ok()
}

impl BucketAnswer {
    fn admitted(self) -> Result<Self, Refused> {
        match self.retry_after_ms {
            None => Ok(self),
            Some(ms) => Err(Refused { code: ErrorCode::TooManyAttempts, retry_after_ms: Some(ms) }),
        }
    }
}

async fn ask(env: &Env, query: &BucketQuery) -> Result<BucketAnswer, Refused> {
    // An attempt that is taken twice is lost to its owner; one that is given back twice is won by somebody.
    let repeatable = match query.act {
        Act::Take | Act::Tighten => Repeatable::Yes,
        Act::GiveBack | Act::Untake => Repeatable::No,
    };
    let answer = call(env, query.shard(), query.print(), repeatable).await?;
    if answer.retry_after_ms.is_some() {
        metrics::limited(query.kind);
    }
    Ok(answer)
}

async fn call(env: &Env, name: String, url: String, repeatable: Repeatable) -> Result<BucketAnswer, Refused> {
    let call = StateCall { kind: ObjectKind::Limiter, name, url, body: None };
    state::ask(env, OBJECT, &call, repeatable).await.map_err(|_| ErrorCode::StateUnavailable.into())
}
