//! The token endpoint's rules over time, over processes, on both databases. They are one file since all are rules of one endpoint, told
//! with the same few helpers.

use super::{FACTORS_GRANT, TokenRequest, grant_alone};
use crate::accounts::{AccountSettings, find_account, find_by_login, raise_generation, update_settings};
use crate::admin::{disable_merchant, end_merchant_sessions};
use crate::app::App;
use crate::audit::{Filter, find_entries};
use crate::factors::verify_credentials;
use crate::failure::Failure;
use crate::http::context::Caller;
use crate::merchants::{MerchantSettings, NewMerchant, create_merchant, find_keys, find_merchant};
use crate::merchants::{NewKey, create_key};
use crate::permissions::{AccountRights, Giver, change_rights, create_role, delete_role};
use crate::revocations::store::find_head;
use crate::sessions::{find_accounts_in_session, find_by_account, find_session};
use crate::storage::testing::{block_writers, dump, on_both_databases, sqlite};
use crate::storage::{Db, on_tx};
use crate::sweeper::sweep;
use crate::testing::{PASSWORD, World};
use crate::tokens::{Standing, consume_standing_refresh, find_refresh};
use margrave_shared::basic::Basic;
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use margrave_shared::id::{AccountId, EdgeId, MerchantId, RequestId};
use margrave_shared::login::Login;
use margrave_shared::permission::parse_scope;
use margrave_shared::role::RoleName;
use margrave_shared::secret::{SecretText, secret_hash};
use margrave_shared::session::SessionPolicy;
use margrave_shared::token::opaque;
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::device::DeviceClaim;
use margrave_shared::wire::session_seen::SessionSeen;
use margrave_shared::wire::token::TokenResponse;
use std::sync::Arc;
use std::time::Duration;

async fn ask(app: &App, form: String, idempotency_key: Option<&str>) -> Result<TokenResponse, &'static str> {
    let form = Form::parse(form.as_bytes()).unwrap();
    let caller = Caller { idempotency_key: idempotency_key.map(str::to_owned), ..Caller::default() };
    match grant_alone(app, &TokenRequest { form: &form, basic: None, caller: &caller }).await {
        Ok(granted) => Ok(granted.answer),
        Err(Failure::Denied(denial)) => Err(denial.reason),
        Err(other) => panic!("{other}"),
    }
}

async fn password(world: &World, password: &str) -> Result<String, &'static str> {
    password_of(world, password, &Caller::default()).await
}

async fn password_of(world: &World, password: &str, caller: &Caller) -> Result<String, &'static str> {
    let request = CredentialsRequest {
        login: "ALICE".to_owned(),
        password: SecretText::new(password.to_owned()),
        merchant_id: world.merchant.id.clone(),
    };
    match verify_credentials(&world.app, &request, caller).await {
        Ok(answer) => Ok(answer.security_token),
        Err(Failure::Denied(denial)) => Err(denial.reason),
        Err(other) => panic!("{other}"),
    }
}

async fn log_in(world: &World) -> TokenResponse {
    let token = password(world, PASSWORD).await.unwrap();
    let form = format!("grant_type={FACTORS_GRANT}&client_id={}&security_tokens={token}", world.client);
    ask(&world.app, form, None).await.unwrap()
}

async fn refresh(
    world: &World,
    app: &App,
    token: &str,
    key: Option<&str>,
) -> Result<TokenResponse, &'static str> {
    ask(app, format!("grant_type=refresh_token&client_id={}&refresh_token={token}", world.client), key).await
}

fn refresh_token(answer: &TokenResponse) -> &str {
    answer.refresh_token.as_deref().unwrap()
}

async fn two_processes_fifty_refreshes(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    for round in 0..5 {
        let first = Arc::new(log_in(&world).await);
        let uses: Vec<_> = (0..50)
            .map(|i| {
                let (world, first) = (Arc::clone(&world), Arc::clone(&first));
                let app = if i % 2 == 0 { Arc::clone(&world.app) } else { Arc::clone(&other) };
                tokio::spawn(async move { refresh(&world, &app, refresh_token(&first), None).await })
            })
            .collect();
        let mut children = Vec::new();
        for running in uses {
            if let Ok(answer) = running.await.unwrap() {
                children.push(answer);
            }
        }
        assert_eq!(children.len(), 1, "round {round}");
        assert_eq!(refresh(&world, &other, refresh_token(&children[0]), None).await, Err("session_over"));
    }
}
on_both_databases!(two_processes, super::two_processes_fifty_refreshes);

async fn reuse_is_remembered_by_the_next_process(db: Db) {
    let world = World::new(db).await;
    let first = log_in(&world).await;
    let child = refresh(&world, &world.app, refresh_token(&first), None).await.unwrap();
    let restarted = world.another_process().await;
    assert_eq!(refresh(&world, &restarted, refresh_token(&first), None).await, Err("reuse"));
    assert_eq!(refresh(&world, &restarted, refresh_token(&child), None).await, Err("session_over"));
}
on_both_databases!(restart, super::reuse_is_remembered_by_the_next_process);

async fn an_honest_retry_gets_the_same_answer_for_ten_seconds(db: Db) {
    let world = World::new(db).await;
    let first = log_in(&world).await;
    let child = refresh(&world, &world.app, refresh_token(&first), Some("k")).await.unwrap();
    world.pass_s(10);
    assert_eq!(refresh(&world, &world.app, refresh_token(&first), Some("k")).await, Ok(child.clone()));
    world.pass_s(1);
    assert_eq!(refresh(&world, &world.app, refresh_token(&first), Some("k")).await, Err("reuse"));
    assert_eq!(refresh(&world, &world.app, refresh_token(&child), None).await, Err("session_over"));
}
on_both_databases!(retry, super::an_honest_retry_gets_the_same_answer_for_ten_seconds);

/// On SQLite transactions of many are committed together, and each reads what those before it have done.
#[tokio::test]
async fn an_answer_is_not_repeated_before_it_is_committed() {
    let world = Arc::new(World::new(sqlite().await).await);
    let first = log_in(&world).await;
    let hash = secret_hash(refresh_token(&first));
    let sid = find_refresh(&mut world.app.db.read().await.unwrap(), &hash).await.unwrap().unwrap().sid;
    world.pass_s(300);
    // Activity to be written down: then the token is judged within its transaction.
    let caller = Caller {
        edge: Some(world.make_edge("edge", &world.merchant.id).await),
        session_seen: Some(SessionSeen { sid, seen_at: world.app.clock.now() }),
        idempotency_key: Some("k".to_owned()),
        ..Caller::default()
    };
    let use_it = || {
        let (world, caller, token) = (Arc::clone(&world), caller.clone(), refresh_token(&first).to_owned());
        tokio::spawn(async move {
            let form = format!("grant_type=refresh_token&client_id={}&refresh_token={token}", world.client);
            let form = Form::parse(form.as_bytes()).unwrap();
            let request = TokenRequest { form: &form, basic: None, caller: &caller };
            grant_alone(&world.app, &request).await.map(|granted| granted.answer)
        })
    };
    // All of them queue behind this.
    let held = world.app.db.begin().await.unwrap();
    let queued = || tokio::time::sleep(Duration::from_millis(100));
    let winner = use_it();
    queued().await;
    let repeated = use_it();
    queued().await;
    let app = Arc::clone(&world.app);
    let disk_full = tokio::spawn(async move {
        let mut tx = app.db.begin().await.unwrap();
        on_tx!(&mut tx, c => sqlx::query("ROLLBACK").execute(c).await.map(|_| ())).unwrap();
        tx.commit().await
    });
    queued().await;
    drop(held);
    assert!(disk_full.await.unwrap().is_err());
    assert!(winner.await.unwrap().is_err(), "it was not committed");
    assert!(repeated.await.unwrap().is_err(), "nor is it given to who asks again");
    refresh(&world, &world.app, refresh_token(&first), None).await.unwrap();
}

async fn a_session_of_an_earlier_generation_is_over(db: Db) {
    let world = World::new(db).await;
    let first = log_in(&world).await;
    let session = world.session_of(&first).await;
    // What a race leaves: everything was ended while this session was being opened, so its own row was not seen.
    let mut tx = world.app.db.begin().await.unwrap();
    raise_generation(&mut tx, &session.account_id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(session.ending, None);
    assert_eq!(refresh(&world, &world.app, refresh_token(&first), None).await, Err("session_over"));
}
on_both_databases!(generation, super::a_session_of_an_earlier_generation_is_over);

async fn what_needs_a_fresh_authentication_drops_out(db: Db) {
    let world = World::new(db).await;
    let first = log_in(&world).await;
    assert_eq!(first.scope, "read security write");
    world.pass_s(600);
    let second = refresh(&world, &world.app, refresh_token(&first), None).await.unwrap();
    assert_eq!(second.scope, "read security write");
    world.pass_s(1);
    let third = refresh(&world, &world.app, refresh_token(&second), None).await.unwrap();
    assert_eq!(third.scope, "read write");
}
on_both_databases!(freshness, super::what_needs_a_fresh_authentication_drops_out);

async fn whatever_is_typed_as_a_login_is_an_attempt(db: Db) {
    let world = World::new(db).await;
    for login in [
        "",
        "\0",
        "ali\0ce",
        "ALICE\0",
        "\u{fffd}",
        "x:\0",
        "@",
        "' OR 1=1 --",
        "\u{10ffff}\u{1}",
        &"a".repeat(4000),
    ] {
        let request = CredentialsRequest {
            login: login.to_owned(),
            password: SecretText::new(PASSWORD.to_owned()),
            merchant_id: world.merchant.id.clone(),
        };
        let refused = verify_credentials(&world.app, &request, &Caller::default()).await;
        assert!(
            matches!(refused, Err(Failure::Denied(denial)) if denial.code == ErrorCode::AuthenticationFailed),
            "{login:?}"
        );
    }
}
on_both_databases!(odd_logins, super::whatever_is_typed_as_a_login_is_an_attempt);

async fn a_refresh_is_no_activity(db: Db) {
    let world = World::new(db).await;
    let mut token = log_in(&world).await;
    for _ in 0..2 {
        world.pass_s(600);
        token = refresh(&world, &world.app, refresh_token(&token), None).await.unwrap();
    }
    world.pass_s(600);
    assert_eq!(refresh(&world, &world.app, refresh_token(&token), None).await, Err("session_over"));
    assert_eq!(refresh(&world, &world.app, refresh_token(&token), None).await, Err("session_over"));
    // Which time was over stands in the audit, once, and nowhere else.
    let ends = Filter {
        merchant: Some(world.merchant.id.clone()),
        act: Some("session.end".to_owned()),
        ..Filter::default()
    };
    let ends = find_entries(&mut world.app.db.read().await.unwrap(), &ends, 10).await.unwrap();
    let sid = world.session_of(&token).await.sid;
    let said: Vec<_> = ends.iter().map(|end| (end.reason.as_deref(), end.subject.clone().unwrap())).collect();
    assert_eq!(said, [(Some("idle"), format!("session:{sid}"))]);
}
on_both_databases!(idle, super::a_refresh_is_no_activity);

async fn ninety_failures_close_the_account_to_strangers_and_a_hundred_to_its_owners_devices(db: Db) {
    let world = World::new(db).await;
    for _ in 0..89 {
        assert_eq!(password(&world, "wrong").await, Err("wrong_password"));
    }
    assert!(password(&world, PASSWORD).await.is_ok());
    for _ in 0..90 {
        assert_eq!(password(&world, "wrong").await, Err("wrong_password"));
    }
    assert_eq!(password(&world, PASSWORD).await, Err("too_many_failures"));
    // It survives a restart: the count is in the database.
    world.another_process().await;
    assert_eq!(password(&world, PASSWORD).await, Err("too_many_failures"));

    let account = find_by_login(&mut world.app.db.read().await.unwrap(), &Login::parse("alice")).await;
    let account = account.unwrap().unwrap();
    let of = |edge: EdgeId, account: AccountId, generation: i64| Caller {
        edge: Some(edge),
        device: Some(DeviceClaim { account, generation }),
        ..Caller::default()
    };
    let new = NewMerchant {
        name: "Another".to_owned(),
        platform: false,
        services: Vec::new(),
        settings: MerchantSettings::default(),
    };
    let another = create_merchant(&world.app, new, "operator", &Caller::operator()).await.unwrap().id;
    let own = world.make_edge("own", &world.merchant.id).await;
    let foreign = world.make_edge("foreign", &another).await;
    let known = of(own.clone(), account.id.clone(), 0);
    for (text, caller) in [
        ("no edge signed it", Caller { edge: None, ..known.clone() }),
        ("an edge of another merchant", of(foreign, account.id.clone(), 0)),
        ("another account's device", of(own.clone(), AccountId::parse("other").unwrap(), 0)),
        ("a forgotten device", of(own, account.id.clone(), -1)),
    ] {
        assert_eq!(password_of(&world, PASSWORD, &caller).await, Err("too_many_failures"), "{text}");
    }
    for _ in 0..9 {
        assert_eq!(password_of(&world, "wrong", &known).await, Err("wrong_password"));
    }
    assert!(password_of(&world, PASSWORD, &known).await.is_ok());
    // The owner was there, so strangers count anew.
    for _ in 0..90 {
        assert_eq!(password(&world, "wrong").await, Err("wrong_password"));
    }
    for _ in 0..10 {
        assert_eq!(password_of(&world, "wrong", &known).await, Err("wrong_password"));
    }
    assert_eq!(password_of(&world, PASSWORD, &known).await, Err("too_many_failures"));
}
on_both_databases!(
    failures,
    super::ninety_failures_close_the_account_to_strangers_and_a_hundred_to_its_owners_devices
);

async fn no_answer_to_a_key_comes_before_its_entry_is_durable(db: Db) {
    let world = Arc::new(World::new(db).await);
    let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
    let issued =
        create_key(&world.app, &world.merchant.id, &new, "operator", &Caller::operator()).await.unwrap();
    let ask_with = |secret: &str, form: &'static str, request_id: &str| {
        let basic = Basic { id: issued.key_id.to_string(), secret: SecretText::new(secret.to_owned()) };
        let (world, request_id) = (Arc::clone(&world), RequestId::parse(request_id).unwrap());
        tokio::spawn(async move {
            let form = Form::parse(form.as_bytes()).unwrap();
            let caller = Caller { request_id: Some(request_id), ..Caller::default() };
            let request = TokenRequest { form: &form, basic: Some(basic), caller: &caller };
            match grant_alone(&world.app, &request).await {
                Ok(_) => "granted",
                Err(Failure::Denied(denial)) => denial.reason,
                Err(other) => panic!("{other}"),
            }
        })
    };
    let right = issued.secret.expose();
    let wrong = opaque::key_secret([1; 32]);
    // The first use is remembered, which is a transaction of its own.
    assert_eq!(ask_with(right, "grant_type=client_credentials", "first").await.unwrap(), "granted");
    for (id, secret, form, said) in [
        ("right", right, "grant_type=client_credentials", "granted"),
        ("wrong", wrong.expose(), "grant_type=client_credentials", "wrong_secret"),
        ("scope", right, "grant_type=client_credentials&scope=admin:read", "none_held"),
        ("target", right, "grant_type=client_credentials&resource=other", "unknown_service"),
        ("grant", right, "grant_type=implicit", "grant_type"),
    ] {
        let lock = block_writers(&world.app.db, "audit").await;
        let mut asked = ask_with(secret, form, id);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "{id}: answered while no entry can be written");
        drop(lock);
        assert_eq!(asked.await.unwrap(), said);
        let entries = dump(&world.app.db).await;
        assert_eq!(entries.lines().filter(|line| *line == id).count(), 1, "{id} has its entry");
    }
}
on_both_databases!(durable, super::no_answer_to_a_key_comes_before_its_entry_is_durable);

async fn the_sweeper_leaves_nothing_of_what_has_died(db: Db) {
    let world = World::new(db).await;
    let first = log_in(&world).await;
    refresh(&world, &world.app, refresh_token(&first), None).await.unwrap();
    refresh(&world, &world.app, refresh_token(&first), None).await.unwrap_err();
    let now = world.app.clock.now();
    assert_eq!(sweep(&world.app, now).await.unwrap(), 0, "nothing is dead yet");
    assert_eq!(sweep(&world.app, now.plus_seconds(600)).await.unwrap(), 0, "nor for a clock that is ahead");
    world.pass_s(14 * 3600 + 1);
    // A security token, two refresh tokens, a session, an ending, the attempts of an address.
    assert_eq!(sweep(&world.app, world.app.clock.now()).await.unwrap(), 6);
    assert_eq!(sweep(&world.app, world.app.clock.now()).await.unwrap(), 0);
}
on_both_databases!(sweeper, super::the_sweeper_leaves_nothing_of_what_has_died);

async fn no_secret_stands_in_the_database(db: Db) {
    let world = World::new(db).await;
    password(&world, "CANARY-pw-7f3a").await.unwrap_err();
    let request = CredentialsRequest {
        login: "CANARY-login".to_owned(),
        password: SecretText::new("CANARY-pw".to_owned()),
        merchant_id: world.merchant.id.clone(),
    };
    verify_credentials(&world.app, &request, &Caller::default()).await.unwrap_err();
    let answer = log_in(&world).await;
    let child = refresh(&world, &world.app, refresh_token(&answer), Some("CANARY-retry")).await.unwrap();
    let dump = dump(&world.app.db).await;
    assert!(dump.contains("unknown_login"), "the audit is in the dump");
    for secret in
        ["CANARY", "canary", refresh_token(&answer), refresh_token(&child), &child.access_token, PASSWORD]
    {
        assert!(!dump.contains(secret), "{secret:.20} stands in the database");
    }
}
on_both_databases!(canaries, super::no_secret_stands_in_the_database);

async fn with_single_session_the_last_login_is_the_only_one(db: Db) {
    let world = Arc::new(World::new(db).await);
    let other = world.another_process().await;
    let app = &world.app;
    let (_, without) = (log_in(&world).await, log_in(&world).await);
    let mut tx = app.db.begin().await.unwrap();
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    assert_eq!(find_by_account(&mut tx, &alice.id).await.unwrap().len(), 2, "it is off by default");
    let settings = AccountSettings {
        single_session: Some(true),
        session: Some(SessionPolicy { idle_s: 77, absolute_s: 0 }),
        ..AccountSettings::default()
    };
    assert!(update_settings(&mut tx, &alice.id, &settings, 0).await.unwrap());
    tx.commit().await.unwrap();
    let first = log_in(&world).await;
    assert_eq!(refresh(&world, app, refresh_token(&without), None).await.err(), Some("session_over"));
    assert_eq!(world.session_of(&first).await.limits.idle_s, 77);
    // Logins at the same moment, over two processes: one is left, and it works.
    for round in 0..3 {
        let mut proven = Vec::new();
        for _ in 0..8 {
            proven.push(password(&world, PASSWORD).await.unwrap());
        }
        let logins: Vec<_> = proven
            .into_iter()
            .enumerate()
            .map(|(i, token)| {
                let form =
                    format!("grant_type={FACTORS_GRANT}&client_id={}&security_tokens={token}", world.client);
                let app = if i % 2 == 0 { Arc::clone(&world.app) } else { Arc::clone(&other) };
                tokio::spawn(async move { ask(&app, form, None).await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for login in logins {
            answers.push(login.await.unwrap());
        }
        let left = find_by_account(&mut app.db.read().await.unwrap(), &alice.id).await.unwrap();
        assert_eq!(left.len(), 1, "round {round}");
        let mut alive = 0;
        for answer in &answers {
            alive += i32::from(refresh(&world, app, refresh_token(answer), None).await.is_ok());
        }
        assert_eq!(alive, 1, "round {round}");
    }
}
on_both_databases!(single_session, super::with_single_session_the_last_login_is_the_only_one);

async fn what_a_role_gives_is_in_the_token_and_ends_with_it(db: Db) {
    let world = World::new(db).await;
    let (app, caller) = (&world.app, Caller::operator());
    let login = async |scope: &str| {
        let token = password(&world, PASSWORD).await.unwrap();
        let form = format!(
            "grant_type={FACTORS_GRANT}&client_id={}&security_tokens={token}&scope={scope}",
            world.client
        );
        ask(app, form, None).await
    };
    assert_eq!(login("orders:ship").await.unwrap_err(), "not_by_factors");
    let all = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    let name = RoleName::parse("clerk").unwrap();
    let permissions = parse_scope("orders:ship admin:read").unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let made = create_role(app, &mut tx, &world.merchant.id, name.clone(), permissions, giver, &caller).await;
    let version = made.unwrap().version;
    let alice = find_by_login(&mut tx, &Login::parse("alice")).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let before = login("").await.unwrap();
    let rights = AccountRights { roles: [name.clone()].into(), settings: AccountSettings::default() };
    change_rights(app, &alice.id, &rights, 0, giver, &caller).await.unwrap();
    // What was there before has ended, and what is privileged wants a second factor.
    assert_eq!(refresh(&world, app, refresh_token(&before), None).await.unwrap_err(), "session_over");
    let with = login("").await.unwrap();
    assert_eq!(with.scope, "orders:ship read security write");
    let needed = with.factors_needed.clone().unwrap();
    assert_eq!(needed.keys().map(|p| p.as_str()).collect::<Vec<_>>(), ["admin:read"]);
    assert_eq!(login("admin:read").await.unwrap_err(), "insufficient_factors");
    // Everybody of the merchant is out with one act; what is proven and not spent yet too.
    let proven = password(&world, PASSWORD).await.unwrap();
    assert_eq!(end_merchant_sessions(app, &world.merchant.id, "operator", &caller).await.unwrap(), 1);
    assert_eq!(refresh(&world, app, refresh_token(&with), None).await.unwrap_err(), "session_over");
    let form = format!("grant_type={FACTORS_GRANT}&client_id={}&security_tokens={proven}", world.client);
    assert!(ask(app, form, None).await.is_err());
    assert!(login("").await.is_ok());
    // A role that is gone gives nothing.
    delete_role(app, &world.merchant.id, &name, version, "operator", &caller).await.unwrap();
    assert_eq!(login("").await.unwrap().scope, "read security write");
    // A merchant that is closed puts everybody out, and every edge hears of it.
    let in_session = async || {
        find_accounts_in_session(&mut app.db.read().await.unwrap(), &world.merchant.id).await.unwrap()
    };
    let keys = find_keys(&mut app.db.read().await.unwrap(), &world.merchant.id).await.unwrap();
    let keys = i64::try_from(keys.iter().filter(|key| key.revoked_at.is_none()).count()).unwrap();
    let head = async || find_head(&mut app.db.read().await.unwrap()).await.unwrap().seq;
    let before = head().await;
    assert_eq!(in_session().await, std::slice::from_ref(&alice.id));
    disable_merchant(app, &world.merchant.id, "operator", &caller).await.unwrap();
    assert_eq!(in_session().await, []);
    assert!(head().await > before + keys, "an ending of the account beside those of the keys");
}
on_both_databases!(roles, super::what_a_role_gives_is_in_the_token_and_ends_with_it);

async fn to_another_merchant_somebody_is_nobody(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let new = NewMerchant {
        name: "Another".to_owned(),
        platform: false,
        services: Vec::new(),
        settings: MerchantSettings::default(),
    };
    let another = create_merchant(app, new, "operator", &Caller::operator()).await.unwrap().id;
    let nobody = MerchantId::parse("nobody").unwrap();
    let alice =
        find_by_login(&mut app.db.read().await.unwrap(), &Login::parse("alice")).await.unwrap().unwrap();
    // More often than would close the account, with the right password too.
    for number in 0..110 {
        let request = CredentialsRequest {
            login: "alice".to_owned(),
            password: SecretText::new(if number % 2 == 0 { PASSWORD } else { "wrong" }.to_owned()),
            merchant_id: if number % 3 == 0 { nobody.clone() } else { another.clone() },
        };
        let refused = verify_credentials(app, &request, &Caller::default()).await;
        let Err(Failure::Denied(denial)) = refused else { panic!("{number}") };
        assert_eq!(denial.reason, "unknown_login");
    }
    let filter = Filter { merchant: Some(another), ..Filter::default() };
    let entries = find_entries(&mut app.db.read().await.unwrap(), &filter, 200).await.unwrap();
    assert!(entries.len() > 50);
    for entry in entries {
        let text = serde_json::to_string(&entry).unwrap();
        assert!(!text.contains(alice.id.as_str()), "{text}");
    }
    log_in(&world).await;
}
on_both_databases!(elsewhere, super::to_another_merchant_somebody_is_nobody);

async fn a_token_is_consumed_at_once_only_where_all_is_as_it_was_found(db: Db) {
    let world = World::new(db).await;
    let token = refresh_token(&log_in(&world).await).to_owned();
    let (hash, now) = (secret_hash(&token), world.app.clock.now());
    for (what, change, consumed) in [
        ("nothing", "UPDATE sessions SET ended_at = NULL", true),
        ("the session ended", "UPDATE sessions SET ended_at = 1, ending = 'revoked'", false),
        ("the session was seen", "UPDATE sessions SET seen_at = seen_at + 1", false),
        ("everything ended", "UPDATE accounts SET generation = generation + 1", false),
        ("the account was disabled", "UPDATE accounts SET disabled_at = 1", false),
        ("the account's rights changed", "UPDATE accounts SET version = version + 1", false),
        ("the merchant was disabled", "UPDATE merchants SET disabled_at = 1", false),
        ("the merchant's rules changed", "UPDATE merchants SET version = version + 1", false),
        ("it was used", "UPDATE refresh_tokens SET used_at = 1", false),
        ("the session is forgotten", "UPDATE refresh_tokens SET sid = 'none'", false),
    ] {
        let mut tx = world.app.db.begin().await.unwrap();
        let row = find_refresh(&mut tx, &hash).await.unwrap().unwrap();
        let session = find_session(&mut tx, &row.sid).await.unwrap().unwrap();
        let merchant = find_merchant(&mut tx, &session.merchant_id).await.unwrap().unwrap();
        let account = find_account(&mut tx, &session.account_id).await.unwrap().unwrap();
        let standing = Standing {
            seen_at: session.seen_at,
            account_version: account.version,
            merchant_version: merchant.version,
        };
        on_tx!(&mut tx, c => sqlx::query(change).execute(c).await.map(|_| ())).unwrap();
        let done = consume_standing_refresh(&mut tx, &hash, None, standing, now).await.unwrap();
        assert_eq!(done, consumed, "{what}");
    }
    // None of it was committed.
    refresh(&world, &world.app, &token, None).await.unwrap();
}
on_both_databases!(standing, super::a_token_is_consumed_at_once_only_where_all_is_as_it_was_found);
