//! Security tokens: signed, and single-use by their row.

use super::store;
use crate::accounts::Account;
use crate::app::App;
use crate::failure::Failure;
use crate::storage::Tx;
use margrave_shared::claims::SecurityClaims;
use margrave_shared::error::ErrorCode;
use margrave_shared::factor_policy::Factor;
use margrave_shared::id::TokenId;
use margrave_shared::time::UnixMs;
use margrave_shared::token::{Expect, TokenKind, verify_security};
use margrave_shared::wire::token::SecurityTokenResponse;

/// Issues a security token for a factor that was verified now.
pub(super) async fn issue(
    app: &App,
    tx: &mut Tx,
    account: &Account,
    factor: Factor,
    now: UnixMs,
) -> Result<SecurityTokenResponse, Failure> {
    let ttl_s = app.token_config.security_ttl_s;
    let claims = SecurityClaims {
        iss: app.public_url.clone(),
        aud: app.public_url.clone(),
        sub: account.id.clone(),
        iat: now.seconds(),
        exp: now.seconds() + ttl_s,
        jti: TokenId::from_random(app.entropy.bytes()),
        merchant_id: account.merchant_id.clone(),
        factor,
        auth_time: now.seconds(),
    };
    store::insert_token(tx, &claims.jti, &account.id, account.generation, now.plus_seconds(ttl_s)).await?;
    let security_token = app.keyring.signer()?.sign(TokenKind::Security, &claims)?;
    Ok(SecurityTokenResponse { security_token, expires_in: ttl_s })
}

/// A security token that verifies; not consumed yet.
#[derive(Debug, Clone)]
pub(crate) struct SecurityProof {
    /// What it says.
    pub(crate) claims: SecurityClaims,
}

/// The most tokens in one grant: one for each kind of factor.
const MAX_PROOFS: usize = 7;

/// Verifies the tokens of a factors grant: all of one account and merchant, no two of one factor.
///
/// # Errors
/// `invalid_grant`, one answer for every reason.
pub(crate) fn read_proofs(app: &App, tokens: &str, now: UnixMs) -> Result<Vec<SecurityProof>, Failure> {
    let refuse = |reason| Failure::denied(ErrorCode::InvalidGrant, reason);
    let audiences = [app.public_url.clone()];
    let expect = Expect { issuer: &app.public_url, audiences: &audiences, now, max_life_s: 3600 };
    let snapshot = app.keyring.snapshot();
    let mut proofs: Vec<SecurityProof> = Vec::new();
    for token in tokens.split(' ') {
        let claims =
            verify_security(token, &snapshot.published, &expect).map_err(|_| refuse("security_token"))?;
        if let Some(first) = proofs.first()
            && (first.claims.sub != claims.sub || first.claims.merchant_id != claims.merchant_id)
        {
            return Err(refuse("mixed_accounts"));
        }
        if proofs.len() == MAX_PROOFS || proofs.iter().any(|proof| proof.claims.factor == claims.factor) {
            return Err(refuse("doubled_factor"));
        }
        proofs.push(SecurityProof { claims });
    }
    Ok(proofs)
}

/// Consumes the proofs in the transaction that mints.
///
/// # Errors
/// `invalid_grant` when one is spent or of an earlier generation of the account.
pub(crate) async fn consume(
    tx: &mut Tx,
    proofs: &[SecurityProof],
    account: &Account,
    now: UnixMs,
) -> Result<(), Failure> {
    for proof in proofs {
        let unspent = store::find_unspent(tx, &proof.claims.jti).await?;
        let counts = unspent == Some(account.generation);
        if !counts || !store::consume_token(tx, &proof.claims.jti, now).await? {
            return Err(Failure::denied(ErrorCode::InvalidGrant, "spent_security_token"));
        }
    }
    Ok(())
}
