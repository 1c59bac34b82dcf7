//! The issuer's own bearer check: the shared verifier, then what only the issuer knows, session and account rows.

use super::error::ApiError;
use super::incoming::Incoming;
use crate::accounts::Account;
use crate::app::App;
use crate::tokens::{Presented, check_presented};
use margrave_shared::error::ErrorCode;
use margrave_shared::header::{Credential, read_authorization};
use margrave_shared::permission::{Permission, holds};

/// Who calls, by a permission token for the issuer itself.
pub(crate) async fn authenticate(app: &App, incoming: &Incoming) -> Result<Presented, ApiError> {
    match read_authorization(incoming.authorization()?) {
        Credential::Bearer(token) => {
            let presented = check_presented(app, token, std::slice::from_ref(&app.public_url)).await?;
            if let Some(person) = presented.account.as_ref().and_then(Account::person) {
                let _ = incoming.caller.person.set(person);
            }
            Ok(presented)
        }
        Credential::None | Credential::Unusable => Err(ApiError::new(ErrorCode::InvalidToken)),
        Credential::Ambiguous => Err(ApiError::new(ErrorCode::AmbiguousRequest)),
    }
}

/// The same, holding a permission.
pub(crate) async fn authenticate_for(
    app: &App,
    incoming: &Incoming,
    permission: &str,
) -> Result<Presented, ApiError> {
    let presented = authenticate(app, incoming).await?;
    let wanted = Permission::parse(permission).map_err(|_| ApiError::new(ErrorCode::Internal))?;
    if holds(&presented.claims.scope, &wanted) {
        Ok(presented)
    } else {
        Err(ApiError::new(ErrorCode::InsufficientPermission))
    }
}
