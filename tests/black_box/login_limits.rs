//! Login attempts are limited before the issuer sees them.

use crate::http::{post_json, post_text, together};
use crate::system::up;
use serde_json::json;

#[tokio::test]
async fn a_flood_of_wrong_passwords_is_admitted_exactly_n_times() {
    let system = up(&["edge.limits.account_attempts=3", "edge.limits.account_window_s=3600"]).await;
    let statuses = async |login: &str, count: usize| {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(system.attempt(login, "wrong").await.status);
        }
        statuses
    };
    assert_eq!(statuses("demo", 6).await, [401, 401, 401, 429, 429, 429]);
    // Another spelling is the same login.
    assert_eq!(statuses("ＤＥＭＯ", 1).await, [429]);
    let refused = system.attempt("demo", system.fact("password")).await.expect(429);
    assert_eq!(refused.code(), "too_many_attempts");
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&wait), "a third of the window, not {wait}");
    // Unknown logins are counted like known ones, each by itself.
    assert_eq!(statuses("nobody", 4).await, [401, 401, 401, 429]);
}

#[tokio::test]
async fn right_passwords_cost_nothing_and_fifty_at_once_are_counted_exactly() {
    let system = up(&[
        "edge.limits.account_attempts=5",
        "edge.limits.account_window_s=3600",
        "edge.limits.address_attempts=1000",
    ])
    .await;
    for _ in 0..8 {
        system.attempt("demo", system.fact("password")).await.expect(200);
    }
    let attempts = (0..50).map(|_| Box::pin(system.attempt("demo", "wrong"))).collect();
    let mut admitted = 0;
    for answer in together(attempts).await {
        if answer.status == 401 {
            admitted += 1;
        } else {
            answer.expect(429);
        }
    }
    assert_eq!(admitted, 5);
}

#[tokio::test]
async fn the_address_counts_over_all_logins_and_a_refused_attempt_costs_the_login_nothing() {
    let system = up(&[
        "edge.limits.address_attempts=4",
        "edge.limits.address_window_s=3600",
        "edge.limits.account_attempts=3",
        "edge.limits.account_window_s=3600",
    ])
    .await;
    for i in 0..4 {
        system.attempt(&format!("nobody{i}"), "wrong").await.expect(401);
    }
    for i in 0..5 {
        // A client's own header changes nothing: the address is the connection's.
        let headers =
            [("x-forwarded-for", format!("192.0.2.{i}")), ("cf-connecting-ip", format!("192.0.2.{i}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        system.attempt_from("demo", "wrong", &headers).await.expect(429);
    }
}

#[tokio::test]
async fn login_bodies_are_read_in_one_way_only() {
    let system = up(&[]).await;
    let url = system.edge("/auth/v1/factors/credentials");
    let merchant = system.fact("merchant_id").to_owned();
    for body in [
        format!(r#"{{"login":"a","login":"demo","password":"x","merchant_id":"{merchant}"}}"#),
        format!(r#"{{"login":"a","l\u006fgin":"demo","password":"x","merchant_id":"{merchant}"}}"#),
        format!(r#"{{"login":["demo"],"password":"x","merchant_id":"{merchant}"}}"#),
        format!(r#"{{"login":"demo","password":"x","merchant_id":"{merchant}","more":1}}"#),
        "login=demo&password=x".to_owned(),
        String::new(),
    ] {
        post_text(&url, &[], "application/json", body.clone()).await.expect(400);
    }
    post_text(&url, &[], "text/plain", "{}".into()).await.expect(415);
    let long = json!({ "login": "demo", "password": "x".repeat(5000), "merchant_id": merchant });
    post_json(&url, &[], &long).await.expect(413);
    // None of these was an attempt.
    for _ in 0..5 {
        system.attempt("demo", "wrong").await.expect(401);
    }
}

#[tokio::test]
async fn unknown_wrong_and_foreign_logins_look_alike() {
    let system = up(&["edge.limits.address_attempts=1000"]).await;
    let mut answers = Vec::new();
    for (login, password, merchant) in [
        ("demo", "wrong", system.fact("merchant_id")),
        ("nobody", "wrong", system.fact("merchant_id")),
        ("x:nobody", "wrong", system.fact("merchant_id")),
        ("demo", system.fact("password"), "00000000-0000-4000-8000-000000000000"),
        ("demo", "", system.fact("merchant_id")),
    ] {
        let body = json!({ "login": login, "password": password, "merchant_id": merchant });
        let answer = post_json(&system.edge("/auth/v1/factors/credentials"), &[], &body).await.expect(401);
        let mut json = answer.json();
        json["request_id"] = "".into();
        let names: Vec<_> = answer.headers.iter().map(|(n, _)| n.clone()).collect();
        answers.push((json, names));
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
}
