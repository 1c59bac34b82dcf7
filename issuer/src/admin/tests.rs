//! Who may call what: every operation of the administration, as the OpenAPI document lists them, by every role, on things of the
//! caller's own merchant and of a foreign one. What is not allowed is 403 or 404, changes nothing and is audited; what is allowed gets
//! past the judgement.
//!
//! It is long since the matrix and what goes beyond a row of it are one concept over the same few things that it makes.

use super::disable_merchant;
use crate::accounts::{AccountSettings, NewAccount, create_account};
use crate::app::App;
use crate::applications::{Class, create_application};
use crate::audit::{Filter, find_entries};
use crate::devices::{NewDevice, register_device};
use crate::edges::{EdgeFacts, create_edge};
use crate::factors::verify_credentials;
use crate::http::context::Caller;
use crate::merchants::{MerchantSettings, NewKey, NewMerchant, create_key, create_merchant, rotate_key};
use crate::oauth::exchange;
use crate::organizations::{OrganizationFacts, create_organization};
use crate::permissions::{AccountRights, Giver, change_rights, create_role};
use crate::recovery::{Starter, start_reset_in};
use crate::router::{Serves, openapi_document, router};
use crate::sso::{NewSecret, Previous, set_secret_in};
use crate::storage::testing::{columns, on_both_databases};
use crate::storage::{Db, on_tx};
use crate::testing::{PASSWORD, World};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ed25519_dalek::SigningKey;
use margrave_shared::account_reset::{MAY_RESET, ResetReason};
use margrave_shared::form::Form;
use margrave_shared::id::{MerchantId, uuid_v4};
use margrave_shared::permission::parse_scope;
use margrave_shared::push_target::PushTarget;
use margrave_shared::role::RoleName;
use margrave_shared::secret::SecretText;
use margrave_shared::wire::credentials::CredentialsRequest;
use margrave_shared::wire::token::FACTORS_GRANT;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

async fn merchant(app: &App, name: &str, platform: bool) -> MerchantId {
    let (services, settings) = (Vec::new(), MerchantSettings::default());
    let new = NewMerchant { name: name.to_owned(), platform, services, settings };
    create_merchant(app, new, "operator", &Caller::operator()).await.unwrap().id
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// A token of a new key of a merchant.
async fn token(app: &App, router: &Router, merchant: &MerchantId, scope: &str) -> String {
    let new = NewKey { permissions: parse_scope(scope).unwrap(), expires_at: None };
    let key = create_key(app, merchant, &new, "operator", &Caller::operator()).await.unwrap();
    let basic = margrave_shared::base64::encode_standard(
        format!("{}:{}", key.key_id, key.secret.expose()).as_bytes(),
    );
    let request = Request::post("/oauth/token")
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("grant_type=client_credentials"))
        .unwrap();
    let (status, answer) = send(router, request).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A token of a new person of a merchant who has a role with these permissions; their rights end before it is used, if `is_over`.
async fn token_of_person(app: &App, merchant: &MerchantId, scope: &str, is_over: bool) -> String {
    let caller = Caller::operator();
    // Credentials do, so that the matrix is about rights and not about factors.
    let rule = json!({ "any_of": [["credentials"]] });
    let names = [
        "read",
        "admin:read",
        "admin:write",
        "admin:*",
        "platform:read",
        "platform:write",
        "platform:*",
        MAY_RESET,
    ];
    let policy: BTreeMap<_, _> = names.into_iter().map(|name| (name, rule.clone())).collect();
    let settings = json!({ "factor_policy": policy }).to_string();
    let mut tx = app.db.begin().await.unwrap();
    let sql = "UPDATE merchants SET settings = $1 WHERE id = $2";
    on_tx!(&mut tx, c => sqlx::query(sql).bind(&settings).bind(merchant.as_str()).execute(c).await.map(|_| ()))
        .unwrap();
    let name = format!("p{}", uuid_v4(app.entropy.bytes()));
    let application =
        create_application(app, &mut tx, merchant, "App", Class::Web, "operator", &caller).await.unwrap();
    let all = parse_scope("admin:* platform:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: true };
    let role = RoleName::parse(&name).unwrap();
    let permissions = parse_scope(scope).unwrap();
    create_role(app, &mut tx, merchant, role.clone(), permissions, giver, &caller).await.unwrap();
    tx.commit().await.unwrap();
    let password = Some(SecretText::new(PASSWORD.to_owned()));
    let new = NewAccount { username: name.clone(), password };
    let account = create_account(app, merchant, new, "operator", &caller).await.unwrap();
    let mut rights = AccountRights { roles: [role].into(), settings: AccountSettings::default() };
    let changed = change_rights(app, &account.id, &rights, account.version, giver, &caller).await.unwrap();

    let password = SecretText::new(PASSWORD.to_owned());
    let request = CredentialsRequest { login: name, password, merchant_id: merchant.clone() };
    let proven = verify_credentials(app, &request, &Caller::default()).await.unwrap().security_token;
    let form = format!(
        "grant_type={FACTORS_GRANT}&client_id={}&security_tokens={proven}&scope={scope}",
        application.id
    );
    let answer = exchange(app, &Form::parse(form.as_bytes()).unwrap(), &Caller::default()).await.unwrap();
    assert_eq!(parse_scope(&answer.scope).unwrap(), parse_scope(scope).unwrap());
    if is_over {
        rights.roles.clear();
        change_rights(app, &account.id, &rights, changed.version, giver, &caller).await.unwrap();
    }
    answer.access_token
}

/// One new thing of every kind, by the names that stand in paths.
async fn things(app: &App, merchant: &MerchantId, number: usize) -> BTreeMap<&'static str, String> {
    let caller = Caller::operator();
    let new = NewAccount { username: format!("person-{number}"), password: None };
    let account = create_account(app, merchant, new, "operator", &caller).await.unwrap();
    let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
    let key = create_key(app, merchant, &new, "operator", &caller).await.unwrap();
    let mut tx = app.db.begin().await.unwrap();
    let application =
        create_application(app, &mut tx, merchant, "App", Class::Web, "operator", &caller).await.unwrap();
    let all = parse_scope("admin:*").unwrap();
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    let name = RoleName::parse(&format!("role-{number}")).unwrap();
    let role = create_role(app, &mut tx, merchant, name, parse_scope("read").unwrap(), giver, &caller)
        .await
        .unwrap();
    let facts = EdgeFacts {
        name: format!("edge-{number}"),
        public_key: SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes(),
        next_public_key: None,
        merchants: vec![merchant.to_string()],
        push_url: None,
    };
    let edge = create_edge(app, &mut tx, facts, "operator", &caller).await.unwrap();
    let reason = ResetReason::FirstPassword;
    let by = Starter { actor: "operator", scope: &all, generation: None };
    start_reset_in(app, &mut tx, &account.id, reason, by, &caller).await.unwrap();
    let organization = OrganizationFacts { name: "Acme".to_owned(), heads: [account.id.clone()].into() };
    let organization =
        create_organization(app, &mut tx, merchant, organization, "operator", &caller).await.unwrap();
    let new = NewSecret { given: None, previous: Previous::Keep };
    set_secret_in(app, &mut tx, merchant, new, "operator", &caller).await.unwrap();
    tx.commit().await.unwrap();
    let target = PushTarget::Fcm { token: format!("a-token-of-a-phone-{number}") };
    let new = NewDevice { name: "Phone".to_owned(), target };
    let device = register_device(app, &account.id, new, "operator", &caller).await.unwrap();
    BTreeMap::from([
        ("device", device.to_string()),
        ("organization", organization.id.to_string()),
        ("merchant", merchant.to_string()),
        ("account", account.id.to_string()),
        ("key", key.key_id.to_string()),
        ("application", application.id.to_string()),
        ("role", role.name.to_string()),
        ("edge", edge.id.to_string()),
        ("sid", "some-session".to_owned()),
        ("kid", "some-kid".to_owned()),
    ])
}

/// How many rows there are in every table but the audit's and the feed's, and the versions of what has one.
async fn state(db: &Db) -> Vec<(String, String)> {
    let mut sums = BTreeMap::<String, String>::new();
    for column in columns(db).await {
        let (table, name) = column.trim_end_matches(" NOT NULL").split_once('.').unwrap();
        if table.starts_with("audit") {
            continue;
        }
        let sums = sums.entry(table.to_owned()).or_insert_with(|| "CAST(COUNT(*) AS TEXT)".to_owned());
        if let "version" | "generation" | "device_generation" | "disabled_at" | "revoked_at" | "ended_at"
        | "expires_at" = name
        {
            write!(sums, " || ' ' || CAST(COALESCE(SUM({name}), 0) + COUNT({name}) AS TEXT)").unwrap();
        }
    }
    let mut state = Vec::new();
    let mut tx = db.read().await.unwrap();
    for (table, sums) in sums {
        let sql = format!("SELECT {sums} FROM {table}");
        let sum = on_tx!(&mut tx, c => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c).await).unwrap();
        state.push((table, sum));
    }
    state
}

/// What a call needs to be meant: a body for what takes one, and the version of what is changed.
fn request(verb: &str, path: &str, token: Option<&str>, has_body: bool) -> Request<Body> {
    let mut request = Request::builder().method(verb.to_ascii_uppercase().as_str()).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request = request.header("if-match", "\"v0\"");
    // A member that no body has: who is let through is told so.
    let body = if has_body { Body::from(json!({ "no_such_member": 1 }).to_string()) } else { Body::empty() };
    request.header("content-type", "application/json").body(body).unwrap()
}

/// Of whom a token was good before.
const OVER: &str = "over";

/// A role, its merchant, its token, whether it is a person's, whether it may: read own, write own, read foreign, write foreign, read and
/// write the platform's.
type Role<'a> = (&'static str, &'a MerchantId, Option<String>, bool, [bool; 6]);

async fn every_role_on_every_route(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let platform = merchant(app, "Platform", true).await;
    let own = &world.merchant.id;
    let none = [false; 6];
    let mut roles: Vec<Role<'_>> = vec![("nobody", own, None, false, none)];
    for (scope, merchant, may) in [
        ("read write register", own, none),
        ("admin:read", own, [true, false, false, false, false, false]),
        ("admin:write", own, [false, true, false, false, false, false]),
        ("admin:*", own, [true, true, false, false, false, false]),
        // A right of its own is none to change things.
        (MAY_RESET, own, none),
        ("admin:* account:factors:reset", own, [true, true, false, false, false, false]),
        ("read", &platform, none),
        ("admin:*", &platform, [true, true, false, false, false, false]),
        ("platform:read", &platform, [true, false, true, false, true, false]),
        ("platform:*", &platform, [true; 6]),
        ("account:factors:reset platform:*", &platform, [true; 6]),
    ] {
        roles.push((scope, merchant, Some(token(app, &router, merchant, scope).await), false, may));
        roles.push((scope, merchant, Some(token_of_person(app, merchant, scope, false).await), true, may));
    }
    // Rights that are over, of somebody and of everybody.
    let gone = merchant(app, "Gone", false).await;
    let ended = [
        token_of_person(app, &platform, "platform:*", true).await,
        token(app, &router, &gone, "admin:*").await,
        token_of_person(app, &gone, "admin:*", false).await,
    ];
    for token in &ended[1..] {
        let path = format!("/admin/v1/merchants/{gone}/keys");
        let (status, answer) = send(&router, request("get", &path, Some(token), false)).await;
        assert_eq!(status, StatusCode::OK, "before: {answer}");
    }
    disable_merchant(app, &gone, "operator", &Caller::operator()).await.unwrap();
    // Nothing can be made at a merchant that is gone.
    roles.extend(ended.into_iter().map(|token| (OVER, own, Some(token), false, none)));
    let document = openapi_document();
    let (mut calls, mut let_through, mut number) = (0, 0, 0);
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(rest) = path.strip_prefix("/admin/v1") else { continue };
        for (verb, operation) in operations.as_object().unwrap() {
            let permission = operation["x-permission"].as_str().unwrap();
            let writes = permission.ends_with(":write");
            let of_platform = operation["x-realm"] == "platform";
            assert!(permission.starts_with(if of_platform { "platform:" } else { "admin:" }), "{path}");
            let has_body = operation.get("requestBody").is_some();
            // Whoever is let through ends every person's token.
            let ends_sessions = path.ends_with("/merchants/{merchant}/sessions");
            for (role, home, token, is_person, may) in &mut roles {
                for foreign in [false, true] {
                    number += 1;
                    if *is_person && ends_sessions {
                        *token = Some(token_of_person(app, home, role, false).await);
                    }
                    let target =
                        if foreign { merchant(app, "Foreign", false).await } else { (*home).clone() };
                    let things = things(app, &target, number).await;
                    let mut called = path.clone();
                    for (name, id) in &things {
                        called = called.replace(&format!("{{{name}}}"), id);
                    }
                    let allowed = match (of_platform, foreign, writes) {
                        (true, _, false) => may[4],
                        (true, _, true) => may[5],
                        (false, false, false) => may[0],
                        (false, false, true) => may[1],
                        (false, true, false) => may[2],
                        (false, true, true) => may[3],
                    };
                    let right = operation.get("x-right").and_then(Value::as_str);
                    let lacks_right = right.is_some_and(|right| !role.contains(right));
                    let is_seen = allowed || !foreign;
                    let allowed = allowed && !lacks_right;
                    let audited = refusals(app).await;
                    let before = if allowed { Vec::new() } else { state(&app.db).await };
                    let sent = request(verb, &called, token.as_deref(), has_body);
                    let (status, answer) = send(&router, sent).await;
                    let what =
                        format!("{role} of {home}, foreign {foreign}: {verb} {called}: {status} {answer}");
                    calls += 1;
                    if allowed {
                        let_through += 1;
                        // What is not there is told from what may not be seen: of these two there is none.
                        let is_missing = status == 404 && (rest.contains("{sid}") || rest.contains("{kid}"));
                        let refused = matches!(status.as_u16(), 401 | 403 | 404) && !is_missing;
                        assert!(!refused && status.as_u16() < 500, "{what}");
                        if has_body {
                            assert_eq!(answer["code"], "invalid_field", "{what}");
                        }
                    } else {
                        let is_known = token.is_some() && *role != OVER;
                        let expected: &[u16] = match of_platform || is_seen {
                            _ if !is_known => &[401],
                            true => &[403],
                            // To whom may not look a foreign merchant is not there.
                            false => &[404],
                        };
                        // With rights over the platform everything is there, and what is not permitted is said.
                        let seen = may[4] && foreign && status == 403;
                        assert!(expected.contains(&status.as_u16()) || seen, "{what}");
                        assert_eq!(state(&app.db).await, before, "{what}");
                        let expected = audited + i64::from(is_known);
                        assert_eq!(refusals(app).await, expected, "{what}: it stands in the audit");
                    }
                }
            }
            for (role, home, token, ..) in roles.iter_mut().filter(|role| role.3 && ends_sessions) {
                *token = Some(token_of_person(app, home, role, false).await);
            }
        }
    }
    assert!(calls > 1_400 && let_through > 300, "{calls} calls, {let_through} let through");
}
on_both_databases!(matrix, super::every_role_on_every_route);

async fn refusals(app: &App) -> i64 {
    const SQL: &str = "SELECT COUNT(*) FROM audit WHERE act = 'admin' AND outcome = 'refused'";
    let mut tx = app.db.read().await.unwrap();
    on_tx!(&mut tx, c => sqlx::query_scalar(SQL).fetch_one(c).await).unwrap()
}

/// Things of a foreign merchant under the path of one's own, with bodies that could be meant.
async fn a_foreign_thing_is_not_there_under_ones_own_merchant(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let platform = merchant(app, "Platform", true).await;
    let foreign = merchant(app, "Foreign", false).await;
    let document = openapi_document();
    let mut tried = 0;
    for (home, scope) in [(own, "admin:*"), (&platform, "platform:*")] {
        let token = token(app, &router, home, scope).await;
        for (path, operations) in document["paths"].as_object().unwrap() {
            let Some(rest) = path.strip_prefix("/admin/v1/merchants/{merchant}/") else { continue };
            let Some(rest) = rest.find('{').map(|at| &rest[at..]) else { continue };
            for verb in operations.as_object().unwrap().keys() {
                tried += 1;
                let things = things(app, &foreign, tried).await;
                let mut called = path.replace("{merchant}", home.as_str());
                for (name, id) in &things {
                    called = called.replace(&format!("{{{name}}}"), id);
                }
                let body = match rest.split('}').next().unwrap() {
                    "{role" => json!({ "permissions": ["read"] }),
                    "{application" => json!({ "name": "Mine", "class": "web" }),
                    "{organization" => json!({ "name": "Mine", "heads": [] }),
                    _ => Value::Null,
                };
                let path = called.strip_prefix("/admin/v1").unwrap();
                // What is shown of the thing itself gives its version.
                let there = path.replace(home.as_str(), foreign.as_str());
                let theirs = merchant_token(app, &router, &foreign).await;
                let etag = act(&router, &theirs, "GET", &there, &[], &Value::Null).await.1;
                let etag = etag.unwrap_or("\"v0\"".to_owned());
                let before = state(&app.db).await;
                let audited = refusals(app).await;
                let verb = verb.to_ascii_uppercase();
                let (status, _, answer) =
                    act(&router, &token, &verb, path, &[("if-match", &etag)], &body).await;
                assert_eq!(status, 404, "{scope}: {verb} {path}: {answer}");
                assert_eq!(state(&app.db).await, before, "{scope}: {verb} {path}");
                assert_eq!(refusals(app).await, audited + 1, "{scope}: {verb} {path}");
            }
        }
        // A session of somebody else's under one's own account.
        let answer = world.log_in("alice").await.unwrap();
        let sid = world.session_of(&answer).await.sid;
        let other = things(app, own, 1000 + tried).await;
        let path = format!("/accounts/{}/sessions/{sid}", other["account"]);
        assert_eq!(act(&router, &token, "DELETE", &path, &[], &Value::Null).await.0, 404);
        assert!(world.refresh(&answer).await.is_ok());
    }
    assert!(tried >= 14, "{tried}");
}
on_both_databases!(mixed, super::a_foreign_thing_is_not_there_under_ones_own_merchant);

async fn merchant_token(app: &App, router: &Router, merchant: &MerchantId) -> String {
    token(app, router, merchant, "admin:*").await
}

async fn nobody_makes_easier_what_they_do_not_hold(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let writer = token(app, &router, own, "admin:write").await;
    let path = format!("/merchants/{own}");
    let body = |factors: &Value| json!({ "name": "Test", "settings": { "factor_policy": factors } });
    let easy = json!([["credentials"]]);
    let mut version = 0;
    let before = refusals(app).await;
    for (rules, status) in [
        (json!({ "read": { "any_of": easy } }), 200),
        (json!({ "read": { "any_of": easy }, "admin:write": { "any_of": easy } }), 200),
        (
            json!({ "read": { "any_of": easy }, "admin:write": { "any_of": easy }, "admin:read": { "any_of": easy } }),
            403,
        ),
        (
            json!({ "read": { "any_of": easy }, "platform:*": { "any_of": easy }, "admin:write": { "any_of": easy } }),
            403,
        ),
        (
            json!({ "read": { "any_of": easy }, "pii:read": { "any_of": easy }, "admin:write": { "any_of": easy } }),
            403,
        ),
        (json!({ "read": { "any_of": easy } }), 200),
    ] {
        let etag = format!("\"v{version}\"");
        let put = act(&router, &writer, "PUT", &path, &[("if-match", &etag)], &body(&rules)).await;
        assert_eq!(put.0, status, "{rules}: {}", put.2);
        version += i32::from(status == 200);
    }
    // Giving what is not held, by a key, by a role, to an account.
    let account = things(app, own, 1).await["account"].clone();
    for (path, verb, body) in [
        (format!("{path}/keys"), "POST", json!({ "permissions": ["admin:read"] })),
        (format!("{path}/keys"), "POST", json!({ "permissions": ["pii:read"] })),
        (format!("{path}/roles"), "POST", json!({ "name": "r", "permissions": ["errors:explicit"] })),
        (format!("{path}/roles"), "POST", json!({ "name": "r", "permissions": ["admin:*"] })),
        (
            format!("/accounts/{account}/rights"),
            "PUT",
            json!({ "roles": [], "settings": { "permissions": ["admin:read"] } }),
        ),
    ] {
        let sent = act(&router, &writer, verb, &path, &[("if-match", "\"v0\"")], &body).await;
        assert_eq!(sent.0, 403, "{path}: {}", sent.2);
    }
    assert_eq!(refusals(app).await, before + 8, "each stands in the audit");
}
on_both_databases!(delegation, super::nobody_makes_easier_what_they_do_not_hold);

/// What is refused for whatever reason stands in the audit, and nothing of what was typed does.
async fn whatever_is_refused_stands_in_the_audit_without_what_was_typed(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let writer = token(app, &router, own, "admin:*").await;
    let platform = merchant(app, "Platform", true).await;
    let runner = token(app, &router, &platform, "platform:*").await;
    let none = Value::Null;
    let long = 60 * 366 * 86_400 + 1_800_000_000_i64;
    for (token, verb, path, body, status, reason, home) in [
        (&writer, "GET", "/accounts/a.canary@mail.test".to_owned(), &none, 404, "not_permitted", own),
        (&runner, "GET", "/accounts/a.canary@mail.test".to_owned(), &none, 404, "not_found", &platform),
        (&writer, "GET", "/merchants/a.canary@mail.test/keys".to_owned(), &none, 404, "not_permitted", own),
        (&runner, "GET", "/merchants/a.canary@mail.test/keys".to_owned(), &none, 404, "not_found", &platform),
        (&writer, "GET", format!("/merchants/{own}/keys?limit=0"), &none, 400, "invalid_request", own),
        (&writer, "POST", format!("/merchants/{own}/keys/canary/rotate"), &none, 404, "not_found", own),
        (&writer, "PUT", format!("/merchants/{own}"), &json!({}), 428, "precondition_required", own),
        (
            &writer,
            "POST",
            format!("/merchants/{own}/roles"),
            &json!({ "canary": 1 }),
            422,
            "invalid_field",
            own,
        ),
        (
            &writer,
            "POST",
            format!("/merchants/{own}/keys"),
            &json!({ "permissions": ["read"], "expires_at": long }),
            422,
            "invalid_field",
            own,
        ),
    ] {
        world.pass_s(1);
        let before = refusals(app).await;
        let (answered, _, answer) = act(&router, token, verb, &path, &[], body).await;
        assert_eq!(answered, status, "{verb} {path}: {answer}");
        let filter = Filter {
            merchant: Some((*home).clone()),
            outcome: Some("refused".to_owned()),
            ..Filter::default()
        };
        let newest = find_entries(&mut app.db.read().await.unwrap(), &filter, 1).await.unwrap().remove(0);
        assert_eq!((newest.act.as_str(), newest.reason.as_deref()), ("admin", Some(reason)), "{path}");
        assert_eq!(refusals(app).await, before + 1, "{path}");
    }
    // Who runs the system reads a merchant's things, and the merchant can see that.
    world.pass_s(1);
    let path = format!("/merchants/{own}/keys");
    assert_eq!(act(&router, &runner, "GET", &path, &[], &none).await.0, 200);
    let filter = Filter { merchant: Some(own.clone()), ..Filter::default() };
    let seen = find_entries(&mut app.db.read().await.unwrap(), &filter, 1).await.unwrap().remove(0);
    assert_eq!((seen.act.as_str(), seen.subject.unwrap()), ("admin.read", format!("/admin/v1{path}")));
    // Also where they go away before they hear of it.
    world.pass_s(1);
    let path = format!("/merchants/{own}/roles");
    let asked = request("get", &format!("/admin/v1{path}"), Some(&runner), false);
    let mut asking = Box::pin(router.clone().oneshot(asked));
    std::future::poll_fn(|context| {
        assert!(asking.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(asking);
    let is_written = async || {
        let seen = find_entries(&mut app.db.read().await.unwrap(), &filter, 1).await.unwrap().remove(0);
        seen.subject.unwrap() == format!("/admin/v1{path}")
    };
    let until_it_is = async {
        while !is_written().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until_it_is).await.unwrap();
    assert!(!crate::storage::testing::dump(&app.db).await.contains("canary"));
    // Nobody's act is nobody's entry; and a path that is no text is one that is not there.
    let before = refusals(app).await;
    for path in openapi_document()["paths"].as_object().unwrap().keys().filter(|path| path.contains('{')) {
        let mut odd = path.clone();
        while let (Some(from), Some(to)) = (odd.find('{'), odd.find('}')) {
            odd.replace_range(from..=to, "%ff");
        }
        for verb in ["GET", "POST", "PUT", "DELETE"] {
            let sent = Request::builder().method(verb).uri(&odd).body(Body::empty()).unwrap();
            let (status, answer) = send(&router, sent).await;
            assert!(matches!(status.as_u16(), 404 | 405), "{verb} {odd}: {status}");
            assert!(answer["code"].is_string(), "{verb} {odd}: {answer}");
        }
    }
    assert_eq!(refusals(app).await, before);
}
on_both_databases!(written_down, super::whatever_is_refused_stands_in_the_audit_without_what_was_typed);

async fn of_fifty_rotations_at_once_one_is_done(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let caller = Caller::operator();
    let own = &world.merchant.id;
    let new = NewKey { permissions: parse_scope("read").unwrap(), expires_at: None };
    let key = create_key(app, own, &new, "operator", &caller).await.unwrap().key_id;
    let rotations: Vec<_> = (0..50)
        .map(|_| {
            let (app, own, key) = (Arc::clone(app), own.clone(), key.clone());
            tokio::spawn(async move {
                rotate_key(&app, &own, &key, "operator", &Caller::operator()).await.is_ok()
            })
        })
        .collect();
    let mut done = 0;
    for rotation in rotations {
        done += i32::from(rotation.await.unwrap());
    }
    assert_eq!(done, 1);
}
on_both_databases!(rotations, super::of_fifty_rotations_at_once_one_is_done);

async fn nobody_resets_over_http_what_they_could_not_give(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let (all, caller) = (parse_scope("admin:* platform:*").unwrap(), Caller::operator());
    let giver = Giver { actor: "operator", scope: &all, of_platform: false };
    let one = async |username: &str, permissions: &[&str]| {
        let new = NewAccount { username: username.to_owned(), password: None };
        let account = create_account(app, own, new, "operator", &caller).await.unwrap();
        let settings = serde_json::from_value(json!({ "permissions": permissions })).unwrap();
        let rights = AccountRights { roles: [].into(), settings };
        change_rights(app, &account.id, &rights, 0, giver, &caller).await.unwrap().id
    };
    let (plain, reader, officer) =
        (one("plain", &[]).await, one("reader", &["admin:read"]).await, one("officer", &["pii:read"]).await);
    let reason = json!({ "reason": "compromised" });
    for (scope, account, status) in [
        ("admin:*", &plain, 403),
        ("admin:write account:factors:reset", &plain, 201),
        ("admin:write account:factors:reset", &reader, 403),
        ("admin:* account:factors:reset", &reader, 201),
        ("admin:* account:factors:reset", &officer, 403),
        ("admin:write account:*", &officer, 403),
        ("admin:write account:* pii:read", &officer, 201),
    ] {
        let token = token(app, &router, own, scope).await;
        let path = format!("/accounts/{account}/reset");
        let (answered, _, answer) = act(&router, &token, "POST", &path, &[], &reason).await;
        assert_eq!(answered, status, "{scope}: {answer}");
        if status == 201 {
            let started_by = answer["started_by"].as_str().unwrap();
            assert!(started_by.starts_with("key:"), "{started_by}");
        }
    }
}
on_both_databases!(resets, super::nobody_resets_over_http_what_they_could_not_give);

/// Sends as an administrator and gives status, ETag and answer.
async fn act(
    router: &Router,
    token: &str,
    verb: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Option<String>, Value) {
    let mut request = Request::builder()
        .method(verb)
        .uri(format!("/admin/v1{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let etag = response.headers().get("etag").map(|value| value.to_str().unwrap().to_owned());
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, etag, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn what_was_read_is_what_is_changed(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let token = token(app, &router, own, "admin:*").await;
    let path = format!("/merchants/{own}");
    let (_, etag, shown) = act(&router, &token, "GET", &path, &[], &Value::Null).await;
    let (etag, name) = (etag.unwrap(), shown["merchant"]["name"].as_str().unwrap());
    assert_eq!((etag.as_str(), name), ("\"v0\"", "Test"));
    let body = json!({ "name": "New", "settings": { "single_session": true } });
    let put = async |headers: &[(&str, &str)], body: &Value| {
        act(&router, &token, "PUT", &path, headers, body).await
    };
    // Without what was read, with what is none, with several.
    for (headers, status) in [
        (vec![], 428),
        (vec![("if-match", "\"v7\"")], 412),
        (vec![("if-match", "W/\"v0\"")], 412),
        (vec![("if-match", "\"v+0\"")], 412),
        (vec![("if-match", "*")], 400),
        (vec![("if-match", "\"v0\", \"v1\"")], 400),
        (vec![("if-match", "\"v0\""), ("if-match", "\"v0\"")], 400),
    ] {
        assert_eq!(put(&headers, &body).await.0, status, "{headers:?}");
    }
    for bad in [
        json!({ "name": "", "settings": {} }),
        json!({ "name": "x", "settings": { "session": { "idle_s": -1, "absolute_s": 0 } } }),
        json!({ "name": "x", "settings": { "factor_policy": { "read": { "any_of": [["email"]] } } } }),
        json!({ "name": "x", "settings": {}, "platform_at": 1 }),
        json!({ "name": "x" }),
    ] {
        let (status, _, answer) = put(&[("if-match", "\"v0\"")], &bad).await;
        assert_eq!((status, &answer["code"]), (422, &json!("invalid_field")), "{bad}");
    }
    // Of twenty that all read the same one is first.
    let put = |number: i64| {
        let (router, token, path) = (router.clone(), token.clone(), path.clone());
        tokio::spawn(async move {
            let body = json!({ "name": format!("New {number}"), "settings": { "single_session": true } });
            act(&router, &token, "PUT", &path, &[("if-match", "\"v0\"")], &body).await.0
        })
    };
    let many: Vec<_> = (0..20).map(put).collect();
    let mut statuses = Vec::new();
    for one in many {
        statuses.push(one.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 412), "{statuses:?}");
    let (_, etag, shown) = act(&router, &token, "GET", &path, &[], &Value::Null).await;
    assert_eq!(etag.unwrap(), "\"v1\"");
    assert_eq!(shown["merchant"]["settings"], json!({ "single_session": true }));
    // Services are the platform's.
    let services = json!({ "services": [] });
    let headers = [("if-match", "\"v1\"")];
    assert_eq!(act(&router, &token, "PUT", &format!("{path}/services"), &headers, &services).await.0, 403);
}
on_both_databases!(versions, super::what_was_read_is_what_is_changed);

async fn lists_come_in_pages_and_creations_once(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let router = router(Arc::clone(app), Serves::All);
    let own = &world.merchant.id;
    let token = token(app, &router, own, "admin:*").await;
    let path = format!("/merchants/{own}/roles");
    let none = Value::Null;
    for number in 0..5 {
        let body = json!({ "name": format!("r{number}"), "permissions": ["read"] });
        let key = format!("key-{number}");
        let once = act(&router, &token, "POST", &path, &[("idempotency-key", &key)], &body).await;
        let again = act(&router, &token, "POST", &path, &[("idempotency-key", &key)], &body).await;
        assert_eq!((once.0, &once), (201, &again));
        assert_eq!(act(&router, &token, "POST", &path, &[], &body).await.0, 409);
        let other = json!({ "name": format!("s{number}"), "permissions": ["read"] });
        let (status, _, answer) =
            act(&router, &token, "POST", &path, &[("idempotency-key", &key)], &other).await;
        assert_eq!((status, &answer["code"]), (422, &json!("idempotency_key_reused")));
    }
    // That an answer was shown again, the merchant finds in its own audit.
    let act_again = Some("admin.answer_again".to_owned());
    let again = Filter { merchant: Some(own.clone()), act: act_again, ..Filter::default() };
    assert_eq!(find_entries(&mut app.db.read().await.unwrap(), &again, 50).await.unwrap().len(), 5);
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = act(&router, &token, "GET", &format!("{path}?limit=2&after={after}"), &[], &none).await.2;
        let roles = page["roles"].as_array().unwrap();
        assert!(roles.len() <= 2);
        names.extend(roles.iter().map(|role| role["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(names, ["r0", "r1", "r2", "r3", "r4"]);
    // A person's sessions, and the edges.
    for _ in 0..5 {
        world.log_in("alice").await.unwrap();
    }
    let runs = merchant(app, "Platform", true).await;
    let runner = self::token(app, &router, &runs, "platform:*").await;
    for number in 900..905 {
        things(app, &runs, number).await;
    }
    let alice =
        act(&router, &token, "GET", &format!("/merchants/{own}/accounts?login=alice"), &[], &none).await.2;
    let alice = alice["accounts"][0]["id"].as_str().unwrap().to_owned();
    for (path, list, id, count) in [
        (format!("/accounts/{alice}/sessions"), "sessions", "sid", 5),
        ("/edges".to_owned(), "edges", "edge_id", 5),
    ] {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}?limit=2&after={after}");
            let (status, _, page) = act(&router, &runner, "GET", &page, &[], &none).await;
            assert_eq!(status, 200, "{page}");
            ids.extend(page[list].as_array().unwrap().iter().map(|one| one[id].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        assert!(ids.len() == count && ids.is_sorted(), "{list}: {ids:?}");
    }
    for path in [&format!("/accounts/{alice}/sessions"), "/edges", "/signing-keys"] {
        let odd = act(&router, &runner, "GET", &format!("{path}?lmit=2"), &[], &none).await;
        assert_eq!(odd.0, 400, "{path}: {}", odd.2);
    }
    let odd = Request::post(format!("/admin/v1{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("idempotency-key", axum::http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let body = Body::from(json!({ "name": "odd", "permissions": [] }).to_string());
    assert_eq!(send(&router, odd.body(body).unwrap()).await.0, 400, "a key that cannot be read is not none");
    // A key's secret comes again with the same key, and only then; a key that is made twice is two.
    let path = format!("/merchants/{own}/keys");
    let body = json!({ "permissions": ["read"] });
    let one = act(&router, &token, "POST", &path, &[("idempotency-key", "k")], &body).await.2;
    let again = act(&router, &token, "POST", &path, &[("idempotency-key", "k")], &body).await.2;
    let other = act(&router, &token, "POST", &path, &[], &body).await.2;
    assert!(one["secret"].is_string() && one == again && one != other);
    let accounts = format!("/merchants/{own}/accounts");
    for (query, status, found) in [
        ("?login=ALICE", 200, 1),
        ("?login=bob", 200, 0),
        ("?disabled=false", 200, 1),
        ("?disabled=true", 200, 0),
        ("?role=r0", 200, 0),
        ("?role=", 200, 0),
        ("?disabled=", 400, 0),
        ("?disabled=yes", 400, 0),
        ("?disabeld=true", 400, 0),
        ("?limit=0", 400, 0),
        ("?limit=201", 400, 0),
        ("?after=%00", 400, 0),
        ("?limit=1&limit=2", 400, 0),
    ] {
        let (answered, _, page) =
            act(&router, &token, "GET", &format!("{accounts}{query}"), &[], &none).await;
        let count = page["accounts"].as_array().map_or(0, Vec::len);
        assert_eq!((answered, count), (status, found), "{query}");
    }
}
on_both_databases!(pages, super::lists_come_in_pages_and_creations_once);
