//! How much a merchant may have: what whoever runs the system lets it.

use super::limit_store;
use crate::app::App;
use crate::failure::Failure;
use crate::storage::Tx;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::MerchantId;
use margrave_shared::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits of a merchant; what is absent has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
// What a later release has stored is read past; what a request brings is not (`Incoming::read`).
#[schemars(deny_unknown_fields)]
pub(crate) struct MerchantLimits {
    /// How many accounts that are not erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accounts: Option<u32>,
    /// How many keys that live, those apart that have a successor: each has one at most at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<u32>,
    /// How many applications that are not disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) applications: Option<u32>,
    /// How many organisations that are not disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) organizations: Option<u32>,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Accounts.
    Accounts,
    /// Keys.
    Keys,
    /// Applications.
    Applications,
    /// Organisations.
    Organizations,
}

impl MerchantLimits {
    const fn of(&self, what: Limited) -> Option<u32> {
        match what {
            Limited::Accounts => self.accounts,
            Limited::Keys => self.keys,
            Limited::Applications => self.applications,
            Limited::Organizations => self.organizations,
        }
    }
}

/// Whether a merchant may have one more. Of several at once the last one is counted after the others: where there is a limit, each holds
/// the merchant until its transaction ends.
///
/// # Errors
/// `limit_reached`, with the limit.
pub(crate) async fn check_limit(
    tx: &mut Tx,
    merchant: &MerchantId,
    what: Limited,
    now: UnixMs,
) -> Result<(), Failure> {
    if limit_store::find_limits(tx, merchant).await?.of(what).is_none() {
        return Ok(());
    }
    // It may have been changed while this one waited.
    let Some(most) = limit_store::lock_limits(tx, merchant).await?.of(what) else { return Ok(()) };
    expect_room(tx, merchant, what, most, now).await
}

/// The same ahead of the work, holding nobody up: who is at the limit is told so from what others have committed.
///
/// # Errors
/// `limit_reached`, with the limit.
pub(crate) async fn check_limit_ahead(
    app: &App,
    merchant: &MerchantId,
    what: Limited,
) -> Result<(), Failure> {
    let mut tx = app.db.glance().await?;
    match limit_store::find_limits(&mut tx, merchant).await?.of(what) {
        Some(most) => expect_room(&mut tx, merchant, what, most, app.clock.now()).await,
        None => Ok(()),
    }
}

async fn expect_room(
    tx: &mut Tx,
    merchant: &MerchantId,
    what: Limited,
    most: u32,
    now: UnixMs,
) -> Result<(), Failure> {
    if limit_store::count_limited(tx, merchant, what, most, now).await? < i64::from(most) {
        return Ok(());
    }
    Err(Failure::explained(ErrorCode::LimitReached, format!("this merchant may have at most {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{NewAccount, create_account, find_by_login};
    use crate::admin::erase_account;
    use crate::applications::{Class, create_application, disable_application, enable_application};
    use crate::http::context::Caller;
    use crate::merchants::{NewKey, change_limits, create_key, rotate_key};
    use crate::storage::Db;
    use crate::storage::testing::{on_both_databases, prepare_all};
    use crate::testing::World;
    use margrave_shared::login::Login;
    use margrave_shared::permission::parse_scope;
    use std::sync::Arc;

    async fn limit(world: &World, limits: MerchantLimits, version: i64) {
        let (id, caller) = (&world.merchant.id, Caller::operator());
        change_limits(&world.app, id, &limits, version, "operator", &caller).await.unwrap();
    }

    fn is_reached<T: std::fmt::Debug>(made: &Result<T, Failure>) -> bool {
        matches!(made, Err(Failure::Denied(denial)) if denial.code == ErrorCode::LimitReached)
    }

    async fn of_fifty_at_once_no_more_are_made_than_there_may_be(db: Db) {
        prepare_all(&db, limit_store::ALL).await;
        let world = World::new(db).await;
        let other = world.another_process().await;
        // Alice is there already.
        limit(&world, MerchantLimits { accounts: Some(3), ..MerchantLimits::default() }, 0).await;
        let racers: Vec<_> = (0..50)
            .map(|n| {
                let app = Arc::clone(if n % 2 == 0 { &world.app } else { &other });
                let merchant = world.merchant.id.clone();
                let new = NewAccount { username: format!("racer-{n}"), password: None };
                tokio::spawn(async move {
                    create_account(&app, &merchant, new, "operator", &Caller::operator()).await
                })
            })
            .collect();
        let mut made = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(_) => made += 1,
                refused => assert!(is_reached(&refused), "{refused:?}"),
            }
        }
        assert_eq!(made, 2);

        // Who is erased counts no more.
        let mut tx = world.app.db.read().await.unwrap();
        let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
        drop(tx);
        erase_account(&world.app, &alice.id, "operator", &Caller::operator()).await.unwrap();
        let new = |name: &str| NewAccount { username: name.to_owned(), password: None };
        let caller = Caller::operator();
        let create =
            async |name| create_account(&world.app, &world.merchant.id, new(name), "operator", &caller).await;
        create("next").await.unwrap();
        assert!(is_reached(&create("one-too-many").await));
        limit(&world, MerchantLimits::default(), 1).await;
        create("as-many-as-you-like").await.unwrap();
    }
    on_both_databases!(races, super::of_fifty_at_once_no_more_are_made_than_there_may_be);

    async fn keys_and_applications_are_limited(db: Db) {
        let world = World::new(db).await;
        let (app, id, caller) = (&world.app, &world.merchant.id, Caller::operator());
        // The world has one application and no key.
        let limits = MerchantLimits { keys: Some(1), applications: Some(1), ..MerchantLimits::default() };
        limit(&world, limits, 0).await;
        let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
        let key = create_key(app, id, &new, "operator", &caller).await.unwrap();
        assert!(is_reached(&create_key(app, id, &new, "operator", &caller).await));
        // A limit keeps nobody from changing a key.
        let next = rotate_key(app, id, &key.key_id, "operator", &caller).await.unwrap();
        // But not to have more and more of them for a day.
        assert!(is_reached(&rotate_key(app, id, &next.key_id, "operator", &caller).await));
        // Both live for a day; then there is one.
        world.pass_s(2 * 86_400);
        assert!(is_reached(&create_key(app, id, &new, "operator", &caller).await));

        let create = async || {
            let mut tx = app.db.begin().await.unwrap();
            let made = create_application(app, &mut tx, id, "App", Class::Web, "operator", &caller).await;
            tx.commit().await.unwrap();
            made
        };
        assert!(is_reached(&create().await));
        disable_application(app, id, &world.client, "operator", &caller).await.unwrap();
        create().await.unwrap();
        // What was made room for does not come back through another door.
        assert!(is_reached(&enable_application(app, id, &world.client, "operator", &caller).await));
        limit(&world, MerchantLimits { applications: Some(2), ..limits }, 1).await;
        enable_application(app, id, &world.client, "operator", &caller).await.unwrap();
        let again = enable_application(app, id, &world.client, "operator", &caller).await;
        assert!(matches!(again, Err(Failure::Denied(denial)) if denial.code == ErrorCode::Conflict));
    }
    on_both_databases!(kinds, super::keys_and_applications_are_limited);
}
