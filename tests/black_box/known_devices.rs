//! A person's known device is not kept out by what strangers do to the login (D3).

use crate::http::{Answer, Source, get, post_form, post_json, send, together};
use crate::system::{System, up, up_with};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WRONG: &str = "not the password";

impl System {
    /// Logs in and gives the device token as a browser holds it: its `Cookie` header.
    async fn known_device(&self, login: &str, password: &str) -> String {
        let security_token = self.attempt(login, password).await.expect(200).text("security_token");
        let answer = self.factors_grant(&security_token, &[]).await.expect(200);
        let cookie = answer.header("set-cookie").expect("a device token");
        assert!(cookie.ends_with("; Path=/; Max-Age=7776000; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(answer.header("margrave-device"), None);
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn attempt_of(&self, device: &str, login: &str, password: &str) -> Answer {
        self.attempt_from(login, password, &[("cookie", device)]).await
    }

    /// Wrong attempts of strangers until the login has none left.
    async fn use_up(&self, login: &str) {
        while self.attempt(login, WRONG).await.status == 401 {}
        self.attempt(login, WRONG).await.expect(429);
    }

    async fn move_clock(&self, seconds: u64) {
        let url = self.edge(&format!("/.margrave/drill/clock?ahead_ms={}", seconds * 1000));
        send("POST", &url, &[], None).await.expect(200);
    }
}

/// Long windows, so that nothing comes back while a test runs; many addresses' worth of attempts.
const LONG: [&str; 3] = [
    "edge.limits.account_window_s=86400",
    "edge.limits.address_window_s=86400",
    "edge.limits.address_attempts=1000",
];

#[tokio::test]
async fn the_owner_gets_in_through_a_flood_of_ten_thousand_attempts() {
    let system = Arc::new(up(&LONG).await);
    let device = system.known_device("demo", system.fact("password")).await;
    let (left, admitted) = (Arc::new(AtomicUsize::new(10_000)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..32)
        .map(|i| {
            let (system, left, admitted) = (Arc::clone(&system), Arc::clone(&left), Arc::clone(&admitted));
            tokio::spawn(async move {
                let source = Source::at(&format!("127.0.0.{}", 2 + i % 8));
                let body =
                    json!({ "login": "demo", "password": WRONG, "merchant_id": system.fact("merchant_id") });
                let url = system.edge("/auth/v1/factors/credentials");
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                    let answer = source.post_json(&url, &[], &body).await;
                    if answer.status == 401 {
                        admitted.fetch_add(1, Ordering::SeqCst);
                    } else {
                        answer.expect(429);
                    }
                }
            })
        })
        .collect();
    let mut logins = 0;
    while left.load(Ordering::SeqCst) > 0 {
        // All of a login, not its first step only.
        let answer = system.attempt_of(&device, "demo", system.fact("password")).await.expect(200);
        system.factors_grant(&answer.text("security_token"), &[]).await.expect(200);
        logins += 1;
    }
    for task in flood {
        task.await.unwrap();
    }
    assert!(logins >= 10, "{logins}");
    assert_eq!(admitted.load(Ordering::SeqCst), 5);
    // From elsewhere even the owner has to wait.
    system.attempt("demo", system.fact("password")).await.expect(429);
}

#[tokio::test]
async fn a_device_has_five_attempts_of_its_own_and_is_a_stranger_after_ten() {
    let system = up_with(
        &["edge.limits.account_window_s=300", "edge.limits.address_attempts=1000"],
        &["--edge-build", "drill"],
    )
    .await;
    let device = system.known_device("demo", system.fact("password")).await;
    for round in 0..2 {
        system.move_clock(round * 400).await;
        for _ in 0..5 {
            system.attempt_of(&device, "demo", WRONG).await.expect(401);
        }
        if round == 0 {
            system.attempt_of(&device, "demo", system.fact("password")).await.expect(429);
        }
        // None of them was taken from the login.
        system.attempt("demo", system.fact("password")).await.expect(200);
    }
    // Ten were wrong: from now on it draws from the login's attempts like anybody.
    system.move_clock(10_000).await;
    system.use_up("demo").await;
    system.attempt_of(&device, "demo", system.fact("password")).await.expect(429);
}

#[tokio::test]
async fn right_attempts_cost_a_device_nothing_and_it_knows_the_accounts_other_login() {
    let system = up(&LONG).await;
    let device = system.known_device("demo", system.fact("password")).await;
    let me = system.call("/auth/v1/me", &system.log_in().await.access).await.expect(200);
    system.use_up("demo").await;
    for login in ["demo", "DEMO", &me.text("x_address")] {
        for _ in 0..4 {
            system.attempt_of(&device, login, system.fact("password")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_token_of_another_login_or_a_forged_one_is_ignored() {
    let system = up(&LONG).await;
    let device = system.known_device("demo", system.fact("password")).await;
    system.register("somebody", "a password of somebody").await;
    system.use_up("somebody").await;
    system.attempt_of(&device, "somebody", "a password of somebody").await.expect(429);
    system.use_up("demo").await;
    let (name, token) = device.split_once('=').unwrap();
    let mut changed = token.to_owned().into_bytes();
    changed[20] ^= 1;
    for bad in [
        format!("{name}={}", String::from_utf8(changed).unwrap()),
        format!("{name}="),
        format!("x{name}={token}"),
    ] {
        system.attempt_of(&bad, "demo", system.fact("password")).await.expect(429);
    }
    // What a neighbour puts beside it takes nothing away.
    for device in [device.clone(), format!("a=1,{name}=x; {device}"), format!("{name}=x.y.{token}")] {
        system.attempt_of(&device, "demo", system.fact("password")).await.expect(200);
    }
    // The header by which halves speak of devices is not the client's to send.
    let account = system.command(&["accounts", "find", "demo"]).await;
    let claim = format!("{};0", account["account"]["id"].as_str().unwrap());
    let headers = [("margrave-device", claim.as_str())];
    system.attempt_from("demo", system.fact("password"), &headers).await.expect(429);
}

#[tokio::test]
async fn a_browser_may_have_several_people_and_other_sites_pages_none() {
    let system = up(&LONG).await;
    system.register("somebody", "a password of somebody").await;
    let first = system.known_device("demo", system.fact("password")).await;
    let grant = async |login: &str, password: &str, headers: &[(&str, &str)]| {
        let security_token = system.attempt(login, password).await.expect(200).text("security_token");
        let pairs = [
            ("grant_type", crate::system::FACTORS),
            ("client_id", system.fact("client_id")),
            ("security_tokens", security_token.as_str()),
        ];
        post_form(&system.edge("/auth/oauth/token"), headers, &pairs).await.expect(200)
    };
    let headers = [("cookie", first.as_str())];
    let both = grant("somebody", "a password of somebody", &headers).await;
    let both = both.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    // Logged in by a page of another site: the tokens are the attacker's own, the cookie stays the owner's.
    let cross = [("cookie", first.as_str()), ("sec-fetch-site", "cross-site")];
    let answer = grant("somebody", "a password of somebody", &cross).await;
    assert_eq!(answer.header("set-cookie"), None);
    for (login, password) in [("demo", system.fact("password")), ("somebody", "a password of somebody")] {
        system.use_up(login).await;
        system.attempt_of(&both, login, password).await.expect(200);
    }
    system.attempt_of(&first, "somebody", "a password of somebody").await.expect(429);
}

#[tokio::test]
async fn fifty_at_once_on_three_devices_are_counted_exactly() {
    let system = up(&LONG).await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        devices.push(system.known_device("demo", system.fact("password")).await);
    }
    let attempts = (0..50).map(|_| Box::pin(system.attempt_of(&devices[0], "demo", WRONG))).collect();
    let admitted = together(attempts).await.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(admitted, 5, "one device");
    let attempts = (0..50).map(|i| Box::pin(system.attempt_of(&devices[1 + i % 2], "demo", WRONG))).collect();
    let admitted = together(attempts).await.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(admitted, 5, "all devices of an account have ten");
    // The login's own attempts are untouched.
    system.attempt("demo", system.fact("password")).await.expect(200);
}

#[tokio::test]
async fn devices_are_strangers_after_a_new_password_and_after_that_was_not_me() {
    for way in ["password", "not me", "operator"] {
        let system = up(&LONG).await;
        let password = system.fact("password").to_owned();
        let device = system.known_device("demo", &password).await;
        let person = system.log_in().await;
        system.use_up("demo").await;
        system.attempt_of(&device, "demo", &password).await.expect(200);
        let authorization = format!("Bearer {}", person.access);
        let headers = [("authorization", authorization.as_str())];
        let devices = system.edge("/auth/v1/me/devices");
        let phone = json!({ "name": "My phone", "target": { "kind": "fcm", "token": "a-token-of-a-phone" } });
        post_json(&devices, &headers, &phone).await.expect(201);
        let listed = get(&devices, &headers).await.expect(200);
        assert_eq!(listed.json()["devices"][0]["name"], "My phone");
        assert!(!listed.body.contains("a-token"), "{}", listed.body);
        let account = get(&system.edge("/auth/v1/me"), &headers).await.expect(200).text("account_id");
        let mut now = password.clone();
        match way {
            "password" => {
                now = "another password of demo".to_owned();
                let body = json!({ "current": password, "new": now });
                send("POST", &system.edge("/auth/v1/password"), &headers, Some(body)).await.expect(204);
            }
            "not me" => {
                send("DELETE", &system.edge("/auth/v1/devices"), &headers, None).await.expect(204);
                // The session goes on.
                system.call("/api/x", &person.access).await.expect(200);
            }
            _ => {
                system.command(&["accounts", "forget-devices", &account]).await;
                // The edge hears of it with the first attempt.
                system.attempt_of(&device, "demo", WRONG).await.expect(401);
            }
        }
        system.attempt_of(&device, "demo", &now).await.expect(429);
        let path = format!("/accounts/{account}/devices");
        assert_eq!(system.admin("GET", &path, None).await.expect(200).json(), json!({ "devices": [] }));
    }
}

#[tokio::test]
async fn an_app_holds_its_device_token_in_a_header() {
    let system = up(&LONG).await;
    let security_token = system.security_token().await;
    let pairs = [
        ("grant_type", crate::system::FACTORS),
        ("client_id", system.fact("client_id")),
        ("security_tokens", security_token.as_str()),
    ];
    let url = system.edge("/auth/oauth/token");
    let answer = post_form(&url, &[("margrave-device", "none")], &pairs).await.expect(200);
    assert_eq!(answer.header("set-cookie"), None);
    let token = answer.header("margrave-device").expect("a device token").to_owned();
    system.use_up("demo").await;
    let headers = [("margrave-device", token.as_str())];
    system.attempt_from("demo", system.fact("password"), &headers).await.expect(200);
}

#[tokio::test]
async fn one_password_on_many_logins_is_held_from_one_address_and_from_a_hundred() {
    // 100 wrong attempts on the merchant's logins are an alarm, and then an address has one.
    let system = up(&[
        "edge.limits.address_attempts=10",
        "edge.limits.address_window_s=86400",
        "edge.limits.account_window_s=86400",
    ])
    .await;
    let device = system.known_device("demo", system.fact("password")).await;
    let url = system.edge("/auth/v1/factors/credentials");
    let attempt = async |source: &Source, login: &str, password: &str| {
        let body = json!({ "login": login, "password": password, "merchant_id": system.fact("merchant_id") });
        source.post_json(&url, &[], &body).await.status
    };
    let mut admitted = 0;
    for i in 0..1000 {
        admitted += usize::from(attempt(&Source::at("127.0.0.2"), &format!("one{i}"), WRONG).await == 401);
    }
    assert_eq!(admitted, 10, "from one address");
    let sources: Vec<_> = (0..100).map(|i| Source::at(&format!("127.0.1.{}", i + 1))).collect();
    for round in 0..5 {
        for (i, source) in sources.iter().enumerate() {
            admitted += usize::from(attempt(source, &format!("many{round}-{i}"), WRONG).await == 401);
        }
    }
    // A hundred until the alarm, and then those addresses that had not used their one attempt.
    assert!((100..=120).contains(&admitted), "{admitted} of 1500");
    // Nobody is refused for it: neither from an address that was not part of it, nor on a known device from one that was.
    assert_eq!(attempt(&Source::at("127.0.2.1"), "demo", system.fact("password")).await, 200);
    let body = json!({ "login": "demo", "password": system.fact("password"),
        "merchant_id": system.fact("merchant_id") });
    assert_eq!(sources[0].post_json(&url, &[], &body).await.status, 429);
    assert_eq!(sources[0].post_json(&url, &[("cookie", &device)], &body).await.status, 200);
    let log = system.edge_folder().join("workerd.log");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    assert!(log.contains("ALARM: many wrong passwords"), "{log}");
}

#[tokio::test]
async fn what_is_refused_makes_no_rows() {
    let system = up(&["edge.limits.address_attempts=4", "edge.limits.address_window_s=86400"]).await;
    let objects = || {
        let written = system.written();
        written.iter().filter(|(path, _)| path.to_string_lossy().contains("margrave-limiters")).count()
    };
    let mut admitted = 0;
    for i in 0..4 {
        system.attempt(&format!("nobody{i}"), WRONG).await.expect(401);
    }
    let before = objects();
    assert!(before > 0);
    for i in 0..400 {
        admitted += usize::from(system.attempt(&format!("somebody{i}"), WRONG).await.status == 401);
    }
    assert_eq!(admitted, 0);
    // A login's row lies in one of 256 objects: four hundred rows would have made most of them.
    assert_eq!(objects(), before);
}
