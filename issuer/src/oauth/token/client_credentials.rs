//! A merchant key is exchanged for a permission token bound to the merchant only (C3, RFC 6749 §4.4). No refresh
//! token (§4.4.3).

use super::TokenRequest;
use crate::app::App;
use crate::audit::{Entry, Outcome};
use crate::failure::Failure;
use crate::merchants::{authenticate_key, remember_use};
use crate::tokens::{choose_audience, claims_for_key, sign, sign_unlisted};
use margrave_shared::claims::PermissionClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::holds;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::token::TokenResponse;

const ACT: &str = "token.client_credentials";

pub(super) async fn grant(app: &App, request: &TokenRequest<'_>) -> Result<TokenResponse, Failure> {
    let now = app.clock.now();
    let mut entry = Entry::done(ACT);
    let judged = judge(app, request, now, &mut entry).await;
    if let Err(Failure::Denied(denial)) = &judged {
        entry.outcome = Outcome::Refused(denial.reason);
    }
    let random = app.entropy.bytes();
    match judged {
        Ok(claims) if app.token_config.status_lists => {
            let mut tx = app.db.begin().await?;
            let signed = sign(app, &mut tx, claims).await?;
            app.audit.write(&mut tx, entry, request.caller, now, random).await?;
            tx.commit().await?;
            Ok(signed)
        }
        Ok(claims) => {
            let signed = sign_unlisted(app, &claims)?;
            // The token is no row: its entry is all there is to make durable before it is handed out.
            app.audit.write_alone(&app.db, entry, request.caller, now, random).await?;
            Ok(signed)
        }
        Err(Failure::Denied(denial)) => {
            app.audit.write_alone(&app.db, entry, request.caller, now, random).await?;
            Err(Failure::Denied(denial))
        }
        Err(other) => Err(other),
    }
}

/// The verdict; `entry` learns of whom it is as soon as that is known.
async fn judge(
    app: &App,
    request: &TokenRequest<'_>,
    now: UnixMs,
    entry: &mut Entry,
) -> Result<PermissionClaims, Failure> {
    if request.form.get("client_secret").is_some() {
        return Err(Failure::explained(ErrorCode::InvalidRequest, "the key is sent by HTTP Basic"));
    }
    let basic = request.basic.as_ref().ok_or(Failure::denied(ErrorCode::InvalidClient, "no_key"))?;
    // What was typed as an id may be a secret in the wrong place: only its keyed hash is kept.
    entry.subject = Some(app.audit.unknown_login(&basic.id));
    let authenticated = authenticate_key(&mut app.db.glance().await?, basic, now).await?;
    let key = &authenticated.key;
    entry.subject = None;
    entry.merchant = Some(key.merchant_id.clone());
    entry.actor = Some(format!("key:{}", key.key_id));
    remember_use(&app.db, key, now).await?;
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
    Ok(claims_for_key(app, key, audience, scope, now))
}
