//! An administrator lets somebody set a password by a link, in a real browser, through the edge.

use crate::browser::{Browser, ENTER, TAB};
use crate::http::{get, post_json, send};
use crate::revocation::until_refused;
use crate::system::up;
use serde_json::json;

#[tokio::test]
async fn a_person_sets_a_password_with_a_link_and_by_keyboard_alone() {
    let system = up(&["issuer.reset.delay_s=0"]).await;
    let before = system.log_in().await;
    let bearer = format!("Bearer {}", before.access);
    let own = [("authorization", bearer.as_str())];
    let account = get(&system.edge("/auth/v1/me"), &own).await.expect(200).text("account_id");
    let path = format!("/accounts/{account}/reset");
    system.admin("POST", &path, Some(json!({ "reason": "because" }))).await.expect(422);
    let reason = json!({ "reason": "forgotten_password" });

    // Its owner has not asked for it, sees it, and calls it off.
    get(&system.edge("/auth/v1/me/reset"), &own).await.expect(404);
    let unwanted = system.admin("POST", &path, Some(reason.clone())).await.expect(201);
    let seen = get(&system.edge("/auth/v1/me/reset"), &own).await.expect(200).json();
    assert!(seen["started_by"].as_str().unwrap().starts_with("key:") && seen["token"].is_null(), "{seen}");
    send("DELETE", &system.edge("/auth/v1/me/reset"), &own, None).await.expect(204);
    let confirm = system.edge("/auth/v1/resets/confirm");
    let body = json!({ "token": unwanted.text("token"), "password": "another rather long one" });
    let refused = post_json(&confirm, &[], &body).await.expect(401);
    assert_eq!(refused.code(), "authentication_failed");

    let started = system.admin("POST", &path, Some(reason)).await.expect(201);
    let link = started.text("link");
    let token = started.text("token");
    assert!(link.ends_with(&format!("/reset#{token}")), "{link}");
    // The issuer is direct here; people come to it through the edge.
    let page = get(&system.edge("/auth/reset"), &[]).await.expect(200);
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'sha256-"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let browser = Browser::start().await;
    browser.open(&format!("{}#{token}", system.edge("/auth/reset"))).await;
    assert_eq!(browser.run("return location.hash").await, "", "the token does not stay in sight");
    let password = "a password of several words";
    browser.type_keys(&format!("{password}{TAB}something else{ENTER}")).await;
    browser.until("return document.getElementById('problem').textContent.includes('differ')").await;
    // The focus is on what is wrong; the fields are before it.
    browser
        .run("document.getElementById('password').focus(); document.getElementById('password').select()")
        .await;
    browser.type_keys(&format!("short{TAB}")).await;
    browser.run("document.getElementById('again').select()").await;
    browser.type_keys(&format!("short{ENTER}")).await;
    browser.until("return /shorter than/.test(document.getElementById('problem').textContent)").await;
    browser.run("document.getElementById('password').select()").await;
    browser.run("document.getElementById('password').focus()").await;
    browser.type_keys(&format!("{password}{TAB}")).await;
    browser.run("document.getElementById('again').select()").await;
    browser.type_keys(&format!("{password}{ENTER}")).await;
    browser.until("return !document.getElementById('done').hidden").await;
    let complaints = browser.complaints().await;
    // That an answer was 422 the browser tells, too.
    assert!(complaints.iter().all(|text| text.contains("422")), "{complaints:?}");

    assert_eq!(until_refused(&system, "/api/x", &before.access).await.code(), "session_ended");
    let username = system.fact("username");
    system.attempt(username, system.fact("password")).await.expect(401);
    let person = system.log_in_as(username, password).await;
    system.call("/api/x", &person.access).await.expect(200);
    let again = json!({ "token": token, "password": "another rather long one" });
    post_json(&confirm, &[], &again).await.expect(401);
    // The same from a shell.
    let printed = system.command(&["accounts", "reset", &account, "--reason", "other"]).await;
    assert_eq!(printed["reset"]["started_by"], "operator");
    system.command(&["accounts", "cancel-reset", &account]).await;
    system.admin("GET", &path, None).await.expect(404);
    let why = system.refused_command(&["accounts", "reset", &account, "--reason", "none"]).await;
    assert!(why.contains("forgotten_password, compromised"), "{why}");
}
