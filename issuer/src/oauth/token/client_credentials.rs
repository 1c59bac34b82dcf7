//! A merchant key is exchanged for a permission token bound to the merchant only (C3, RFC 6749 §4.4). No refresh
//! token (§4.4.3).

use super::TokenRequest;
use crate::app::App;
use crate::audit::{self, Entry};
use crate::failure::Failure;
use crate::limiter::Attempt;
use crate::merchants::{MerchantKey, authenticate_key_among_many, remember_use};
use crate::tokens::{choose_audience, claims_for_key, sign, sign_unlisted};
use margrave_shared::claims::PermissionClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::limiter::rule::Outcome;
use margrave_shared::permission::holds;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::token::TokenResponse;

const ACT: &str = "token.client_credentials";

pub(super) async fn grant(
    app: &App,
    request: &TokenRequest<'_>,
    attempt: &mut Attempt<'_>,
) -> Result<TokenResponse, Failure> {
    // With status lists a token has a row of its own, which is not to be taken back when no attempt is left.
    if app.token_config.status_lists {
        attempt.take(app).await?;
    }
    // What would fail for everybody is no matter of the key.
    app.keyring.signer()?;
    let now = app.clock.now();
    let mut entry = Entry::done(ACT);
    let judged = judge(app, request, now, &mut entry).await;
    match judged {
        Ok(Judged { key, claims }) if app.token_config.status_lists => {
            remember_use(&app.db, &key, now).await?;
            let mut tx = app.db.begin().await?;
            let signed = sign(app, &mut tx, claims).await?;
            app.audit.write(&mut tx, entry, request.caller, now, app.entropy.bytes()).await?;
            tx.commit().await?;
            Ok(signed)
        }
        Ok(Judged { key, claims }) => {
            // The token is no row: its entry is all there is to make durable before it is handed out.
            attempt.settle(app, Outcome::Right, entry).await?;
            // Only now: who has no attempt left does not learn by waiting that the key was right.
            if let Err(error) = remember_use(&app.db, &key, now).await {
                tracing::warn!(%error, "that a key was used is not remembered");
            }
            sign_unlisted(app, &claims)
        }
        Err(Failure::Denied(denial)) => {
            entry.outcome = audit::Outcome::Refused(denial.reason);
            attempt.settle(app, Outcome::of(denial.code), entry).await?;
            Err(Failure::Denied(denial))
        }
        Err(other) => Err(other),
    }
}

/// A key that is right, and what its token is to say.
struct Judged {
    key: MerchantKey,
    claims: PermissionClaims,
}

/// The verdict; `entry` learns of whom it is as soon as that is known.
async fn judge(
    app: &App,
    request: &TokenRequest<'_>,
    now: UnixMs,
    entry: &mut Entry,
) -> Result<Judged, Failure> {
    if request.form.get("client_secret").is_some() {
        return Err(Failure::explained(ErrorCode::InvalidRequest, "the key is sent by HTTP Basic"));
    }
    let basic = request.basic.as_ref().ok_or(Failure::denied(ErrorCode::InvalidClient, "no_key"))?;
    // What was typed as an id may be a secret in the wrong place: only its keyed hash is kept.
    entry.subject = Some(app.audit.unknown_login(&basic.id));
    let authenticated = authenticate_key_among_many(app, basic, now).await?;
    let key = &authenticated.key;
    entry.subject = None;
    entry.merchant = Some(key.merchant_id.clone());
    entry.actor = Some(format!("key:{}", key.key_id));
    let held = &key.permissions;
    let asked = request.scope()?;
    let scope = if asked.is_empty() {
        held.clone()
    } else {
        asked.into_iter().filter(|permission| holds(held, permission)).collect()
    };
    if scope.is_empty() {
        return Err(Failure::denied(ErrorCode::InvalidScope, "none_held"));
    }
    let audience = choose_audience(app, &authenticated.services, request.form.get("resource"))?;
    let claims = claims_for_key(app, key, audience, scope, now);
    Ok(Judged { key: authenticated.key, claims })
}
