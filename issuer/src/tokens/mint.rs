//! Permission tokens: what they say, and their signature.

use super::status::give_place;
use crate::accounts::Account;
use crate::app::App;
use crate::failure::Failure;
use crate::keys::Signer;
use crate::merchants::MerchantKey;
use crate::sessions::Session;
use crate::storage::Tx;
use margrave_shared::claims::{PermissionClaims, Subject};
use margrave_shared::id::{ClientId, MerchantId, TokenId};
use margrave_shared::permission::{Permission, print_scope};
use margrave_shared::time::UnixMs;
use margrave_shared::token::TokenKind;
use margrave_shared::user_type::UserType;
use margrave_shared::wire::token::TokenResponse;
use std::collections::BTreeSet;

/// What a merchant key's token says: bound to the merchant only (C3).
pub(crate) fn claims_for_key(
    app: &App,
    key: &MerchantKey,
    audience: Vec<String>,
    scope: BTreeSet<Permission>,
    now: UnixMs,
) -> PermissionClaims {
    // A token must not outlive its key.
    let key_left_s = key.expires_at.map_or(i64::MAX, |at| at.since(now) / 1000);
    let ttl_s = app.token_config.permission_ttl_s.min(key_left_s).max(1);
    PermissionClaims {
        key_id: Some(key.key_id.clone()),
        // RFC 9068 §2.2 wants a client: it is the key.
        client_id: ClientId::parse(key.key_id.as_str()).ok(),
        ..blank(
            app,
            Subject::Merchant(key.merchant_id.clone()),
            &key.merchant_id,
            audience,
            scope,
            ttl_s,
            now,
        )
    }
}

/// What a token of a person in a session says.
pub(crate) fn claims_for_person(
    app: &App,
    account: &Account,
    session: &Session,
    audience: Vec<String>,
    scope: BTreeSet<Permission>,
    now: UnixMs,
) -> PermissionClaims {
    let left_s = match session.limits.until_s {
        0 => i64::MAX,
        until_s => until_s - now.seconds(),
    };
    let ttl_s = app.token_config.permission_ttl_s.min(left_s).max(1);
    let limited = session.limits.idle_s != 0 || session.limits.until_s != 0;
    let amr: Vec<String> = session.amr.split(' ').map(str::to_owned).collect();
    PermissionClaims {
        client_id: Some(session.client_id.clone()),
        account_id: Some(account.id.clone()),
        generation: Some(account.generation),
        user_type: Some(UserType::Full),
        sid: Some(session.sid.clone()),
        session: limited.then_some(session.limits),
        auth_time: Some(session.auth_time_s),
        // NIST SP 800-63B-4: two distinct factors are AAL2.
        acr: Some(if amr.len() > 1 { "2".to_owned() } else { "1".to_owned() }),
        amr,
        ..blank(app, Subject::Account(account.id.clone()), &account.merchant_id, audience, scope, ttl_s, now)
    }
}

fn blank(
    app: &App,
    sub: Subject,
    merchant_id: &MerchantId,
    audience: Vec<String>,
    scope: BTreeSet<Permission>,
    ttl_s: i64,
    now: UnixMs,
) -> PermissionClaims {
    PermissionClaims {
        iss: app.public_url.clone(),
        aud: audience,
        sub,
        iat: now.seconds(),
        exp: now.seconds().saturating_add(ttl_s),
        jti: TokenId::from_random(app.entropy.bytes()),
        scope,
        merchant_id: merchant_id.clone(),
        client_id: None,
        key_id: None,
        account_id: None,
        generation: None,
        user_type: None,
        sid: None,
        session: None,
        auth_time: None,
        amr: Vec::new(),
        acr: None,
        grant_id: None,
        cabinet: None,
        act: None,
        jkt: None,
        status: None,
    }
}

/// Signs a token, and where status lists are published gives it its place in one within the transaction.
pub(crate) async fn sign(
    app: &App,
    tx: &mut Tx,
    mut claims: PermissionClaims,
) -> Result<TokenResponse, Failure> {
    let signer = app.keyring.signer()?;
    give_place(app, tx, &mut claims, signer.kid()).await?;
    answer(&signer, &claims)
}

/// The same for a token without a place.
pub(crate) fn sign_unlisted(app: &App, claims: &PermissionClaims) -> Result<TokenResponse, Failure> {
    answer(&app.keyring.signer()?, claims)
}

fn answer(signer: &Signer, claims: &PermissionClaims) -> Result<TokenResponse, Failure> {
    Ok(TokenResponse {
        access_token: signer.sign(TokenKind::Permission, claims)?,
        token_type: "Bearer".to_owned(),
        expires_in: claims.exp - claims.iat,
        scope: print_scope(&claims.scope),
        refresh_token: None,
        factors_needed: None,
    })
}
