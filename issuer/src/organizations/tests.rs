//! Organisations over their lives, on both databases.

use super::{
    Organization, OrganizationFacts, change_organization, create_organization, disable_organization,
    enable_organization, find_organization,
};
use crate::accounts::{NewAccount, create_account, find_by_login};
use crate::admin::erase_account;
use crate::audit::{Filter, find_entries};
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{MerchantLimits, MerchantSettings, NewMerchant, change_limits, create_merchant};
use crate::storage::Db;
use crate::storage::testing::on_both_databases;
use crate::testing::World;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use margrave_shared::login::Login;
use std::sync::Arc;

fn facts(name: &str, heads: &[&AccountId]) -> OrganizationFacts {
    OrganizationFacts { name: name.to_owned(), heads: heads.iter().map(|&head| head.clone()).collect() }
}

async fn create(world: &World, facts: OrganizationFacts) -> Result<Organization, Failure> {
    let mut tx = world.app.db.begin().await.unwrap();
    let caller = Caller::operator();
    let made =
        create_organization(&world.app, &mut tx, &world.merchant.id, facts, "operator", &caller).await?;
    tx.commit().await.unwrap();
    Ok(made)
}

fn code<T>(made: Result<T, Failure>) -> Option<ErrorCode> {
    match made {
        Ok(_) => None,
        Err(Failure::Denied(denial)) => Some(denial.code),
        Err(other) => panic!("{other}"),
    }
}

async fn an_organisation_has_heads_and_an_address_for_ever(db: Db) {
    let world = World::new(db).await;
    let (app, caller, merchant) = (&world.app, Caller::operator(), &world.merchant.id);
    let found = find_by_login(&mut app.db.read().await.unwrap(), &Login::parse("alice")).await;
    let alice = found.unwrap().unwrap().id;
    let new = NewAccount { username: "bob".to_owned(), password: None };
    let bob = create_account(app, merchant, new, "operator", &caller).await.unwrap().id;
    let new = NewMerchant {
        name: "Other".to_owned(),
        platform: false,
        services: Vec::new(),
        settings: MerchantSettings::default(),
    };
    let other = create_merchant(app, new, "operator", &caller).await.unwrap().id;
    let new = NewAccount { username: "carol".to_owned(), password: None };
    let carol = create_account(app, &other, new, "operator", &caller).await.unwrap().id;

    let unknown = AccountId::from_random(app.entropy.bytes());
    for bad in [facts("", &[]), facts("Acme", &[&carol]), facts("Acme", &[&unknown])] {
        assert_eq!(code(create(&world, bad).await), Some(ErrorCode::InvalidField));
    }
    let acme = create(&world, facts(" Acme ", &[&alice])).await.unwrap();
    assert_eq!(acme.facts, facts("Acme", &[&alice]));
    let at = (merchant, &acme.id);
    let both = facts("Acme Ltd", &[&alice, &bob]);
    // Of twenty that all read the same one is first; at a foreign merchant it is not there.
    let many: Vec<_> = (0..20)
        .map(|number| {
            let (app, id, merchant) = (Arc::clone(&world.app), acme.id.clone(), merchant.clone());
            let changed = OrganizationFacts { name: format!("Acme {number}"), ..both.clone() };
            tokio::spawn(async move {
                let caller = Caller::operator();
                code(change_organization(&app, (&merchant, &id), changed, 0, "operator", &caller).await)
            })
        })
        .collect();
    let mut verdicts = Vec::new();
    for one in many {
        verdicts.push(one.await.unwrap());
    }
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_none()).count(), 1);
    assert!(verdicts.iter().flatten().all(|code| *code == ErrorCode::PreconditionFailed), "{verdicts:?}");
    let foreign = change_organization(app, (&other, &acme.id), both.clone(), 1, "operator", &caller).await;
    assert_eq!(code(foreign), Some(ErrorCode::NotFound));
    let changed = change_organization(app, at, both.clone(), 1, "operator", &caller).await.unwrap();
    assert_eq!((&changed.facts, changed.version, &changed.x_address), (&both, 2, &acme.x_address));

    // Whoever is erased heads nothing.
    erase_account(app, &bob, "operator", &caller).await.unwrap();
    let found = find_organization(&mut app.db.read().await.unwrap(), &acme.id).await.unwrap().unwrap();
    assert_eq!(found.facts.heads, [alice.clone()].into());
    let erased = change_organization(app, at, both, 2, "operator", &caller).await;
    assert_eq!(code(erased), Some(ErrorCode::InvalidField));

    let acts = async |act: &str| {
        let filter = Filter { act: Some(act.to_owned()), ..Filter::default() };
        find_entries(&mut app.db.read().await.unwrap(), &filter, 50).await.unwrap().len()
    };
    assert_eq!((acts("organization.appoint_head").await, acts("organization.dismiss_head").await), (2, 0));
    change_organization(app, at, facts("Acme", &[]), 2, "operator", &caller).await.unwrap();
    assert_eq!(acts("organization.dismiss_head").await, 1);

    // Closed, open again, and no more than there may be.
    disable_organization(app, at, "operator", &caller).await.unwrap();
    assert_eq!(code(disable_organization(app, at, "operator", &caller).await), Some(ErrorCode::Conflict));
    let limits = MerchantLimits { organizations: Some(1), ..MerchantLimits::default() };
    change_limits(app, merchant, &limits, 0, "operator", &caller).await.unwrap();
    let second = create(&world, facts("Second", &[])).await.unwrap();
    assert_ne!(second.x_address, acme.x_address);
    assert_eq!(code(create(&world, facts("Third", &[])).await), Some(ErrorCode::LimitReached));
    assert_eq!(code(enable_organization(app, at, "operator", &caller).await), Some(ErrorCode::LimitReached));
    disable_organization(app, (merchant, &second.id), "operator", &caller).await.unwrap();
    enable_organization(app, at, "operator", &caller).await.unwrap();
    assert_eq!(code(enable_organization(app, at, "operator", &caller).await), Some(ErrorCode::Conflict));
}
on_both_databases!(lives, super::an_organisation_has_heads_and_an_address_for_ever);
