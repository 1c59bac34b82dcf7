//! Login attempts: every one is taken from its buckets before it is forwarded, and what was right or not evaluated
//! comes back.

use crate::budget::{OBJECT, within};
use crate::config::{EdgeConfig, LIMITERS};
use crate::objects::limiter::{Act, BucketAnswer, BucketQuery};
use crate::respond::Refused;
use margrave_shared::error::ErrorCode;
use margrave_shared::limiter::Limit;
use margrave_shared::limiter::rule::{BucketKind, Outcome, address_key, bucket_key};
use std::net::IpAddr;
use worker::Env;

/// The buckets that one attempt draws from, in the order of drawing: the address first, so that a flood from one
/// address does not even reach the account's bucket.
#[derive(Debug)]
pub(crate) struct Attempt {
    taken: Vec<BucketQuery>,
}

/// What an attempt is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim<'a> {
    /// A login in its normal form.
    Login(&'a str),
    /// A merchant key's id.
    Key(&'a str),
    /// Nothing in particular: the address alone counts.
    Nothing,
    /// A refresh or a factors grant.
    Exchange,
}

fn plan(config: &EdgeConfig, aim: Aim<'_>, client: Option<IpAddr>) -> Vec<BucketQuery> {
    // Who has no address shares one bucket with all who have none.
    let address = client.map_or_else(|| "unknown".to_owned(), address_key);
    let bucket = |kind: BucketKind, value: &str, limit: Limit| BucketQuery {
        act: Act::Take,
        key: bucket_key(&config.limiter_key, kind, value),
        limit,
    };
    let by_address = |kind, limit| bucket(kind, &address, limit);
    match aim {
        Aim::Login(login) => vec![
            by_address(BucketKind::Address, config.address_limit),
            bucket(BucketKind::Account, login, config.account_limit),
        ],
        Aim::Key(key) => vec![
            by_address(BucketKind::Address, config.address_limit),
            bucket(BucketKind::Key, key, config.account_limit),
        ],
        Aim::Nothing => vec![by_address(BucketKind::Address, config.address_limit)],
        Aim::Exchange => vec![by_address(BucketKind::Exchange, config.exchange_limit)],
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
    let mut attempt = Attempt { taken: Vec::new() };
    for query in plan(config, aim, client) {
        match ask(env, &query).await {
            Ok(BucketAnswer { retry_after_ms: None }) => attempt.taken.push(query),
            Ok(BucketAnswer { retry_after_ms: Some(ms) }) => {
                // Refused by one bucket, an attempt consumes from none.
                undo(env, attempt, Act::Untake).await;
                return Err(Refused { code: ErrorCode::TooManyAttempts, retry_after_ms: Some(ms) });
            }
            Err(()) => {
                undo(env, attempt, Act::Untake).await;
                return Err(ErrorCode::StateUnavailable.into());
            }
        }
    }
    Ok(attempt)
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

async fn ask(env: &Env, query: &BucketQuery) -> Result<BucketAnswer, ()> {
    let call = async {
        let stub = env.durable_object(LIMITERS)?.get_by_name(&query.shard())?;
        let mut response = stub.fetch_with_str(&query.print()).await?;
        if response.status_code() != 200 {
            return Err(worker::Error::RustError("the limiter object refused".to_owned()));
        }
        response.json::<BucketAnswer>().await
    };
    within(OBJECT, call).await.map_err(|_| ())
}
