//! Who may do what to whose things: `admin:*` within one's own merchant, `platform:*` everywhere, and that only from
//! the platform merchant.

use crate::app::App;
use crate::failure::Failure;
use crate::http::acting::Actor;
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::operation::Act;
use crate::merchants::find_merchant;
use crate::permissions::Giver;
use crate::tokens::Presented;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::permission::{Permission, holds};

/// Whose things.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Realm<'a> {
    /// One merchant's.
    Merchant(&'a MerchantId),
    /// Of something that is not there, and so nobody's: as a foreign merchant's.
    Nobody,
    /// The system's.
    Platform,
}

/// An administrator who may.
#[derive(Debug, Clone)]
pub(crate) struct Administrator {
    /// Their token.
    pub(crate) presented: Presented,
}

impl Administrator {
    /// Who acts, for the audit.
    pub(crate) fn actor(&self) -> String {
        self.presented.actor()
    }

    /// Whether they hold a right of its own, beside that to change things (L9).
    ///
    /// # Errors
    /// `insufficient_permission`.
    pub(crate) fn must_hold(&self, right: &str) -> Result<(), ApiError> {
        let right = Permission::parse(right).map_err(|_| ApiError::new(ErrorCode::Internal))?;
        if holds(&self.presented.claims.scope, &right) {
            return Ok(());
        }
        Err(Failure::denied(ErrorCode::InsufficientPermission, "not_permitted").into())
    }

    /// Them as somebody who gives rights within a merchant.
    pub(crate) async fn giver<'a>(
        &'a self,
        app: &App,
        merchant: &MerchantId,
        actor: &'a str,
    ) -> Result<Giver<'a>, ApiError> {
        let merchant = find_merchant(&mut app.db.glance().await?, merchant).await?;
        let merchant = merchant.ok_or(ApiError::new(ErrorCode::NotFound))?;
        Ok(Giver { actor, scope: &self.presented.claims.scope, of_platform: merchant.platform_at.is_some() })
    }
}

/// The rule: own merchant with `admin:<act>`, any with `platform:<act>` from the platform merchant. A merchant that
/// is not one's own is not there.
pub(crate) fn decide(
    own: &MerchantId,
    own_is_platform: bool,
    scope: &std::collections::BTreeSet<Permission>,
    realm: Realm<'_>,
    act: Act,
) -> Result<(), ErrorCode> {
    let holds_one =
        |family: &str| Permission::parse(&format!("{family}:{}", act.name())).is_ok_and(|p| holds(scope, &p));
    let platform = own_is_platform && holds_one("platform");
    match realm {
        Realm::Platform if platform => Ok(()),
        Realm::Platform => Err(ErrorCode::InsufficientPermission),
        Realm::Merchant(_) | Realm::Nobody if platform => Ok(()),
        Realm::Nobody => Err(ErrorCode::NotFound),
        Realm::Merchant(merchant) if merchant != own => Err(ErrorCode::NotFound),
        Realm::Merchant(_) if holds_one("admin") => Ok(()),
        Realm::Merchant(_) => Err(ErrorCode::InsufficientPermission),
    }
}

/// Authenticates and judges an administrator.
pub(crate) async fn authorize(
    app: &App,
    incoming: &Incoming,
    realm: Realm<'_>,
    act: Act,
) -> Result<Administrator, ApiError> {
    let presented = authenticate(app, incoming).await?;
    let mut tx = app.db.read().await?;
    let own = find_merchant(&mut tx, &presented.claims.merchant_id).await?;
    let of_platform = own.is_some_and(|merchant| merchant.platform_at.is_some());
    drop(tx);
    let verdict = decide(&presented.claims.merchant_id, of_platform, &presented.claims.scope, realm, act);
    // What is done to a merchant's things, the merchant finds in its own audit; what was tried stands where its author is at home.
    let merchant = match (verdict, realm) {
        (Ok(()), Realm::Merchant(merchant)) => merchant,
        _ => &presented.claims.merchant_id,
    };
    let (name, caller) = (presented.actor(), incoming.caller.clone());
    incoming.acting.fill_in(Actor { name, merchant: merchant.clone(), caller });
    verdict.map_err(|code| Failure::denied(code, "not_permitted"))?;
    Ok(Administrator { presented })
}

/// The same of the merchant that a path names. What is no id is nobody's.
pub(crate) async fn authorize_for(
    app: &App,
    incoming: &Incoming,
    merchant: &str,
    act: Act,
) -> Result<(MerchantId, Administrator), ApiError> {
    if let Ok(merchant) = MerchantId::parse(merchant) {
        let administrator = authorize(app, incoming, Realm::Merchant(&merchant), act).await?;
        return Ok((merchant, administrator));
    }
    authorize(app, incoming, Realm::Nobody, act).await?;
    Err(ApiError::new(ErrorCode::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use margrave_shared::permission::parse_scope;

    #[test]
    fn every_role_and_realm() {
        let merchant = |id: &str| MerchantId::parse(id).unwrap();
        let (own, foreign) = (merchant("own"), merchant("foreign"));
        let (denied, hidden) = (Err(ErrorCode::InsufficientPermission), Err(ErrorCode::NotFound));
        // (scope, from the platform, own read, own write, foreign read, platform write)
        let table = [
            ("read write", false, denied, denied, hidden, denied),
            ("admin:read", false, Ok(()), denied, hidden, denied),
            ("admin:*", false, Ok(()), Ok(()), hidden, denied),
            ("platform:*", false, denied, denied, hidden, denied),
            ("admin:* platform:*", false, Ok(()), Ok(()), hidden, denied),
            ("admin:*", true, Ok(()), Ok(()), hidden, denied),
            ("platform:read", true, Ok(()), denied, Ok(()), denied),
            ("platform:*", true, Ok(()), Ok(()), Ok(()), Ok(())),
        ];
        for (scope, platform, own_read, own_write, foreign_read, platform_write) in table {
            let scope = parse_scope(scope).unwrap();
            let judge = |realm, act| decide(&own, platform, &scope, realm, act);
            assert_eq!(judge(Realm::Merchant(&own), Act::Read), own_read, "{scope:?}");
            assert_eq!(judge(Realm::Merchant(&own), Act::Write), own_write, "{scope:?}");
            assert_eq!(judge(Realm::Merchant(&foreign), Act::Read), foreign_read, "{scope:?}");
            assert_eq!(judge(Realm::Platform, Act::Write), platform_write, "{scope:?}");
        }
    }
}
