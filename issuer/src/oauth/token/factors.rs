//! Security tokens are exchanged for a session with a permission and a refresh token (C5, C8, C9).

use super::{Granted, TokenRequest};
use crate::accounts::{Account, device_standing, find_account, lock_accounts};
use crate::app::App;
use crate::applications::{Class, find_application};
use crate::audit::Entry;
use crate::factors::{SecurityProof, consume, read_proofs};
use crate::failure::{Denial, Failure};
use crate::merchants::{Merchant, find_merchant, find_services};
use crate::passwords::find_hash;
use crate::permissions::find_held;
use crate::sessions::{Session, end_others, insert_session};
use crate::storage::Tx;
use crate::tokens::{RefreshRow, choose_audience, claims_for_person, insert_refresh, sign};
use margrave_shared::claims::RefreshClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::factor_policy::Factor;
use margrave_shared::id::{ClientId, SessionId, TokenId};
use margrave_shared::secret::secret_hash;
use margrave_shared::session::SessionPolicy;
use margrave_shared::session::rotate::TokenState;
use margrave_shared::time::UnixMs;
use margrave_shared::token::TokenKind;
use std::collections::BTreeSet;

/// How long a session without an absolute end is remembered, in seconds, and its refresh token lives: a year.
const UNLIMITED_S: i64 = 366 * 86400;

/// How much longer than its last token a session's row stays, in seconds.
const AFTERMATH_S: i64 = 3600;

pub(super) async fn grant(app: &App, request: &TokenRequest<'_>) -> Result<Granted, Failure> {
    let refuse = |reason| Failure::denied(ErrorCode::InvalidGrant, reason);
    let client = ClientId::parse(request.public_client()?);
    let client = client.map_err(|_| Failure::denied(ErrorCode::InvalidClient, "client_id"))?;
    let tokens = request.required("security_tokens")?;
    let asked = request.scope()?;
    let now = app.clock.now();
    let proofs = read_proofs(app, tokens, now)?;
    let Some(first) = proofs.first() else { return Err(refuse("no_security_token")) };

    let mut tx = app.db.begin().await?;
    let application = find_application(&mut tx, &client).await?;
    let application = application.ok_or(Failure::denied(ErrorCode::InvalidClient, "unknown_client"))?;
    let merchant = find_merchant(&mut tx, &first.claims.merchant_id).await?.ok_or(refuse("merchant"))?;
    let account = find_account(&mut tx, &first.claims.sub).await?.ok_or(refuse("account"))?;
    let usable = account.disabled_at.is_none()
        && merchant.disabled_at.is_none()
        && account.merchant_id == merchant.id
        && application.merchant_id == merchant.id;
    if !usable {
        return Err(refuse("account_merchant_or_client"));
    }

    let presented: BTreeSet<Factor> = proofs.iter().map(|proof| proof.claims.factor).collect();
    let enrolled = enrolled_factors(&mut tx, &account).await?;
    let policy = merchant.settings.factor_policy.clone().unwrap_or_default();
    // After the account: who took a right away meanwhile has raised its generation since, and what is minted here ends.
    let held = find_held(&mut tx, &account).await?;
    let verdict = policy.decide(&asked, &held, &presented, &enrolled);
    if verdict.granted.is_empty() {
        if verdict.needed.is_empty() {
            return Err(Failure::denied(ErrorCode::InvalidScope, "not_by_factors"));
        }
        // A refused grant consumes nothing: the person adds a factor and comes back.
        return Err(Failure::Denied(Denial {
            code: ErrorCode::InsufficientFactors,
            reason: "insufficient_factors",
            detail: None,
            factors_needed: Some(verdict.needed),
        }));
    }
    let auth_time_s = proofs.iter().map(|proof| proof.claims.auth_time).min().unwrap_or(now.seconds());
    let services = find_services(&mut tx, &merchant.id).await?;
    let audience = choose_audience(app, &services, request.form.get("resource"))?;
    consume(&mut tx, &proofs, &account, now).await?;

    let session =
        open_session(app, &merchant, &account, &client, application.class, &proofs, auth_time_s, now);
    let expires_at = match session.limits.until_s {
        0 => now.plus_seconds(UNLIMITED_S),
        until_s => UnixMs::from_seconds(until_s),
    };
    let is_single = account.settings.single_session.or(merchant.settings.single_session).unwrap_or(false);
    if is_single {
        // Who logs in at the same moment waits here, and then finds this session.
        lock_accounts(&mut tx, std::slice::from_ref(&account.id)).await?;
    }
    insert_session(&mut tx, &session, expires_at.plus_seconds(AFTERMATH_S)).await?;
    let row = RefreshRow {
        family: TokenId::from_random(app.entropy.bytes()),
        parent_hash: None,
        sid: session.sid.clone(),
        client_id: client,
        audience: audience.join(" "),
        scope: verdict.granted.clone(),
        expires_at,
        state: TokenState::Live,
        retry_answer: None,
    };
    let refresh_token = issue_refresh(app, &mut tx, &account, &row, now).await?;
    let claims = claims_for_person(app, &account, &session, audience, verdict.granted, now);
    let mut answer = sign(app, &mut tx, claims).await?;
    answer.refresh_token = Some(refresh_token);
    answer.factors_needed = (!verdict.needed.is_empty()).then_some(verdict.needed);

    if let Some(person) = account.person() {
        let _ = request.caller.person.set(person);
    }
    if is_single {
        end_others(app, &mut tx, &session, request.caller, now).await?;
    }
    let entry = Entry::done("session.open")
        .merchant(&merchant.id)
        .actor(format!("account:{}", account.id))
        .subject(format!("session:{}", session.sid));
    app.audit.write(&mut tx, entry, request.caller, now, app.entropy.bytes()).await?;
    tx.commit().await?;
    if is_single {
        app.feed.notify();
    }
    Ok(Granted { answer, device: Some(device_standing(&account)) })
}

/// Which factors the account has at all.
async fn enrolled_factors(tx: &mut Tx, account: &Account) -> Result<BTreeSet<Factor>, Failure> {
    let password = find_hash(tx, &account.id).await?;
    Ok(password.map(|_| Factor::Credentials).into_iter().collect())
}

#[expect(clippy::too_many_arguments, reason = "a session is made of all of these, once")]
fn open_session(
    app: &App,
    merchant: &Merchant,
    account: &Account,
    client: &ClientId,
    class: Class,
    proofs: &[SecurityProof],
    auth_time_s: i64,
    now: UnixMs,
) -> Session {
    let policy = match (account.settings.session, class) {
        (Some(own), _) => own,
        (None, Class::Web) => merchant.settings.session.unwrap_or(app.session_policy),
        (None, Class::Mobile) => SessionPolicy::MOBILE,
    };
    let amr: BTreeSet<&str> = proofs.iter().map(|proof| proof.claims.factor.amr()).collect();
    Session {
        sid: SessionId::from_random(app.entropy.bytes()),
        merchant_id: merchant.id.clone(),
        account_id: account.id.clone(),
        generation: account.generation,
        client_id: client.clone(),
        started_at: now,
        seen_at: now,
        limits: policy.limits(now),
        auth_time_s,
        amr: amr.into_iter().collect::<Vec<_>>().join(" "),
        ending: None,
    }
}

/// Signs a refresh token and stores its row.
pub(super) async fn issue_refresh(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    row: &RefreshRow,
    now: UnixMs,
) -> Result<String, Failure> {
    let claims = RefreshClaims {
        iss: app.public_url.clone(),
        aud: app.public_url.clone(),
        sub: account.id.clone(),
        iat: now.seconds(),
        exp: row.expires_at.seconds(),
        jti: TokenId::from_random(app.entropy.bytes()),
        client_id: row.client_id.clone(),
        merchant_id: account.merchant_id.clone(),
        sid: row.sid.clone(),
        family: row.family.clone(),
    };
    let token = app.keyring.signer()?.sign(TokenKind::Refresh, &claims)?;
    insert_refresh(tx, &secret_hash(&token), row, now).await?;
    Ok(token)
}
