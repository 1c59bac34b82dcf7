//! Resets over time and over processes, on both databases.

use super::confirm_reset::confirm_reset;
use super::{IssuedReset, Starter, cancel_reset, find_reset, start_reset_in};
use crate::accounts::{
    Account, AccountSettings, MAX_FAILURES, NewAccount, add_failure, create_account, find_account,
    find_by_login,
};
use crate::admin::{
    disable_account, disable_merchant, enable_account, enable_merchant, end_account_sessions, erase_account,
};
use crate::app::App;
use crate::audit::{Filter, find_entries};
use crate::devices::forget_account_devices;
use crate::factors::change_password;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{NewKey, create_key, revoke_key};
use crate::permissions::{AccountRights, Giver, change_rights};
use crate::storage::Db;
use crate::storage::testing::{dump, on_both_databases};
use crate::sweeper::sweep;
use crate::testing::{PASSWORD, World};
use margrave_shared::account_reset::ResetReason;
use margrave_shared::error::ErrorCode;
use margrave_shared::id::AccountId;
use margrave_shared::login::Login;
use margrave_shared::permission::parse_scope;
use margrave_shared::secret::SecretText;
use margrave_shared::token::opaque::reset_token;
use serde_json::json;
use std::sync::Arc;

const DAY_S: i64 = 86_400;
const NEW: &str = "another horse, another battery";

async fn alice(world: &World) -> Account {
    let found = find_by_login(&mut world.app.db.read().await.unwrap(), &Login::parse("alice")).await;
    found.unwrap().unwrap()
}

async fn start_as(
    app: &App,
    account: &Account,
    actor: &str,
    scope: &str,
) -> Result<IssuedReset, &'static str> {
    let scope = parse_scope(scope).unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let reason = ResetReason::ForgottenPassword;
    // The token that a person acts by is of their present generation.
    let generation = match actor.strip_prefix("account:").map(AccountId::parse) {
        Some(Ok(id)) => find_account(&mut tx, &id).await.unwrap().map(|account| account.generation),
        _ => None,
    };
    let by = Starter { actor, scope: &scope, generation };
    match start_reset_in(app, &mut tx, &account.id, reason, by, &Caller::operator()).await {
        Ok(issued) => {
            tx.commit().await.unwrap();
            Ok(issued)
        }
        Err(Failure::Denied(denial)) => Err(denial.reason),
        Err(other) => panic!("{other}"),
    }
}

async fn start(world: &World) -> IssuedReset {
    start_as(&world.app, &alice(world).await, "operator", "admin:* platform:*").await.unwrap()
}

async fn confirm(app: &App, token: &SecretText, password: &str) -> Result<(), (ErrorCode, &'static str)> {
    let password = SecretText::new(password.to_owned());
    match confirm_reset(app, token, &password, &Caller::default()).await {
        Ok(_) => Ok(()),
        Err(Failure::Denied(denial)) => Err((denial.code, denial.reason)),
        Err(other) => panic!("{other}"),
    }
}

fn refused(reason: &'static str) -> Result<(), (ErrorCode, &'static str)> {
    Err((ErrorCode::AuthenticationFailed, reason))
}

async fn a_password_is_set_once_and_not_before_its_time(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let tokens = world.log_in("alice").await.unwrap();
    let first = start(&world).await;
    let issued = start(&world).await;
    assert_eq!(confirm(app, &first.token, NEW).await, refused("unknown_reset"), "another took its place");
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("reset_too_early"));
    // Until it is used nothing of the account has changed.
    world.refresh(&tokens).await.unwrap();
    world.pass_s(DAY_S - 1);
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("reset_too_early"));
    world.pass_s(1);
    // Nor has anything when it may be used.
    let tokens = world.log_in("alice").await.unwrap();
    let made_up = reset_token([7; 32]);
    for text in ["", "mgr_", "\0", made_up.expose(), &issued.token.expose().replace("mgr_", "mgk_")] {
        let token = SecretText::new(text.to_owned());
        assert_eq!(confirm(app, &token, NEW).await, refused("unknown_reset"), "{text}");
    }
    assert_eq!(confirm(app, &issued.token, "short").await, Err((ErrorCode::InvalidPassword, "request")));
    confirm(app, &issued.token, NEW).await.unwrap();
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("unknown_reset"), "it works once");
    assert!(world.refresh(&tokens).await.is_err(), "every session has ended");
    assert!(world.log_in("alice").await.is_err(), "the old password is none");
    // The token itself is written down nowhere.
    assert!(!dump(&app.db).await.contains(&issued.token.expose()["mgr_".len()..]));
    let filter = Filter { act: Some("account.complete_reset".to_owned()), ..Filter::default() };
    let entries = find_entries(&mut app.db.read().await.unwrap(), &filter, 50).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.outcome == "done").count(), 1);
    assert_eq!(entries.iter().filter(|entry| entry.outcome == "refused").count(), 9);
}
on_both_databases!(once, super::a_password_is_set_once_and_not_before_its_time);

async fn of_fifty_at_once_over_two_processes_one_sets_it(db: Db) {
    let world = World::new(db).await;
    let processes = [Arc::clone(&world.app), world.another_process().await];
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    let tries: Vec<_> = (0..50)
        .map(|number| {
            let (app, token) = (Arc::clone(&processes[number % 2]), issued.token.clone());
            tokio::spawn(async move { confirm(&app, &token, &format!("{NEW} {number}")).await.is_ok() })
        })
        .collect();
    let mut set = 0;
    for one in tries {
        set += i32::from(one.await.unwrap());
    }
    assert_eq!(set, 1);
}
on_both_databases!(fifty, super::of_fifty_at_once_over_two_processes_one_sets_it);

async fn whatever_ends_a_reset_ends_its_token(db: Db) {
    let world = World::new(db).await;
    let (app, caller) = (&world.app, Caller::operator());
    let id = alice(&world).await.id;
    // Its owner, or an administrator, says no.
    let issued = start(&world).await;
    let own = format!("account:{id}");
    cancel_reset(app, &id, &own, &caller).await.unwrap();
    assert!(cancel_reset(app, &id, &own, &caller).await.is_err());
    world.pass_s(DAY_S);
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("unknown_reset"));
    // It is disabled, and enabled again.
    let issued = start(&world).await;
    disable_account(app, &id, "operator", &caller).await.unwrap();
    enable_account(app, &id, "operator", &caller).await.unwrap();
    world.pass_s(DAY_S);
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("unknown_reset"));
    // It waits too long.
    let issued = start(&world).await;
    world.pass_s(4 * DAY_S);
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("reset_expired"));
    sweep(app, app.clock.now().plus_seconds(2 * 3600)).await.unwrap();
    assert!(find_reset(&mut app.db.read().await.unwrap(), &id).await.unwrap().is_none());
    // Its owner changes the password.
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    let (current, new) = (SecretText::new(PASSWORD.to_owned()), SecretText::new(NEW.to_owned()));
    change_password(app, &alice(&world).await, &current, &new, &caller).await.unwrap();
    assert_eq!(confirm(app, &issued.token, PASSWORD).await, refused("unknown_reset"));
    // Its merchant is disabled.
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    disable_merchant(app, &world.merchant.id, "operator", &caller).await.unwrap();
    assert_eq!(confirm(app, &issued.token, PASSWORD).await, refused("disabled_merchant"));
    enable_merchant(app, &world.merchant.id, "operator", &caller).await.unwrap();
    assert_eq!(confirm(app, &issued.token, PASSWORD).await, refused("unknown_reset"));
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    // It is erased.
    erase_account(app, &id, "operator", &caller).await.unwrap();
    assert_eq!(confirm(app, &issued.token, PASSWORD).await, refused("unknown_reset"));
    assert!(find_reset(&mut app.db.read().await.unwrap(), &id).await.unwrap().is_none());
    let gone = find_account(&mut app.db.read().await.unwrap(), &id).await.unwrap().unwrap();
    assert_eq!(start_as(app, &gone, "operator", "admin:*").await.err(), Some("unknown_account"));
}
on_both_databases!(endings, super::whatever_ends_a_reset_ends_its_token);

async fn nobody_gets_by_a_reset_what_they_could_not_give(db: Db) {
    let world = World::new(db).await;
    let (app, caller) = (&world.app, Caller::operator());
    let before = alice(&world).await;
    let own = format!("account:{}", before.id);
    assert_eq!(start_as(app, &before, &own, "admin:*").await.err(), Some("resets_themselves"));
    let issued = start_as(app, &before, "operator", "admin:write").await.unwrap();
    // After it was started the account is made an administrator of more.
    let all = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    let settings: AccountSettings = serde_json::from_value(json!({ "permissions": ["admin:*"] })).unwrap();
    let rights = AccountRights { roles: [].into(), settings };
    let alice = change_rights(app, &before.id, &rights, before.version, giver, &caller).await.unwrap();
    world.pass_s(DAY_S);
    assert_eq!(confirm(app, &issued.token, NEW).await, refused("beyond_the_starter"));
    let more = "resets_more_than_they_hold";
    assert_eq!(start_as(app, &alice, "operator", "admin:write").await.err(), Some(more));
    assert_eq!(
        start_as(app, &alice, "operator", "admin:write account:factors:reset").await.err(),
        Some(more)
    );

    // Of a key that is revoked or has expired no reset counts.
    let permissions = parse_scope("admin:* account:factors:reset").unwrap();
    for is_revoked in [true, false] {
        let expires_at = (!is_revoked).then(|| app.clock.now().plus_seconds(DAY_S));
        let new = NewKey { permissions: permissions.clone(), expires_at };
        let key = create_key(app, &world.merchant.id, &new, "operator", &caller).await.unwrap().key_id;
        let by_key = start_as(app, &alice, &format!("key:{key}"), "admin:*").await.unwrap();
        world.pass_s(DAY_S);
        if is_revoked {
            revoke_key(app, &world.merchant.id, &key, "operator", &caller).await.unwrap();
        }
        assert_eq!(confirm(app, &by_key.token, NEW).await, refused("starter_is_gone"), "{is_revoked}");
    }
    // Nor of a person without the right, or of whom something was ended since: rights taken away, a password changed by its owner, all
    // sessions ended because somebody else had the token.
    let new = NewAccount { username: "bob".to_owned(), password: None };
    let bob = create_account(app, &world.merchant.id, new, "operator", &caller).await.unwrap();
    let by = format!("account:{}", bob.id);
    let by_bob = start_as(app, &alice, &by, "admin:*").await.unwrap();
    world.pass_s(DAY_S);
    assert_eq!(confirm(app, &by_bob.token, NEW).await, refused("starter_is_gone"), "he holds no such right");
    let settings = json!({ "permissions": ["account:factors:reset", "admin:*"] });
    let rights = AccountRights { roles: [].into(), settings: serde_json::from_value(settings).unwrap() };
    let all = parse_scope("admin:* platform:*").unwrap();
    let giver = Giver { scope: &all, ..giver };
    let mut bob = change_rights(app, &bob.id, &rights, bob.version, giver, &caller).await.unwrap();
    for what in ["nothing", "sessions", "rights", "disabled"] {
        let by_bob = start_as(app, &alice, &by, "admin:*").await.unwrap();
        match what {
            "sessions" => end_account_sessions(app, &bob.id, "operator", &caller).await.unwrap(),
            "rights" => {
                let settings = json!({ "permissions": ["account:factors:reset"] });
                let settings = serde_json::from_value(settings).unwrap();
                let fewer = AccountRights { roles: [].into(), settings };
                bob = change_rights(app, &bob.id, &fewer, bob.version, giver, &caller).await.unwrap();
                bob = change_rights(app, &bob.id, &rights, bob.version, giver, &caller).await.unwrap();
            }
            "disabled" => {
                disable_account(app, &bob.id, "operator", &caller).await.unwrap();
                enable_account(app, &bob.id, "operator", &caller).await.unwrap();
            }
            _ => {}
        }
        world.pass_s(DAY_S);
        let expected = if what == "nothing" { Ok(()) } else { refused("starter_is_gone") };
        assert_eq!(confirm(app, &by_bob.token, NEW).await, expected, "{what}");
    }
}
on_both_databases!(escalation, super::nobody_gets_by_a_reset_what_they_could_not_give);

async fn who_knows_the_old_password_is_kept_out_while_the_owner_waits(db: Db) {
    let world = World::new(db).await;
    let (app, caller) = (&world.app, Caller::operator());
    let before = alice(&world).await;
    disable_account(app, &before.id, "operator", &caller).await.unwrap();
    let issued = start(&world).await;
    assert!(world.log_in("alice").await.is_err());
    world.pass_s(DAY_S);
    // Too many wrong passwords have closed it as well.
    let mut tx = app.db.begin().await.unwrap();
    for _ in 0..100 {
        add_failure(&mut tx, &before.id, MAX_FAILURES).await.unwrap();
    }
    tx.commit().await.unwrap();
    // The password that all tests log in with: here it is the new one.
    confirm(app, &issued.token, NEW).await.unwrap();
    assert!(alice(&world).await.disabled_at.is_some(), "it stays disabled");
    enable_account(app, &before.id, "operator", &caller).await.unwrap();
    assert!(world.log_in("alice").await.is_err(), "the old password is none");
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    confirm(app, &issued.token, PASSWORD).await.unwrap();
    world.log_in("alice").await.unwrap();
    let after = alice(&world).await;
    assert!(after.device_generation > before.device_generation, "no device is known any more");
    // Whoever never had a password gets the first one so.
    let new = NewAccount { username: "bob".to_owned(), password: None };
    let bob = create_account(app, &world.merchant.id, new, "operator", &caller).await.unwrap();
    let issued = start_as(app, &bob, "operator", "admin:*").await.unwrap();
    world.pass_s(DAY_S);
    confirm(app, &issued.token, PASSWORD).await.unwrap();
    world.log_in("bob").await.unwrap();
    // What was started, replaced and called off stands in the audit, with who and why.
    start(&world).await;
    start(&world).await;
    cancel_reset(app, &after.id, "key:k", &caller).await.unwrap();
    let filter = Filter { subject: Some(format!("account:{}", after.id)), ..Filter::default() };
    let entries = find_entries(&mut app.db.read().await.unwrap(), &filter, 100).await.unwrap();
    let of = |act: &str| -> Vec<_> {
        let entries = entries.iter().filter(|entry| entry.act == act);
        entries.map(|entry| (entry.actor.clone().unwrap(), entry.reason.clone().unwrap())).collect()
    };
    let pair = |actor: &str, reason: &str| (actor.to_owned(), reason.to_owned());
    assert_eq!(of("account.start_reset"), vec![pair("operator", "forgotten_password"); 4]);
    let mut ended = of("account.cancel_reset");
    ended.sort();
    assert_eq!(ended, [pair("key:k", "asked"), pair("operator", "replaced")]);
}
on_both_databases!(kept_out, super::who_knows_the_old_password_is_kept_out_while_the_owner_waits);

/// Whatever concerns an account and its reset, at once and over two processes: nothing waits in a circle, and nothing fails but as it may.
async fn whatever_concerns_a_reset_may_come_at_once(db: Db) {
    let world = World::new(db).await;
    let processes = [Arc::clone(&world.app), world.another_process().await];
    let account = alice(&world).await;
    for round in 0..3 {
        for _ in 0..3 {
            world.log_in("alice").await.unwrap();
        }
        let issued = start(&world).await;
        world.pass_s(DAY_S);
        let acts: Vec<_> = (0..48)
            .map(|number| {
                let (app, token, account) =
                    (Arc::clone(&processes[number % 2]), issued.token.clone(), account.clone());
                tokio::spawn(async move {
                    let (caller, id) = (Caller::operator(), &account.id);
                    let (old, new) = (SecretText::new(PASSWORD.to_owned()), SecretText::new(NEW.to_owned()));
                    let done = match number % 8 {
                        0 => confirm_reset(&app, &token, &old, &caller).await.map(|_| ()),
                        1 => start_as(&app, &account, "operator", "admin:*")
                            .await
                            .map(|_| ())
                            .map_err(|_| Failure::Overloaded),
                        2 => cancel_reset(&app, id, "operator", &caller).await,
                        3 => change_password(&app, &account, &old, &new, &caller).await.map(|_| ()),
                        4 => disable_account(&app, id, "operator", &caller).await,
                        5 => enable_account(&app, id, "operator", &caller).await,
                        6 => forget_account_devices(&app, id, "operator", &caller).await.map(|_| ()),
                        _ => sweep(&app, app.clock.now().plus_seconds(40 * DAY_S))
                            .await
                            .map(|_| ())
                            .map_err(Into::into),
                    };
                    match done {
                        Ok(()) | Err(Failure::Denied(_)) => {}
                        Err(failure) => panic!("act {number}: {failure}"),
                    }
                })
            })
            .collect();
        for act in acts {
            act.await.unwrap();
        }
        // However it came out, the account is whole: it is opened, and gets a password by a new link.
        let _ = enable_account(&world.app, &account.id, "operator", &Caller::operator()).await;
        let issued = start(&world).await;
        world.pass_s(DAY_S);
        confirm(&world.app, &issued.token, PASSWORD).await.unwrap_or_else(|why| panic!("{round}: {why:?}"));
    }
    let issued = start(&world).await;
    world.pass_s(DAY_S);
    let app = Arc::clone(&processes[1]);
    let id = account.id.clone();
    let erasing =
        tokio::spawn(async move { erase_account(&app, &id, "operator", &Caller::operator()).await });
    let swept = sweep(&world.app, world.app.clock.now().plus_seconds(40 * DAY_S)).await;
    let confirmed = confirm(&world.app, &issued.token, NEW).await;
    erasing.await.unwrap().unwrap();
    swept.unwrap();
    assert!(confirmed.is_ok() || confirmed == refused("unknown_reset"), "{confirmed:?}");
}
on_both_databases!(at_once, super::whatever_concerns_a_reset_may_come_at_once);
