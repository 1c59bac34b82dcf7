//! The shared verifier behind a cache of verified tokens. A hit skips the signature and the parsing, and nothing else:
//! time, key, merchant, revocation, session and route are judged on every request.

use crate::clock;
use crate::feed::{self, FeedView};
use crate::gate::Corridor;
use crate::generations::Generations;
use margrave_shared::claims::PermissionClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::Kid;
use margrave_shared::token::expect::alive_at;
use margrave_shared::token::{Expect, KeyLookup as _, Refusal, verify_permission};
use std::cell::RefCell;
use std::rc::Rc;

/// A token that verified.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What it says.
    pub(crate) claims: PermissionClaims,
    /// The key that signed it.
    pub(crate) kid: Kid,
}

/// The most memory for verified tokens, in bytes; an entry is about twice its token.
const CACHE_BYTES: usize = 24 << 20;

thread_local! {
    static CACHE: RefCell<Generations<Rc<Verified>>> = RefCell::new(Generations::new(CACHE_BYTES));
}

/// What an entry holds beside its token, about.
const CLAIMS_BYTES: usize = 1500;

/// Verifies a permission token for this edge's service.
///
/// # Errors
/// `invalid_token`, one answer for every reason; `state_unavailable` without usable keys.
pub(crate) async fn verify(
    corridor: &Corridor,
    feed: &Rc<FeedView>,
    token: &str,
) -> Result<Rc<Verified>, ErrorCode> {
    let cached = CACHE.with_borrow_mut(|cache| cache.get(token, |_| CLAIMS_BYTES));
    if let Some(verified) = cached
        && feed.keys(clock::now())?.find_key(&verified.kid).is_some()
    {
        // The keys may have changed, and so may the time.
        return if alive_at(verified.claims.exp, clock::now()) {
            Ok(verified)
        } else {
            Err(ErrorCode::InvalidToken)
        };
    }
    let (claims, kid) = match judge(corridor, feed, token)? {
        Ok(verified) => verified,
        Err(Refusal::UnknownKey(kid)) => {
            // A key that is genuinely new: the feed object looks, at most once per cooldown.
            let newer = feed::with_key(corridor, &kid).await?;
            judge(corridor, &newer, token)?.map_err(|_| ErrorCode::InvalidToken)?
        }
        Err(_) => return Err(ErrorCode::InvalidToken),
    };
    if !corridor.config.serves(&claims.merchant_id) {
        return Err(ErrorCode::InvalidToken);
    }
    // Bound tokens need their proof, which no route here checks yet: they are not bearer tokens.
    if claims.jkt.is_some() {
        return Err(ErrorCode::InvalidToken);
    }
    let verified = Rc::new(Verified { claims, kid });
    CACHE.with_borrow_mut(|cache| {
        cache.insert(token.to_owned(), Rc::clone(&verified), CLAIMS_BYTES);
    });
    Ok(verified)
}

fn judge(
    corridor: &Corridor,
    feed: &FeedView,
    token: &str,
) -> Result<Result<(PermissionClaims, Kid), Refusal>, ErrorCode> {
    let now = clock::now();
    let config = &corridor.config;
    let expect =
        Expect { issuer: &config.issuer, audiences: &config.audiences, now, max_life_s: config.max_life_s };
    Ok(verify_permission(token, feed.keys(now)?, &expect))
}
