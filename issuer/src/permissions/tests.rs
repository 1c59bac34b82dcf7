//! What roles give and whose tokens end, on both databases.

use super::store::Lock;
use super::{
    AccountRights, Giver, change_rights, change_role, create_role, delete_role, find_held, find_role, store,
};
use crate::accounts::{AccountSettings, find_by_login, update_settings};
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::storage::testing::{on_both_databases, prepare_all};
use crate::testing::World;
use margrave_shared::error::ErrorCode;
use margrave_shared::login::Login;
use margrave_shared::permission::{parse_scope, print_scope};
use margrave_shared::role::RoleName;
use margrave_shared::session::SessionPolicy;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

fn code<T>(result: Result<T, Failure>) -> Result<T, ErrorCode> {
    result.map_err(|failure| match failure {
        Failure::Denied(denial) => denial.code,
        other => panic!("{other}"),
    })
}

async fn rights_follow_roles_and_their_loss_ends_tokens(db: crate::storage::Db) {
    prepare_all(&db, store::ALL).await;
    let world = World::new(db).await;
    let (app, merchant, caller) = (&world.app, &world.merchant.id, Caller::operator());
    let scope = parse_scope("admin:read admin:write").unwrap();
    let giver = Giver { actor: "key:k", scope: &scope, of_platform: false };
    let name = RoleName::parse("support").unwrap();
    let make = async |permissions: &str| {
        let mut tx = app.db.begin().await.unwrap();
        let permissions = parse_scope(permissions).unwrap();
        let made = code(create_role(app, &mut tx, merchant, name.clone(), permissions, giver, &caller).await);
        if made.is_ok() {
            tx.commit().await.unwrap();
        }
        made.map(|_| ())
    };
    // Nobody gives what they do not hold, nor what belongs to the platform.
    assert_eq!(make("admin:*").await, Err(ErrorCode::InsufficientPermission));
    assert_eq!(make("platform:read").await, Err(ErrorCode::InvalidField));
    assert_eq!(make("orders:read admin:read").await, Ok(()));
    assert_eq!(make("read").await, Err(ErrorCode::Conflict));

    let alice = async || {
        let mut tx = app.db.read().await.unwrap();
        let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
        let held = print_scope(&find_held(&mut tx, &alice).await.unwrap());
        (alice, held)
    };
    let (before, held) = alice().await;
    assert_eq!((before.version, held.as_str()), (0, ""));
    let give = async |roles: &[&str], permissions: &str, version: i64| {
        let rights = AccountRights {
            roles: roles.iter().map(|role| RoleName::parse(role).unwrap()).collect(),
            settings: AccountSettings {
                permissions: parse_scope(permissions).unwrap(),
                ..AccountSettings::default()
            },
        };
        code(change_rights(app, &before.id, &rights, version, giver, &caller).await)
    };
    assert_eq!(give(&["nobody"], "", 0).await.unwrap_err(), ErrorCode::InvalidField);
    assert_eq!(give(&[], "admin:*", 0).await.unwrap_err(), ErrorCode::InsufficientPermission);
    assert_eq!(give(&["support"], "", 7).await.unwrap_err(), ErrorCode::PreconditionFailed);
    let after = give(&["support"], "reports:read", 0).await.unwrap();
    assert_eq!((after.version, after.generation), (1, before.generation + 1));
    let (account, held) = alice().await;
    assert_eq!(held, "admin:read orders:read reports:read");
    // The same again ends nothing, nor does what is no right.
    assert_eq!(give(&["support"], "reports:read", 1).await.unwrap().generation, account.generation);
    let rights = AccountRights {
        roles: [name.clone()].into(),
        settings: AccountSettings {
            permissions: parse_scope("reports:read").unwrap(),
            session: Some(SessionPolicy { idle_s: 60, absolute_s: 600 }),
            single_session: Some(true),
        },
    };
    let changed = change_rights(app, &account.id, &rights, 2, giver, &caller).await.unwrap();
    assert_eq!(changed.generation, account.generation);
    assert_eq!(changed.settings.session.unwrap().idle_s, 60);
    let bad = AccountRights {
        settings: AccountSettings {
            session: Some(SessionPolicy { idle_s: -1, absolute_s: 0 }),
            ..AccountSettings::default()
        },
        roles: [].into(),
    };
    assert_eq!(
        code(change_rights(app, &account.id, &bad, 3, giver, &caller).await).unwrap_err(),
        ErrorCode::InvalidField
    );

    let mut tx = app.db.read().await.unwrap();
    let base = find_role(&mut tx, merchant, &name).await.unwrap().unwrap().version;
    drop(tx);
    // A role that grows ends nothing, one that shrinks does, and so does one that goes.
    let set = async |permissions: &str, version: i64| {
        let permissions = parse_scope(permissions).unwrap();
        code(change_role(app, merchant, &name, permissions, base + version, giver, &caller).await).map(|_| ())
    };
    assert_eq!(set("orders:read admin:read orders:ship", 0).await, Ok(()));
    assert_eq!(set("orders:read", 0).await, Err(ErrorCode::PreconditionFailed));
    assert_eq!(alice().await.0.generation, account.generation);
    assert_eq!(set("orders:ship", 1).await, Ok(()));
    assert_eq!(alice().await.0.generation, account.generation + 1);
    assert_eq!(set("orders:ship admin:*", 2).await, Err(ErrorCode::InsufficientPermission));
    assert_eq!(
        code(delete_role(app, merchant, &name, base, "key:k", &caller).await),
        Err(ErrorCode::PreconditionFailed)
    );
    assert_eq!(code(delete_role(app, merchant, &name, base + 2, "key:k", &caller).await), Ok(()));
    let (last, held) = alice().await;
    assert_eq!((last.generation, held.as_str()), (account.generation + 2, "reports:read"));
    assert_eq!(
        code(delete_role(app, merchant, &name, base + 2, "key:k", &caller).await),
        Err(ErrorCode::NotFound)
    );
}
on_both_databases!(rights, super::rights_follow_roles_and_their_loss_ends_tokens);

/// Giving a role and narrowing it never pass each other: otherwise somebody could be given what is being taken away, log in with it, and
/// not be among those whose tokens end.
async fn who_gives_a_role_and_who_changes_it_wait_for_each_other(db: crate::storage::Db) {
    let world = Arc::new(World::new(db).await);
    let (app, merchant, caller) = (&world.app, &world.merchant.id, Caller::operator());
    let scope = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &scope, of_platform: false };
    let name = RoleName::parse("clerk").unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let wide = parse_scope("orders:ship orders:read").unwrap();
    let role = create_role(app, &mut tx, merchant, name.clone(), wide, giver, &caller).await.unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let rights = AccountRights { roles: [name.clone()].into(), settings: AccountSettings::default() };
    let give = change_rights(app, &alice.id, &rights, 0, giver, &caller);
    let narrow = parse_scope("orders:read").unwrap();
    let change = change_role(app, merchant, &name, narrow, role.version, giver, &caller);
    for (lock, waiting) in [
        (Lock::Alone, Box::pin(async { give.await.map(|_| ()) }) as Pin<Box<dyn Future<Output = _>>>),
        (Lock::Share, Box::pin(async { change.await.map(|_| ()) })),
    ] {
        let mut waiting = waiting;
        let mut tx = app.db.begin().await.unwrap();
        store::lock_roles(&mut tx, merchant, std::iter::once(&name), lock).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "{lock:?}: it does not wait");
        drop(tx);
        waiting.await.unwrap();
    }
    let mut tx = app.db.read().await.unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    assert_eq!(alice.generation, 2, "the role was given, and then became less");
}
on_both_databases!(passing, super::who_gives_a_role_and_who_changes_it_wait_for_each_other);

async fn a_guessed_version_keeps_no_right_that_is_being_taken_away(db: crate::storage::Db) {
    let world = World::new(db).await;
    let (app, caller) = (Arc::clone(&world.app), Caller::operator());
    let mut tx = app.db.begin().await.unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    let settings = |permissions: &str| AccountSettings {
        permissions: parse_scope(permissions).unwrap(),
        ..AccountSettings::default()
    };
    assert!(update_settings(&mut tx, &alice.id, &settings("pii:read"), 0).await.unwrap());
    tx.commit().await.unwrap();

    let name = RoleName::parse("support").unwrap();
    let all = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    let mut tx = app.db.begin().await.unwrap();
    let merchant = &world.merchant.id;
    create_role(&app, &mut tx, merchant, name.clone(), [].into(), giver, &caller).await.unwrap();
    tx.commit().await.unwrap();

    // It is being taken away, and somebody who could not give it says what is to stay, of the version that will be. They hold themselves
    // up, by a role that is held, after they have read what there was.
    let mut taking = app.db.begin().await.unwrap();
    store::lock_roles(&mut taking, merchant, std::iter::once(&name), Lock::Alone).await.unwrap();
    assert!(update_settings(&mut taking, &alice.id, &settings(""), 1).await.unwrap());
    let (other, id) = (Arc::clone(&app), alice.id.clone());
    let kept = AccountRights { roles: [name].into(), settings: settings("pii:read") };
    let keeping = tokio::spawn(async move {
        let scope = parse_scope("admin:*").unwrap();
        let giver = Giver { actor: "key:k", scope: &scope, of_platform: false };
        code(change_rights(&other, &id, &kept, 2, giver, &caller).await).map(|_| ())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    taking.commit().await.unwrap();
    keeping.await.unwrap().unwrap_err();
    let mut tx = app.db.read().await.unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    assert_eq!(find_held(&mut tx, &alice).await.unwrap(), [].into());
}
on_both_databases!(guessed, super::a_guessed_version_keeps_no_right_that_is_being_taken_away);
