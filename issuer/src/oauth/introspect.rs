//! `POST /oauth/introspect` (RFC 7662): the shared verifier's verdict plus the issuer's rows. Whatever is not an
//! active token of the caller's own merchant is exactly `{"active":false}`.

use crate::app::App;
use crate::failure::Failure;
use crate::merchants::{AuthenticatedKey, authenticate_key, remember_use};
use crate::sessions::find_session;
use crate::storage::Tx;
use crate::tokens::is_alive;
use margrave_shared::basic::Basic;
use margrave_shared::claims::PermissionClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::session::state::decide;
use margrave_shared::session::{Contact, Ending, SessionVerdict};
use margrave_shared::time::UnixMs;
use serde_json::{Value, json};

/// Judges a token for a merchant's key.
///
/// # Errors
/// `invalid_client`, `invalid_request`.
pub(super) async fn introspect(
    app: &App,
    basic: Option<&Basic>,
    token: Option<&str>,
) -> Result<Value, Failure> {
    let basic = basic.ok_or(Failure::denied(ErrorCode::InvalidClient, "no_key"))?;
    let token = token.ok_or_else(|| Failure::explained(ErrorCode::InvalidRequest, "`token` is missing"))?;
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let caller = authenticate_key(&mut tx, basic, now).await?;
    let active = active_claims(app, &mut tx, &caller, token, now).await?;
    // Who waits for a second connection must not hold one.
    drop(tx);
    remember_use(&app.db, &caller.key, now).await?;
    let Some(claims) = active else { return Ok(json!({ "active": false })) };
    let mut answer = serde_json::to_value(&claims).map_err(|_| Failure::Internal("claims"))?;
    if let Some(object) = answer.as_object_mut() {
        object.insert("active".to_owned(), true.into());
        object.insert("token_type".to_owned(), "Bearer".into());
    }
    Ok(answer)
}

/// The token's claims, if it is active and of the caller's own merchant.
async fn active_claims(
    app: &App,
    tx: &mut Tx,
    caller: &AuthenticatedKey,
    token: &str,
    now: UnixMs,
) -> Result<Option<PermissionClaims>, Failure> {
    let services = caller.services.iter().map(|service| service.audience.clone());
    let audiences: Vec<String> = services.chain([app.public_url.clone()]).collect();
    let claims = match is_alive(app, tx, token, &audiences, now).await {
        Ok((claims, _)) if claims.merchant_id == caller.merchant.id => claims,
        Ok(_) | Err(Failure::Denied(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(sid) = &claims.sid else { return Ok(Some(claims)) };
    let Some(session) = find_session(tx, sid).await? else { return Ok(None) };
    let verdict = decide(Some(session.row()), session.limits, session.started_at, Contact::Question, now);
    // The issuer may not know of activity at an edge: what it knows as idle only may well be alive there.
    let ended = match verdict {
        SessionVerdict::Alive { .. } => false,
        SessionVerdict::Ended { ending, .. } => session.ending.is_some() || ending != Ending::Idle,
    };
    Ok((!ended).then_some(claims))
}
