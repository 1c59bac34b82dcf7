//! The rule itself is tested in `shared`; here that rows keep it, over processes, on both databases.

use super::{Attempt, store, write_refusals};
use crate::app::App;
use crate::audit::{Entry, Filter, find_entries};
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::testing::{on_both_databases, prepare_all};
use crate::storage::{Db, on_tx};
use crate::sweeper::sweep;
use crate::testing::World;
use margrave_shared::id::{EdgeId, MerchantId};
use margrave_shared::limiter::drawing::Aim;
use margrave_shared::limiter::rule::Outcome;
use std::sync::Arc;

fn from(address: &str) -> Caller {
    Caller { address: Some(address.parse().unwrap()), ..Caller::default() }
}

/// An attempt, and what becomes of it where it is let.
async fn log_in(
    app: &App,
    login: &str,
    merchant: &MerchantId,
    address: &str,
    outcome: Outcome,
) -> Result<(), Failure> {
    let caller = from(address);
    let aim = Aim::Login { login, merchant: Some(merchant) };
    let drawn = async {
        let mut attempt = Attempt::begin(app, aim, &caller).await?;
        attempt.take(app).await?;
        attempt.end(app, outcome).await
    };
    drawn
        .await
        .inspect_err(|refused| assert!(matches!(refused, Failure::TooManyAttempts { .. }), "{refused}"))
}

async fn try_login(app: &App, login: &str, merchant: &MerchantId, address: &str) -> Result<(), Failure> {
    log_in(app, login, merchant, address, Outcome::Wrong).await
}

async fn rows(app: &App) -> i64 {
    let mut tx = app.db.read().await.unwrap();
    on_tx!(&mut tx, c => sqlx::query_scalar("SELECT COUNT(*) FROM attempt_buckets").fetch_one(c).await)
        .unwrap()
}

async fn fifty_at_once_over_two_processes_are_five(db: Db) {
    let statements = if matches!(db, Db::Sqlite { .. }) { store::OF_SQLITE } else { store::OF_POSTGRES };
    prepare_all(&db, statements).await;
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    for login in ["alice", "bob"] {
        let attempts: Vec<_> = (0..50)
            .map(|i| {
                let world = Arc::clone(&world);
                let app = if i % 2 == 0 { Arc::clone(&world.app) } else { Arc::clone(&other) };
                // Half of them from one network, half from ten.
                let address = format!("2001:db8:0:{}::{i}", if i % 2 == 0 { 0 } else { i % 20 });
                tokio::spawn(
                    async move { try_login(&app, login, &world.merchant.id, &address).await.is_ok() },
                )
            })
            .collect();
        let mut admitted = 0;
        for attempt in attempts {
            admitted += usize::from(attempt.await.unwrap());
        }
        assert_eq!(admitted, 5, "{login}");
    }
    // A window later all of it is back, and the rows go.
    world.pass_s(300);
    assert!(try_login(&other, "alice", &world.merchant.id, "192.0.2.1").await.is_ok());
    world.pass_s(3_901);
    assert!(rows(&world.app).await > 3);
    sweep(&world.app, world.app.clock.now()).await.unwrap();
    assert_eq!(rows(&world.app).await, 0);
}
on_both_databases!(exact, super::fifty_at_once_over_two_processes_are_five);

async fn attempts_that_cross_wait_for_nobody_who_waits_for_them(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    // Every address with every login, in all orders, at both: a cycle of two who wait would be a failure of one.
    let attempts: Vec<_> = (0..400)
        .map(|i| {
            let (world, app) = (Arc::clone(&world), Arc::clone(if i % 2 == 0 { &world.app } else { &other }));
            let (login, address) = (format!("l{}", i * 7 % 20), format!("192.0.2.{}", i * 11 % 20));
            tokio::spawn(async move {
                let _ = log_in(&app, &login, &world.merchant.id, &address, Outcome::Right).await;
            })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap();
    }
    // All that was right has come back.
    for _ in 0..5 {
        assert!(try_login(&other, "l0", &world.merchant.id, "192.0.2.99").await.is_ok());
    }
}
on_both_databases!(crossing, super::attempts_that_cross_wait_for_nobody_who_waits_for_them);

async fn a_flood_at_once_on_many_logins_leaves_few_rows(db: Db) {
    let world = Arc::new(World::new(db).await);
    let before = rows(&world.app).await;
    let attempts: Vec<_> = (0..400)
        .map(|i| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                try_login(&world.app, &format!("l{i}"), &world.merchant.id, "192.0.2.1").await.is_ok()
            })
        })
        .collect();
    let mut admitted = 0;
    for attempt in attempts {
        admitted += usize::from(attempt.await.unwrap());
    }
    assert_eq!(admitted, 30);
    // Those that were let, and at most those of one commit more.
    assert!(rows(&world.app).await <= before + 30 + 32 + 2);
}
on_both_databases!(flooded, super::a_flood_at_once_on_many_logins_leaves_few_rows);

async fn what_is_right_comes_back_and_what_is_refused_costs_nothing(db: Db) {
    let world = World::new(db).await;
    let (app, merchant) = (&world.app, &world.merchant.id);
    for _ in 0..20 {
        log_in(app, "alice", merchant, "192.0.2.1", Outcome::Right).await.unwrap();
    }
    for _ in 0..5 {
        try_login(app, "alice", merchant, "192.0.2.1").await.unwrap();
    }
    // The login refuses; the address keeps its other twenty-five of thirty.
    for _ in 0..40 {
        assert!(try_login(app, "alice", merchant, "192.0.2.1").await.is_err());
    }
    let mut admitted = 0;
    for number in 0..40 {
        let login = format!("stranger-{number}");
        admitted += usize::from(try_login(app, &login, merchant, "192.0.2.1").await.is_ok());
    }
    assert_eq!(admitted, 25);
    // What names no merchant has no bucket: an address and a login, and nothing that anybody could fill.
    let before = rows(app).await;
    let nobody = MerchantId::parse("nobody").unwrap();
    try_login(app, "carol", &nobody, "192.0.2.9").await.unwrap();
    assert_eq!(rows(app).await, before + 2);
}
on_both_databases!(returned, super::what_is_right_comes_back_and_what_is_refused_costs_nothing);

async fn an_edge_has_counted_already(db: Db) {
    let world = World::new(db).await;
    let caller = Caller { edge: Some(EdgeId::parse("e1").unwrap()), ..from("192.0.2.1") };
    for _ in 0..100 {
        let mut attempt = Attempt::begin(&world.app, Aim::Nothing, &caller).await.unwrap();
        attempt.take(&world.app).await.unwrap();
        attempt.end(&world.app, Outcome::Wrong).await.unwrap();
    }
    assert_eq!(rows(&world.app).await, 0);
}
on_both_databases!(by_edge, super::an_edge_has_counted_already);

async fn many_logins_of_a_merchant_make_addresses_tight(db: Db) {
    let world = World::new(db).await;
    let (app, merchant) = (&world.app, &world.merchant.id);
    let other = world.another_process().await;
    // Ten addresses use up what the merchant has: ten times thirty.
    for address in 0..10 {
        for number in 0..30 {
            let login = format!("l{address}-{number}");
            try_login(app, &login, merchant, &format!("198.51.100.{address}")).await.unwrap();
        }
    }
    for process in [app, &other] {
        let address = if Arc::ptr_eq(process, app) { "203.0.113.1" } else { "203.0.113.2" };
        let mut admitted = 0;
        for number in 0..30 {
            let login = format!("{address}-{number}");
            admitted += usize::from(try_login(process, &login, merchant, address).await.is_ok());
        }
        assert_eq!(admitted, 3, "{address}");
    }
}
on_both_databases!(sprayed, super::many_logins_of_a_merchant_make_addresses_tight);

async fn refusals_stand_in_the_audit_one_entry_for_each_bucket(db: Db) {
    let world = World::new(db).await;
    let (app, merchant) = (&world.app, &world.merchant.id);
    for _ in 0..25 {
        let _ = try_login(app, "alice", merchant, "192.0.2.1").await;
    }
    let entries = async || {
        let filter = Filter { act: Some("issuer.limited".to_owned()), ..Filter::default() };
        let found = find_entries(&mut app.db.read().await.unwrap(), &filter, 200).await.unwrap();
        found.into_iter().map(|entry| (entry.reason.unwrap(), entry.subject.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(entries().await, [], "a flood costs no rows");
    write_refusals(app).await.unwrap();
    let written = entries().await;
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].0, "account");
    assert!(written[0].1.starts_with("bucket:") && written[0].1.ends_with(" count:20"), "{written:?}");
    assert!(!written[0].1.contains("alice"));
    write_refusals(app).await.unwrap();
    assert_eq!(entries().await, written, "nothing is written twice");
    // A flood on many logins from one address: its bucket, and those of the logins that refused.
    for number in 0..300 {
        let _ = try_login(app, &format!("l{number}"), merchant, "192.0.2.7").await;
    }
    write_refusals(app).await.unwrap();
    let added: Vec<_> = entries().await.into_iter().filter(|entry| !written.contains(entry)).collect();
    assert_eq!(added.len(), 1, "{added:?}");
    assert!(added[0].0 == "address" && added[0].1.ends_with(" count:270"), "{added:?}");
}
on_both_databases!(audited, super::refusals_stand_in_the_audit_one_entry_for_each_bucket);

async fn a_key_is_drawn_with_its_entry(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    let entries = async || {
        let filter = Filter { act: Some("test.settled".to_owned()), ..Filter::default() };
        find_entries(&mut world.app.db.read().await.unwrap(), &filter, 200).await.unwrap().len()
    };
    let at_once = async |outcome: Outcome| {
        let attempts: Vec<_> = (0..50)
            .map(|i| {
                let app = Arc::clone(if i % 2 == 0 { &world.app } else { &other });
                tokio::spawn(async move {
                    let caller = from("192.0.2.1");
                    let mut attempt = Attempt::begin(&app, Aim::Key("k"), &caller).await?;
                    attempt.settle(&app, outcome, Entry::done("test.settled")).await?;
                    attempt.end(&app, outcome).await
                })
            })
            .collect();
        let mut admitted = 0;
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(()) => admitted += 1,
                Err(refused) => assert!(matches!(refused, Failure::TooManyAttempts { .. }), "{refused}"),
            }
        }
        admitted
    };
    // Ten times as many as may be wrong, whatever their outcome; none hinders the others while it is under way.
    assert_eq!(at_once(Outcome::Right).await, 50);
    assert_eq!(entries().await, 50);
    assert_eq!(at_once(Outcome::Right).await, 0);
    world.pass_s(3_000);
    assert_eq!(at_once(Outcome::Wrong).await, 5);
    assert_eq!(at_once(Outcome::Right).await, 0, "whoever is right is told no more than who is wrong");
    assert_eq!(entries().await, 55, "what is refused has no entry");
}
on_both_databases!(settled, super::a_key_is_drawn_with_its_entry);
