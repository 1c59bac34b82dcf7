//! A merchant key is exchanged for a permission token bound to the merchant only (C3, RFC 6749 §4.4). No refresh
//! token (§4.4.3).

use super::TokenRequest;
use crate::app::App;
use crate::audit::Entry;
use crate::failure::{Denial, Failure};
use crate::merchants::{authenticate_key, remember_use};
use crate::tokens::{choose_audience, mint_for_key};
use margrave_shared::error::ErrorCode;
use margrave_shared::permission::holds;
use margrave_shared::wire::token::TokenResponse;

pub(super) async fn grant(app: &App, request: &TokenRequest<'_>) -> Result<TokenResponse, Failure> {
    if request.form.get("client_secret").is_some() {
        return Err(Failure::explained(ErrorCode::InvalidRequest, "the key is sent by HTTP Basic"));
    }
    let refuse = || Failure::denied(ErrorCode::InvalidClient, "no_key");
    let basic = request.basic.as_ref().ok_or_else(refuse)?;
    let asked = request.scope()?;
    let now = app.clock.now();
    let authenticated = authenticate_key(&mut app.db.glance().await?, basic, now).await;
    let authenticated = match authenticated {
        Err(Failure::Denied(Denial { reason, code, .. })) => {
            // What was typed as an id may be a secret in the wrong place: only its keyed hash is kept.
            let subject = app.audit.unknown_login(&basic.id);
            let entry = Entry::refused("token.client_credentials", reason).subject(subject);
            app.audit.write_alone(&app.db, entry, request.caller, now, app.entropy.bytes()).await?;
            return Err(Failure::denied(code, reason));
        }
        other => other?,
    };
    let key = &authenticated.key;
    let held = &key.permissions;
    let scope = if asked.is_empty() {
        held.clone()
    } else {
        asked.into_iter().filter(|permission| holds(held, permission)).collect()
    };
    if scope.is_empty() {
        return Err(Failure::denied(ErrorCode::InvalidScope, "none_held"));
    }
    let audience = choose_audience(app, &authenticated.services, request.form.get("resource"))?;
    let answer = mint_for_key(app, key, audience, scope, now)?;
    remember_use(&app.db, key, now).await?;
    let entry = Entry::done("token.client_credentials")
        .merchant(&key.merchant_id)
        .actor(format!("key:{}", key.key_id));
    // The token is no row: its entry is all there is to make durable before it is handed out.
    app.audit.write_alone(&app.db, entry, request.caller, now, app.entropy.bytes()).await?;
    Ok(answer)
}
