//! The master key is changed while issuers go on, on both databases.

use super::{MasterKeys, Rewrapped, Rotated, find_root, list, opening_key, rotate, rotate_master_key};
use crate::app::App;
use crate::audit::{seal_some, verify_chain};
use crate::clock::Clock;
use crate::config::{Config, PasswordConfig};
use crate::http::context::Caller;
use crate::storage::Db;
use crate::storage::testing::{dump, on_both_databases};
use crate::testing::World;
use crate::tokens::check_presented;
use margrave_shared::jwk::schedule::{KeyState, Rotation};
use margrave_shared::secret::SecretKey;
use std::sync::Arc;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

async fn start(db: &Db, masters: MasterKeys) -> bool {
    let config = Config {
        public_url: "https://issuer.test".to_owned(),
        password: PasswordConfig { memory_kib: 8, iterations: 1, ..PasswordConfig::default() },
        ..Config::default()
    };
    App::build(&config, &masters, db.clone(), Clock::System).await.is_ok()
}

async fn who_changes_the_master_key_stops_nobody(db: Db) {
    let world = World::new(db).await;
    let (app, db, caller) = (&world.app, &world.app.db, Caller::operator());
    let before = world.log_in("alice").await.unwrap();
    let (old, next) = (key(5), key(6));
    let both = MasterKeys { current: old.clone(), next: Some(next.clone()) };
    assert!(start(db, both.clone()).await);
    assert!(!start(db, next.clone().into()).await, "it is not the key yet");
    assert_eq!(opening_key(&mut db.glance().await.unwrap(), &both).await.unwrap().bytes(), old.bytes());
    assert!(rotate_master_key(app, &old.clone().into(), &caller).await.is_err(), "there is no next one");
    assert_eq!(rotate_master_key(app, &both, &caller).await.unwrap(), Rewrapped::Done);
    assert_eq!(rotate_master_key(app, &both, &caller).await.unwrap(), Rewrapped::Already);
    assert_eq!(
        opening_key(&mut db.glance().await.unwrap(), &both).await.unwrap().bytes(),
        next.bytes(),
        "a backup is made with it from now on"
    );
    // Who runs goes on, whoever starts with both or with the next one, and nobody with the old one.
    assert!(world.refresh(&before).await.is_ok());
    assert!(start(db, both).await && start(db, next.clone().into()).await);
    assert!(!start(db, old.clone().into()).await);
    assert!(find_root(db, &old.into()).await.is_err());
    let root = find_root(db, &next.into()).await.unwrap().unwrap();
    // The chain goes on as it was, and the root key itself is nowhere in the clear.
    seal_some(app).await.unwrap();
    assert_eq!(verify_chain(app, None).await.unwrap().found, 0);
    assert!(!dump(db).await.contains(root.to_text().expose()));
}
on_both_databases!(master, super::who_changes_the_master_key_stops_nobody);

async fn a_database_of_before_keeps_its_keys(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    // As it was before there was a root key: everything comes from the master key itself.
    let made = find_root(&app.db, &key(5).into()).await.unwrap().unwrap();
    assert_ne!(made.bytes(), key(5).bytes());
    let mut tx = app.db.begin().await.unwrap();
    crate::storage::on_tx!(&mut tx, c => sqlx::query("DELETE FROM root_key").execute(c).await.map(|_| ()))
        .unwrap();
    tx.commit().await.unwrap();
    // With a wrong key nothing is done that the right one could not take back.
    assert!(!start(&app.db, key(9).into()).await);
    assert!(find_root(&app.db, &key(9).into()).await.is_err());
    // Its signing keys were sealed with the key that is the master key here.
    assert_eq!(find_root(&app.db, &made.clone().into()).await.unwrap().unwrap().bytes(), made.bytes());
    assert!(start(&app.db, made.clone().into()).await);
    assert_eq!(find_root(&app.db, &made.clone().into()).await.unwrap().unwrap().bytes(), made.bytes());
    let before = world.log_in("alice").await.unwrap();
    assert!(world.refresh(&before).await.is_ok());
}
on_both_databases!(upgrade, super::a_database_of_before_keeps_its_keys);

async fn a_root_key_that_is_taken_away_is_not_made_anew(db: Db) {
    let world = World::new(db).await;
    seal_some(&world.app).await.unwrap();
    // With it all that says what the audit was: rows could be changed and sealed as if they were new.
    for sql in [
        "DELETE FROM root_key",
        "DELETE FROM signing_keys",
        "DELETE FROM audit_head",
        "UPDATE audit SET seq = NULL, hash = NULL",
    ] {
        let mut tx = world.app.db.begin().await.unwrap();
        crate::storage::on_tx!(&mut tx, c => sqlx::query(sql).execute(c).await.map(|_| ())).unwrap();
        tx.commit().await.unwrap();
    }
    assert!(!start(&world.app.db, key(5).into()).await);
    assert!(find_root(&world.app.db, &key(5).into()).await.unwrap().is_none());
}
on_both_databases!(taken, super::a_root_key_that_is_taken_away_is_not_made_anew);

async fn of_many_that_rotate_at_once_one_does_and_every_process_knows(db: Db) {
    let world = World::new(db).await;
    let processes = [Arc::clone(&world.app), world.another_process().await, world.another_process().await];
    let mut tokens = Vec::new();
    for round in 0..5 {
        tokens.push(world.log_in("alice").await.unwrap().access_token);
        // Until the standby has been published for long enough.
        world.pass_s(world.app.keys_config.publish_ahead_s + 1);
        let racers: Vec<_> = (0..12)
            .map(|number| {
                let app = Arc::clone(&processes[number % processes.len()]);
                tokio::spawn(
                    async move { rotate(&app, Rotation::Requested, "test", &Caller::operator()).await },
                )
            })
            .collect();
        let mut promoted = 0;
        for racer in racers {
            promoted += usize::from(racer.await.unwrap().unwrap() == Rotated::Promoted);
        }
        assert_eq!(promoted, 1, "round {round}");
        let keys = list(&world.app.db).await.unwrap();
        let of = |state| keys.iter().filter(|key| key.state == state).count();
        assert_eq!((of(KeyState::Active), of(KeyState::Standby)), (1, 1), "round {round}: {keys:?}");
        for app in &processes {
            app.keyring.reload(&app.db).await.unwrap();
            assert_eq!(app.keyring.signer().unwrap().kid(), processes[0].keyring.signer().unwrap().kid());
        }
    }
    // What the first keys have signed counts as long as it lives, and nowhere longer.
    let newest = world.log_in("alice").await.unwrap().access_token;
    for app in &processes {
        let audience = std::slice::from_ref(&app.public_url);
        check_presented(app, &newest, audience).await.unwrap();
        check_presented(app, &tokens[0], audience).await.unwrap_err();
    }
}
on_both_databases!(rotation, super::of_many_that_rotate_at_once_one_does_and_every_process_knows);

async fn of_many_first_starts_all_come_to_one_root(db: Db) {
    crate::storage::migrate(&db).await.unwrap();
    let starts = (0..12).map(|_| start(&db, key(5).into()));
    let started = futures_util::future::join_all(starts).await;
    assert!(started.iter().all(|one| *one), "{started:?}");
    assert!(find_root(&db, &key(5).into()).await.unwrap().is_some());
}
on_both_databases!(first, super::of_many_first_starts_all_come_to_one_root);
