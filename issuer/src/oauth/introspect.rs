//! `POST /oauth/introspect` (RFC 7662): the shared verifier's verdict plus the issuer's rows. Whatever is not an
//! active token of the caller's own merchant is exactly `{"active":false}`.

use crate::app::App;
use crate::failure::Failure;
use crate::merchants::{authenticate_key, find_services};
use crate::sessions::find_session;
use crate::tokens::is_alive;
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::session::state::decide;
use margrave_shared::session::{Contact, SessionVerdict};
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
    let inactive = Ok(json!({ "active": false }));
    let basic = basic.ok_or(Failure::denied(ErrorCode::InvalidClient, "no_key"))?;
    let token = token.ok_or_else(|| Failure::explained(ErrorCode::InvalidRequest, "`token` is missing"))?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let caller = authenticate_key(&mut tx, basic, now).await?;
    let services = find_services(&mut tx, &caller.merchant.id).await?;
    let audiences: Vec<String> =
        services.into_iter().map(|service| service.audience).chain([app.public_url.clone()]).collect();
    let claims = match is_alive(app, &mut tx, token, &audiences, now).await {
        Ok((claims, _)) if claims.merchant_id == caller.merchant.id => claims,
        Ok(_) | Err(Failure::Denied(_)) => return inactive,
        Err(error) => return Err(error),
    };
    if let Some(sid) = &claims.sid {
        let Some(session) = find_session(&mut tx, sid).await? else { return inactive };
        let verdict = decide(Some(session.row()), session.limits, session.started_at, Contact::Question, now);
        // The issuer may not know of activity at an edge: what it knows as idle only may well be alive there.
        let ended = match verdict {
            SessionVerdict::Alive { .. } => false,
            SessionVerdict::Ended { ending, .. } => {
                session.ending.is_some() || ending != margrave_shared::session::Ending::Idle
            }
        };
        if ended {
            return inactive;
        }
    }
    tx.commit().await?;
    let mut answer = serde_json::to_value(&claims).map_err(|_| Failure::Internal("claims"))?;
    if let Some(object) = answer.as_object_mut() {
        object.insert("active".to_owned(), true.into());
        object.insert("token_type".to_owned(), "Bearer".into());
    }
    Ok(answer)
}
