//! `POST /oauth/revoke` (RFC 7009): one access token by its `jti`, or a refresh token with its family and session.

use crate::accounts::{Account, find_account};
use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{authenticate_key, update_last_used};
use crate::revocations::{self, store::is_ended};
use crate::sessions::{end_in, find_session};
use crate::tokens::find_refresh;
use margrave_shared::basic::Basic;
use margrave_shared::claims::{CommonClaims, PermissionClaims};
use margrave_shared::error::ErrorCode;
use margrave_shared::event::Ended;
use margrave_shared::id::{ClientId, MerchantId};
use margrave_shared::secret::secret_hash;
use margrave_shared::session::Ending;
use margrave_shared::token::expect::alive_at;
use margrave_shared::token::{TokenKind, verify_signed};

/// Who asks: a merchant's key, or a public client that names itself.
enum Asker {
    Key(MerchantId, String),
    Client(ClientId),
}

/// Revokes. Unknown tokens and those of other clients are left alone without a word (§2.2).
///
/// # Errors
/// `invalid_client`, `invalid_request`.
pub(super) async fn revoke(
    app: &App,
    basic: Option<&Basic>,
    client_id: Option<&str>,
    token: Option<&str>,
    caller: &Caller,
) -> Result<(), Failure> {
    let token = token.ok_or_else(|| Failure::explained(ErrorCode::InvalidRequest, "`token` is missing"))?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let asker = match (basic, client_id) {
        (Some(basic), None) => {
            let authenticated = authenticate_key(&mut tx, basic, now).await?;
            update_last_used(&mut tx, &authenticated.key.key_id, now).await?;
            Asker::Key(authenticated.merchant.id, authenticated.key.key_id.to_string())
        }
        (None, Some(id)) => Asker::Client(
            ClientId::parse(id).map_err(|_| Failure::denied(ErrorCode::InvalidClient, "client_id"))?,
        ),
        _ => return Err(Failure::denied(ErrorCode::InvalidClient, "no_client")),
    };
    let mut entry = None;
    if let Some(row) = find_refresh(&mut tx, &secret_hash(token)).await? {
        // Only the application that holds a session may end it this way.
        if matches!(&asker, Asker::Client(id) if *id == row.client_id)
            && end_in(app, &mut tx, &row.sid, Ending::Revoked, now).await?
        {
            let session = find_session(&mut tx, &row.sid).await?;
            let session = session.ok_or(Failure::Internal("a refresh token has no session"))?;
            let account = find_account(&mut tx, &session.account_id).await?;
            let done = Entry::done("session.end").merchant(&session.merchant_id);
            let done = done.person(account.as_ref().and_then(Account::person));
            entry = Some(done.subject(format!("session:{}", row.sid)));
        }
    } else if let Some(claims) = read_access_token(app, token) {
        let own = match &asker {
            Asker::Key(merchant, key) => {
                claims.merchant_id == *merchant && claims.key_id.as_ref().is_some_and(|id| id.as_str() == key)
            }
            Asker::Client(id) => claims.client_id.as_ref() == Some(id) && claims.key_id.is_none(),
        };
        // An expired or revoked token needs no event: anybody could fill the feed with them.
        let counts = alive_at(claims.exp, now) && !is_ended(&mut tx, "token", claims.jti.as_str()).await?;
        if own && counts {
            revocations::publish(app, &mut tx, &Ended::Token { jti: claims.jti.clone() }, now).await?;
            let done = Entry::done("token.revoke").merchant(&claims.merchant_id);
            entry = Some(done.subject(format!("token:{}", claims.jti)));
        }
    }
    if let Some(entry) = entry {
        let entry = entry.actor(match &asker {
            Asker::Key(_, key) => format!("key:{key}"),
            Asker::Client(client) => format!("client:{client}"),
        });
        app.audit.write(&mut tx, entry, caller, now, app.entropy.bytes()).await?;
    }
    tx.commit().await?;
    app.feed.notify();
    Ok(())
}

/// Only the signature must be ours, whatever the service.
fn read_access_token(app: &App, token: &str) -> Option<PermissionClaims> {
    let snapshot = app.keyring.snapshot();
    let (json, _) = verify_signed(token, TokenKind::Permission, &snapshot.published).ok()?;
    PermissionClaims::from_json(CommonClaims::from_json(&json).ok()?, &json).ok()
}
