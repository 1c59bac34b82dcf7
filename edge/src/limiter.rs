//! Attempts: every one is taken from its buckets before it is forwarded, and what was right or not evaluated comes back.

use crate::budget::OBJECT;
use crate::config::EdgeConfig;
use crate::objects::limiter::{self, BucketAnswer, BucketQuery, DeviceQuery};
use crate::refusals;
use crate::respond::Refused;
use crate::spraying;
use crate::state::{self, Repeatable};
use margrave_shared::device::{ATTEMPTS_OF_ALL, Device, DeviceNames};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::drawing::{self, Buckets, Draw, Keeper, Refusal, take_under_each};
use margrave_shared::limiter::gcra::Empty;
use margrave_shared::limiter::limits::all_outcomes;
use margrave_shared::limiter::pair::{Act, Counting, Pair};
use margrave_shared::limiter::rule::{BucketKind, Outcome};
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use std::net::IpAddr;
use worker::Env;

/// An attempt under way: what it has drawn from.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    taken: Vec<Draw>,
    /// Of the known device that it counts as one of.
    of_device: Vec<(Draw, DeviceQuery)>,
}

impl Attempt {
    /// Whether it counts as one of a known device.
    pub(crate) const fn is_by_known_device(&self) -> bool {
        !self.of_device.is_empty()
    }
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

/// Buckets in the limiter's objects.
struct Objects<'a> {
    env: &'a Env,
    config: &'a EdgeConfig,
    client: Option<IpAddr>,
}

impl Keeper for Objects<'_> {
    type Failed = ();

    async fn apply(&mut self, draw: &Draw, act: Act, at_most: Pair) -> Result<Pair, Refusal<()>> {
        let query = BucketQuery { act, draw: *draw, at_most: vec![at_most], device: None };
        let answer = admitted(ask(self.env, &query).await)?;
        Ok(answer.held().next().unwrap_or(Pair::FULL))
    }

    fn is_suspected(&self, merchant: &MerchantId) -> bool {
        spraying::is_suspected(merchant)
    }

    fn suspect(&mut self, merchant: &MerchantId) {
        spraying::suspect(merchant);
    }
}

impl<'a> Objects<'a> {
    const fn buckets(&self) -> Buckets<'a> {
        Buckets { limits: &self.config.limits, keys: &self.config.limiter_keys, client: self.client }
    }

    /// The bucket of a known device, under each key.
    fn of_device(&self, device: &Device) -> Vec<(Draw, DeviceQuery)> {
        let limits = &self.config.limits;
        // As many right ones as an address may have.
        let all = Limit { attempts: all_outcomes(limits.address).attempts, ..limits.device };
        let counting = Counting { limit: limits.device, tight: None, all: Some(all) };
        let of_names = |names: DeviceNames| {
            let account = DeviceQuery {
                account: names.account,
                generation: device.generation,
                attempts_of_all: ATTEMPTS_OF_ALL,
            };
            (Draw { kind: BucketKind::Device, key: names.device, counting }, account)
        };
        self.config.device_keys.names(device).map(of_names).collect()
    }

    async fn draw(&mut self, aim: Aim<'_>, attempt: &mut Attempt) -> Result<(), Refusal<()>> {
        let shared = match aim {
            Aim::Login { login, merchant, device } => {
                if let Some(device) = device
                    && self.by_device(device, attempt).await?
                {
                    return Ok(());
                }
                let merchant = Some(merchant).filter(|merchant| self.config.serves(merchant));
                drawing::Aim::Login { login, merchant }
            }
            Aim::Key(key) => drawing::Aim::Key(key),
            Aim::Nothing => drawing::Aim::Nothing,
            Aim::Exchange(devices) => return self.exchange(devices, attempt).await,
            Aim::Route { route, limit, subject } => return self.route(route, limit, subject, attempt).await,
        };
        drawing::draw(self, &self.buckets().of(shared), &mut attempt.taken).await
    }

    /// Draws from a known device's own bucket: what strangers do to the login and to the address is nothing to it. Gives
    /// whether the device is still known.
    async fn by_device(&mut self, device: &Device, attempt: &mut Attempt) -> Result<bool, Refusal<()>> {
        let mut held = Vec::new();
        for (draw, account) in self.of_device(device) {
            let query = BucketQuery { act: Act::Take, draw, at_most: held, device: Some(account) };
            let answer = admitted(ask(self.env, &query).await)?;
            if answer.forgotten {
                undo(self.env, core::mem::take(attempt), Act::Untake).await;
                return Ok(false);
            }
            attempt.of_device.push((draw, account));
            held = answer.held().collect();
        }
        Ok(true)
    }

    /// A refresh or a grant. Where an address has none left, because others behind it have used them up, who has logged in
    /// before draws from a bucket of the account's.
    async fn exchange(&mut self, devices: &[Device], attempt: &mut Attempt) -> Result<(), Refusal<()>> {
        let buckets = self.buckets();
        let by_address = drawing::draw(self, &buckets.of(drawing::Aim::Factors), &mut attempt.taken).await;
        let Err(Refusal::Empty(empty)) = by_address else { return by_address };
        for device in devices {
            // The address, or the device before, may have been drawn from under one key and have none left under the other.
            undo(self.env, core::mem::take(attempt), Act::Untake).await;
            let account = device.account.as_str();
            let draws = buckets.bucket(BucketKind::ExchangeAccount, account, buckets.limits.exchange);
            match take_under_each(self, &draws, &mut attempt.taken).await {
                Err(Refusal::Empty(_)) => {}
                done => return done,
            }
        }
        Err(Refusal::Empty(empty))
    }

    /// A request to a route that is limited: by its address, and by whose it is.
    async fn route(
        &mut self,
        route: &str,
        limit: Limit,
        subject: Option<&str>,
        attempt: &mut Attempt,
    ) -> Result<(), Refusal<()>> {
        let buckets = self.buckets();
        let bucket = |kind, value: &str| {
            let mut draws = buckets.bucket(kind, &format!("{route} {value}"), limit);
            for draw in &mut draws {
                draw.counting.all = None;
            }
            draws
        };
        take_under_each(self, &bucket(BucketKind::RouteAddress, &buckets.address()), &mut attempt.taken)
            .await?;
        let Some(subject) = subject else { return Ok(()) };
        take_under_each(self, &bucket(BucketKind::RouteAccount, subject), &mut attempt.taken).await
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
    let mut attempt = Attempt::default();
    match (Objects { env, config, client }).draw(aim, &mut attempt).await {
        Ok(()) => Ok(attempt),
        Err(refusal) => {
            // Refused by one bucket, an attempt consumes from none.
            undo(env, attempt, Act::Untake).await;
            Err(match refusal {
                Refusal::Empty(Empty { retry_after_ms }) => {
                    Refused { code: ErrorCode::TooManyAttempts, retry_after_ms: Some(retry_after_ms) }
                }
                Refusal::Failed(()) => ErrorCode::StateUnavailable.into(),
            })
        }
    }
}

/// Gives an attempt back if its outcome says so.
pub(crate) async fn settle(env: &Env, attempt: Attempt, outcome: Outcome) {
    if outcome.gives_back() {
        undo(env, attempt, Act::GiveBack).await;
    }
}

async fn undo(env: &Env, attempt: Attempt, act: Act) {
    let of_device = attempt.of_device.into_iter().map(|(draw, device)| (draw, Some(device)));
    for (draw, device) in attempt.taken.into_iter().map(|draw| (draw, None)).chain(of_device) {
        // Should it fail, an attempt is lost to its owner, never won by an attacker.
        let _ = ask(env, &BucketQuery { act, draw, at_most: Vec::new(), device }).await;
    }
}

/// Makes all devices of an account strangers that became known before this generation; gives whether that is done.
pub(crate) async fn forget_devices(env: &Env, account: [u8; 16], generation: i64) -> bool {
    let (shard, url) = limiter::forget(account, generation);
    call(env, shard, url, Repeatable::Yes).await.is_ok()
}

fn admitted(answer: Result<BucketAnswer, ()>) -> Result<BucketAnswer, Refusal<()>> {
    let answer = answer.map_err(Refusal::Failed)?;
    match answer.retry_after_ms {
        None => Ok(answer),
        Some(retry_after_ms) => Err(Refusal::Empty(Empty { retry_after_ms })),
    }
}

async fn ask(env: &Env, query: &BucketQuery) -> Result<BucketAnswer, ()> {
    // An attempt that is taken twice is lost to its owner; one that is given back twice is won by somebody.
    let repeatable = match query.act {
        Act::Take | Act::Tighten => Repeatable::Yes,
        Act::GiveBack | Act::Untake => Repeatable::No,
    };
    let answer = call(env, query.shard(), query.print(), repeatable).await?;
    if answer.retry_after_ms.is_some() {
        refusals::limited(query.draw.kind, query.draw.key);
    }
    Ok(answer)
}

async fn call(env: &Env, name: String, url: String, repeatable: Repeatable) -> Result<BucketAnswer, ()> {
    let call = StateCall { kind: ObjectKind::Limiter, name, url, body: None };
    state::ask(env, OBJECT, &call, repeatable).await.map_err(drop)
}
