//! Devices over time and among several accounts, on both databases.

use super::{NewDevice, delete_dead, find_devices, forget_account_devices, register_device, remove_device};
use crate::accounts::{Account, NewAccount, create_account, find_by_login};
use crate::admin::erase_account;
use crate::app::App;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::Db;
use crate::storage::testing::{dump, on_both_databases};
use crate::testing::World;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::DeviceId;
use margrave_shared::login::Login;
use margrave_shared::push_target::PushTarget;
use std::sync::Arc;

async fn register(app: &App, account: &Account, token: &str) -> Result<DeviceId, ErrorCode> {
    let target = PushTarget::Fcm { token: format!("a-canary-of-a-token-{token}") };
    let new = NewDevice { name: "Canary's phone".to_owned(), target };
    let actor = format!("account:{}", account.id);
    match register_device(app, &account.id, new, &actor, &Caller::default()).await {
        Ok(id) => Ok(id),
        Err(Failure::Denied(denial)) => Err(denial.code),
        Err(other) => panic!("{other}"),
    }
}

async fn names(app: &App, account: &Account) -> Vec<String> {
    let mut tx = app.db.read().await.unwrap();
    let devices = find_devices(app, &mut tx, &account.id).await.unwrap();
    devices.into_iter().map(|device| device.name).collect()
}

async fn a_device_is_one_persons_and_goes_with_what_makes_it_a_stranger(db: Db) {
    let world = World::new(db).await;
    let (app, caller) = (&world.app, Caller::operator());
    let found = find_by_login(&mut app.db.read().await.unwrap(), &Login::parse("alice")).await;
    let alice = found.unwrap().unwrap();
    let new = NewAccount { username: "bob".to_owned(), password: None };
    let bob = create_account(app, &world.merchant.id, new, "operator", &caller).await.unwrap();

    let first = register(app, &alice, "1").await.unwrap();
    assert_eq!(register(app, &alice, "1").await.unwrap(), first, "it is renewed");
    assert_eq!(names(app, &alice).await, ["Canary's phone"]);
    assert!(!dump(&app.db).await.contains("anary"), "neither name nor token stands there in the clear");
    // Somebody else logs in on the same phone.
    let theirs = register(app, &bob, "1").await.unwrap();
    assert_ne!(theirs, first);
    assert!(names(app, &alice).await.is_empty() && names(app, &bob).await.len() == 1);
    assert!(remove_device(app, &alice.id, &theirs, "account:x", &caller).await.is_err(), "it is not hers");
    remove_device(app, &bob.id, &theirs, "account:x", &caller).await.unwrap();
    assert!(remove_device(app, &bob.id, &theirs, "account:x", &caller).await.is_err());

    // Both say at once that it is theirs: it is one's, whole, and the other's no more.
    for round in 0..10 {
        let both: Vec<_> = [&alice, &bob]
            .map(|owner| {
                let (app, owner) = (Arc::clone(&world.app), owner.clone());
                tokio::spawn(async move { register(&app, &owner, &format!("both-{round}")).await })
            })
            .into();
        for one in both {
            one.await.unwrap().unwrap();
        }
        assert_eq!(names(app, &alice).await.len() + names(app, &bob).await.len(), round + 1);
    }
    for owner in [&alice, &bob] {
        forget_account_devices(app, &owner.id, "operator", &caller).await.unwrap();
    }

    // However many at once, there are no more than there may be.
    let many: Vec<_> = (0..30)
        .map(|number| {
            let (app, alice) = (Arc::clone(&world.app), alice.clone());
            tokio::spawn(async move { register(&app, &alice, &format!("many-{number}")).await })
        })
        .collect();
    let mut verdicts = Vec::new();
    for one in many {
        verdicts.push(one.await.unwrap().err());
    }
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_none()).count(), 20);
    assert!(verdicts.iter().flatten().all(|code| *code == ErrorCode::LimitReached));

    // "That was not me": none of them counts, and there is room for others.
    forget_account_devices(app, &alice.id, "operator", &caller).await.unwrap();
    assert!(names(app, &alice).await.is_empty());
    register(app, &alice, "many-1").await.unwrap();
    assert_eq!(names(app, &alice).await.len(), 1);
    // And so does one whose program is silent for long.
    let mut tx = app.db.begin().await.unwrap();
    let day_s = 86_400;
    for (days, gone) in [(270, 0), (271, 1)] {
        assert_eq!(
            delete_dead(&mut tx, app.clock.now().plus_seconds(days * day_s), 500).await.unwrap(),
            gone
        );
    }
    tx.commit().await.unwrap();
    register(app, &alice, "many-1").await.unwrap();
    erase_account(app, &alice.id, "operator", &caller).await.unwrap();
    assert!(names(app, &alice).await.is_empty());
    assert_eq!(register(app, &alice, "2").await.err(), Some(ErrorCode::NotFound), "she is gone");
}
on_both_databases!(devices, super::a_device_is_one_persons_and_goes_with_what_makes_it_a_stranger);
