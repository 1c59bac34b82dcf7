//! A permission token presented to the issuer: the shared verifier, and then what only the issuer knows.

use crate::accounts::{Account, find_account};
use crate::app::App;
use crate::failure::Failure;
use crate::merchants::find_merchant;
use crate::revocations::store::is_ended;
use crate::sessions::{find_session, meet};
use crate::storage::Tx;
use margrave_shared::claims::{PermissionClaims, Subject};
use margrave_shared::error::ErrorCode;
use margrave_shared::id::Kid;
use margrave_shared::time::UnixMs;
use margrave_shared::token::{Expect, verify_permission};

/// The longest life of a permission token that is accepted, in seconds.
const MAX_LIFE_S: i64 = 3600;

/// A token that counts here and now.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    /// What it says.
    pub(crate) claims: PermissionClaims,
    /// The account, for tokens of a person.
    pub(crate) account: Option<Account>,
}

impl Presented {
    /// Who acts, as the audit writes it.
    pub(crate) fn actor(&self) -> String {
        match (&self.claims.key_id, self.claims.person()) {
            (Some(key), _) => format!("key:{key}"),
            (None, Some(account)) => format!("account:{account}"),
            (None, None) => self.claims.sub.print(),
        }
    }
}

/// Whether a token is good by itself and by the issuer's rows, whatever it is used for. Touches nothing.
pub(crate) async fn is_alive(
    app: &App,
    tx: &mut Tx,
    token: &str,
    audiences: &[String],
    now: UnixMs,
) -> Result<(PermissionClaims, Option<Account>), Failure> {
    let refuse = |reason| Failure::denied(ErrorCode::InvalidToken, reason);
    let expect = Expect { issuer: &app.public_url, audiences, now, max_life_s: MAX_LIFE_S };
    let snapshot = app.keyring.snapshot();
    let (claims, kid): (PermissionClaims, Kid) =
        verify_permission(token, &snapshot.published, &expect).map_err(|_| refuse("token"))?;
    // Keys that were retired at once are out of the published set and so refused above.
    let _ = kid;
    if is_ended(tx, "token", claims.jti.as_str()).await? {
        return Err(refuse("revoked_token"));
    }
    if let Some(key_id) = &claims.key_id
        && is_ended(tx, "key", key_id.as_str()).await?
    {
        return Err(refuse("revoked_key"));
    }
    let merchant = find_merchant(tx, &claims.merchant_id).await?;
    if merchant.is_none_or(|merchant| merchant.disabled_at.is_some()) {
        return Err(refuse("merchant"));
    }
    let Some(person) = claims.person() else { return Ok((claims, None)) };
    let account = find_account(tx, person).await?.ok_or(refuse("unknown_account"))?;
    let generation = claims.generation.unwrap_or(-1);
    if account.disabled_at.is_some()
        || generation < account.generation
        || account.merchant_id != claims.merchant_id
        || matches!(claims.sub, Subject::Merchant(_) | Subject::Application(_))
    {
        return Err(refuse("account"));
    }
    Ok((claims, Some(account)))
}

/// Checks a token that is used at the issuer's own routes, and counts the call as activity of its session.
///
/// # Errors
/// `invalid_token`, or `session_ended`.
pub(crate) async fn check_presented(
    app: &App,
    token: &str,
    audiences: &[String],
) -> Result<Presented, Failure> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let (claims, account) = is_alive(app, &mut tx, token, audiences, now).await?;
    let session = match &claims.sid {
        None => None,
        Some(sid) => Some(
            find_session(&mut tx, sid)
                .await?
                .ok_or(Failure::denied(ErrorCode::SessionEnded, "unknown_session"))?,
        ),
    };
    drop(tx);
    if let Some(session) = session {
        let mut tx = app.db.begin().await?;
        // Read again under the write lock: it may have ended meanwhile.
        let session = find_session(&mut tx, &session.sid).await?.unwrap_or(session);
        let met = meet(app, &mut tx, &session, now).await?;
        tx.commit().await?;
        if let Err(ending) = met {
            app.feed.notify();
            return Err(Failure::denied(ErrorCode::SessionEnded, ending.as_str()));
        }
    }
    Ok(Presented { claims, account })
}
