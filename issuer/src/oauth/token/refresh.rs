//! Refresh tokens rotate (RFC 9700 §4.14.2). Who presents one twice ends family and session; the rule is in
//! `shared::session::rotate`.
//!
//! A token is found by its hash and counts by its row, whatever became of the key that signed it.

use super::TokenRequest;
use super::factors::issue_refresh;
use crate::accounts::{Account, find_account};
use crate::app::App;
use crate::audit::{Entry, audit_refusal};
use crate::edges::find_edge;
use crate::failure::Failure;
use crate::keys::{open, seal};
use crate::merchants::{Merchant, find_merchant};
use crate::permissions::find_held;
use crate::sessions::{Session, end_in, find_session, lives_as_it_is, meet_at_refresh};
use crate::storage::Tx;
use crate::tokens::{
    RefreshRow, Standing, claims_for_person, consume_refresh, consume_standing_refresh, find_refresh,
    mark_child_used, set_retry_answer, sign,
};
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::Permission;
use margrave_shared::secret::{SecretKey, secret_hash};
use margrave_shared::session::Ending;
use margrave_shared::session::rotate::{FamilyState, Rotation, TokenState, decide};
use margrave_shared::time::UnixMs;
use margrave_shared::wire::token::TokenResponse;
use std::collections::BTreeSet;

const ACT: &str = "token.refresh";

/// A token that was found, and what it hangs on.
struct Found {
    row: RefreshRow,
    session: Session,
    account: Account,
    merchant: Option<Merchant>,
}

/// A token that is presented.
struct Presented<'a> {
    request: &'a TokenRequest<'a>,
    token: &'a str,
    hash: [u8; 32],
    asked: BTreeSet<Permission>,
    retry_key: Option<[u8; 32]>,
    now: UnixMs,
}

pub(super) async fn grant(app: &App, request: &TokenRequest<'_>) -> Result<TokenResponse, Failure> {
    let client = request.public_client()?;
    let token = request.required("refresh_token")?;
    let mut presented = Presented {
        request,
        token,
        hash: secret_hash(token),
        asked: request.scope()?,
        retry_key: request.caller.idempotency_key.as_deref().map(secret_hash),
        now: app.clock.now(),
    };
    // Nearly every token is live and stands: it is looked at before there is a transaction, which then is short.
    if let Some(found) = find_living(app, &presented, client).await?
        && let Some(answer) = rotate_standing(app, &presented, &found).await?
    {
        return Ok(answer);
    }

    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    presented.now = now;
    let Some(found) = find(&mut tx, &presented, client).await? else {
        return refuse(app, tx, request, "unknown_refresh_token", None, now).await;
    };
    let Found { row, session, account, merchant } = &found;
    let seen = seen_by_edge(&mut tx, request, session).await?;
    let met = meet_at_refresh(app, &mut tx, session, seen, now).await?;
    // A session of an earlier generation is over even if its row was not seen when everything was ended: it may have
    // been opened in that very moment.
    let over = met.is_err()
        || session.generation != account.generation
        || account.disabled_at.is_some()
        || merchant.as_ref().is_none_or(|merchant| merchant.disabled_at.is_some());
    let family = if over { FamilyState::Over } else { FamilyState::Standing };

    let Presented { hash, retry_key, .. } = presented;
    let mut verdict = decide(row.state, family, retry_key, now);
    // Two processes may both have read a live row: the compare-and-set decides who was first. The loser's use is
    // the second one, and so reuse.
    if verdict == Rotation::GiveChild && !consume_refresh(&mut tx, &hash, retry_key, now).await? {
        verdict = match find_refresh(&mut tx, &hash).await? {
            Some(now_used) if now_used.state != TokenState::Live => {
                decide(now_used.state, family, retry_key, now)
            }
            _ => Rotation::Reuse,
        };
    }
    match verdict {
        Rotation::Refuse => refuse(app, tx, request, "session_over", Some((session, account)), now).await,
        Rotation::Reuse => {
            end_in(app, &mut tx, &session.sid, Ending::Revoked, now).await?;
            refuse(app, tx, request, "reuse", Some((session, account)), now).await
        }
        Rotation::RepeatAnswer => {
            // The loser of a race has read its row before the winner sealed the answer; it reads again.
            let sealed = find_refresh(&mut tx, &hash).await?.and_then(|row| row.retry_answer);
            let key = answer_key(token);
            let opened = sealed.and_then(|sealed| open(&key, "refresh answer", &sealed).ok());
            match opened.and_then(|plain| serde_json::from_slice(&plain).ok()) {
                Some(answer) => {
                    // What was read here may wait for its commit.
                    tx.commit().await?;
                    Ok(answer)
                }
                None => refuse(app, tx, request, "no_answer_to_repeat", None, now).await,
            }
        }
        Rotation::GiveChild => give_child(app, tx, &presented, &found).await,
    }
}

/// A token that its client may present, with what it hangs on.
async fn find(tx: &mut Tx, presented: &Presented<'_>, client: &str) -> Result<Option<Found>, Failure> {
    let row = find_refresh(tx, &presented.hash).await?;
    let Some(row) = row.filter(|row| row.client_id.as_str() == client && row.expires_at > presented.now)
    else {
        return Ok(None);
    };
    let session = find_session(tx, &row.sid).await?;
    let session = session.ok_or(Failure::Internal("a refresh token has no session"))?;
    let account = find_account(tx, &session.account_id).await?;
    let account = account.ok_or(Failure::Internal("a session has no account"))?;
    let merchant = find_merchant(tx, &account.merchant_id).await?;
    Ok(Some(Found { row, session, account, merchant }))
}

/// A token whose session lives, and of which nothing is to be written first; looked at without a transaction.
async fn find_living(app: &App, presented: &Presented<'_>, client: &str) -> Result<Option<Found>, Failure> {
    let mut tx = app.db.glance().await?;
    let Some(found) = find(&mut tx, presented, client).await? else { return Ok(None) };
    let seen = seen_by_edge(&mut tx, presented.request, &found.session).await?;
    Ok(lives_as_it_is(&found.session, seen, presented.now).then_some(found))
}

/// Rotates a token that was found live and standing, if all that this hangs on still is as it was found; otherwise nothing has happened,
/// and the token is to be judged.
async fn rotate_standing(
    app: &App,
    presented: &Presented<'_>,
    found: &Found,
) -> Result<Option<TokenResponse>, Failure> {
    let Presented { hash, retry_key, now, .. } = presented;
    let Found { row, session, account, merchant: Some(merchant) } = found else { return Ok(None) };
    if decide(row.state, FamilyState::Standing, *retry_key, *now) != Rotation::GiveChild {
        return Ok(None);
    }
    let mut tx = app.db.begin().await?;
    let standing = Standing {
        seen_at: session.seen_at,
        account_version: account.version,
        merchant_version: merchant.version,
    };
    if !consume_standing_refresh(&mut tx, hash, *retry_key, standing, *now).await? {
        return Ok(None);
    }
    give_child(app, tx, presented, found).await.map(Some)
}

/// When an edge has last seen the session. An edge speaks for the sessions of its own merchants only.
async fn seen_by_edge(
    tx: &mut Tx,
    request: &TokenRequest<'_>,
    session: &Session,
) -> Result<Option<UnixMs>, Failure> {
    Ok(match (&request.caller.edge, &request.caller.session_seen) {
        (Some(edge), Some(seen)) if seen.sid == session.sid => {
            let edge = find_edge(tx, edge).await?;
            edge.filter(|edge| edge.serves(&session.merchant_id)).map(|_| seen.seen_at)
        }
        _ => None,
    })
}

/// Gives the next token of a family, whose parent was consumed in this transaction.
async fn give_child(
    app: &App,
    mut tx: Tx,
    presented: &Presented<'_>,
    found: &Found,
) -> Result<TokenResponse, Failure> {
    let Presented { request, token, hash, asked, retry_key, now } = presented;
    let (Found { row, session, account, merchant }, now) = (found, *now);
    if let Some(parent) = &row.parent_hash {
        mark_child_used(&mut tx, parent, now).await?;
    }
    let auth_age_s = now.seconds() - session.auth_time_s;
    let mut scope = narrowed(&row.scope, asked, auth_age_s);
    // What the policy no longer names is gone; roles that were lost have ended the session.
    let policy = merchant.as_ref().and_then(|merchant| merchant.settings.factor_policy.clone());
    let policy = policy.unwrap_or_default();
    if scope.iter().any(|permission| !policy.is_open_to(&BTreeSet::new(), permission)) {
        let held = find_held(&mut tx, account).await?;
        scope.retain(|permission| policy.is_open_to(&held, permission));
    }
    if scope.is_empty() {
        // The token stays unused. Its connection is given back first: the entry needs one.
        drop(tx);
        let failure = Failure::denied(ErrorCode::InvalidScope, "nothing_left");
        return Err(audit_refusal(app, ACT, failure, request.caller).await);
    }
    let audience: Vec<String> = row.audience.split(' ').map(str::to_owned).collect();
    let child = RefreshRow {
        parent_hash: Some(hash.to_vec()),
        state: TokenState::Live,
        retry_answer: None,
        ..row.clone()
    };
    let refresh_token = issue_refresh(app, &mut tx, account, &child, now).await?;
    let claims = claims_for_person(app, account, session, audience, scope, now);
    let mut answer = sign(app, &mut tx, claims).await?;
    answer.refresh_token = Some(refresh_token);
    if retry_key.is_some() {
        let plain = serde_json::to_vec(&answer).map_err(|_| Failure::Internal("an answer"))?;
        let sealed = seal(&answer_key(token), "refresh answer", &plain, app.entropy.bytes());
        set_retry_answer(&mut tx, hash, &sealed).await?;
    }
    let entry = Entry::done(ACT)
        .merchant(&account.merchant_id)
        .actor(format!("account:{}", account.id))
        .subject(format!("session:{}", session.sid))
        .person(account.person());
    app.audit.write(&mut tx, entry, request.caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    Ok(answer)
}

/// Only who presents the parent again can open the answer that is kept for a retry.
fn answer_key(token: &str) -> SecretKey {
    SecretKey::from_bytes(secret_hash(&format!("refresh answer {token}")))
}

/// What a refresh grants: never more than before, of that what is asked, and nothing that needs a fresher
/// authentication (api: permissions with a freshness rule drop out).
fn narrowed(
    granted: &BTreeSet<Permission>,
    asked: &BTreeSet<Permission>,
    auth_age_s: i64,
) -> BTreeSet<Permission> {
    granted
        .iter()
        .filter(|permission| asked.is_empty() || asked.contains(permission))
        .filter(|permission| permission.max_auth_age_s().is_none_or(|age| auth_age_s <= age))
        .cloned()
        .collect()
}

/// One answer for every reason; the reason goes to the audit, and what was decided is kept.
async fn refuse(
    app: &App,
    mut tx: Tx,
    request: &TokenRequest<'_>,
    reason: &'static str,
    of: Option<(&Session, &Account)>,
    now: UnixMs,
) -> Result<TokenResponse, Failure> {
    let mut entry = Entry::refused(ACT, reason);
    if let Some((session, account)) = of {
        entry = entry
            .merchant(&account.merchant_id)
            .subject(format!("session:{}", session.sid))
            .person(account.person());
    }
    app.audit.write(&mut tx, entry, request.caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    app.feed.notify();
    Err(Failure::denied(ErrorCode::InvalidGrant, reason))
}

#[cfg(test)]
mod tests {
    use super::narrowed;
    use margrave_shared::permission::{parse_scope, print_scope};

    #[test]
    fn a_refresh_never_widens_and_loses_what_is_stale() {
        for (granted, asked, age_s, left) in [
            ("read write", "", 0, "read write"),
            ("read write", "read", 0, "read"),
            ("read", "read write", 0, "read"),
            ("read security", "", 600, "read security"),
            ("read security", "", 601, "read"),
            ("read admin:read", "", 1801, "read"),
            ("security", "security", 601, ""),
        ] {
            let scope = narrowed(&parse_scope(granted).unwrap(), &parse_scope(asked).unwrap(), age_s);
            assert_eq!(print_scope(&scope), left, "{granted} asked {asked} at {age_s}");
        }
    }
}
