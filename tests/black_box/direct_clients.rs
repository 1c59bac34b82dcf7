//! Clients that reach the issuer without an edge: counted by the same rule, or refused before any work.

use crate::http::{Answer, post_form, post_json, send, together};
use crate::system::{System, free_address, new_database, up, up_with};
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

impl System {
    async fn attempt_at(&self, issuer: &str, login: &str, password: &str) -> Answer {
        let body = json!({ "login": login, "password": password, "merchant_id": self.fact("merchant_id") });
        post_json(&format!("{issuer}/v1/factors/credentials"), &[], &body).await
    }
}

async fn fifty_at_two_issuers(options: &[&str]) {
    let system = up_with(
        &[
            "edge.limits.account_attempts=5",
            "edge.limits.account_window_s=3600",
            "edge.limits.address_attempts=1000",
        ],
        options,
    )
    .await;
    let settings =
        [("MARGRAVE_LIMITS__ACCOUNT_WINDOW_S", "3600"), ("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "1000")];
    let (_second, second) = system.another_issuer(&settings).await;
    let (first, username) = (system.issuer(""), system.fact("username"));
    // The right password costs nothing.
    for _ in 0..7 {
        system.attempt_at(&first, username, system.fact("password")).await.expect(200);
    }
    let attempts = (0..50)
        .map(|i| Box::pin(system.attempt_at(if i % 2 == 0 { &first } else { &second }, username, "wrong")));
    let mut admitted = 0;
    for answer in together(attempts.collect()).await {
        if answer.status == 401 {
            admitted += 1;
            continue;
        }
        let refused = answer.expect(429);
        assert_eq!(refused.code(), "too_many_attempts");
        let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((700..=720).contains(&wait), "a fifth of the window, not {wait}");
    }
    assert_eq!(admitted, 5);
    system.attempt_at(&second, username, system.fact("password")).await.expect(429);
    // The edge counts what comes through it by itself.
    system.attempt(username, system.fact("password")).await.expect(200);
}

#[tokio::test]
async fn fifty_at_once_at_two_issuers_are_counted_exactly_on_sqlite() {
    fifty_at_two_issuers(&[]).await;
}

#[tokio::test]
async fn fifty_at_once_at_two_issuers_are_counted_exactly_on_postgres() {
    fifty_at_two_issuers(&["--postgres", &new_database()]).await;
}

#[tokio::test]
async fn every_route_on_which_a_secret_is_tried_counts_a_direct_client() {
    let settings = ["edge.limits.address_attempts=3", "edge.limits.address_window_s=3600"];
    let session = async |system: &System| format!("Bearer {}", system.log_in().await.access);
    for route in ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/v1/password"] {
        let system = up(&settings).await;
        let url = system.issuer(route);
        let bearer = session(&system).await;
        let basic = "Basic ZGVtbzp3cm9uZw==";
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let answer = if route == "/v1/password" {
                let body = json!({ "current": "wrong", "new": "another password of mine" });
                post_json(&url, &[("authorization", &bearer)], &body).await
            } else {
                let form = [("grant_type", "client_credentials"), ("token", "x")];
                post_form(&url, &[("authorization", basic)], &form).await
            };
            statuses.push(answer.status);
        }
        assert_eq!(statuses, [401, 401, 401, 429, 429], "{route}");
    }
}

/// An issuer that serves edges only.
#[tokio::test]
async fn what_no_edge_has_signed_is_refused_before_its_body_is_read() {
    let system = up(&[]).await;
    let listen = free_address();
    let mut command = Command::new(system.program());
    command.arg("serve").env_remove("MARGRAVE_XTASK").envs(system.issuer_environment());
    command.env("MARGRAVE_LISTEN", &listen).env("MARGRAVE_DIRECT", "false");
    let _issuer = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    for _ in 0..100 {
        if TcpStream::connect(&listen).await.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for route in
        ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/v1/factors/credentials", "/v1/password"]
    {
        let mut stream = TcpStream::connect(&listen).await.unwrap();
        // The body never comes.
        let head =
            format!("POST {route} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 60000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(std::time::Duration::from_secs(5), read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{route}: {answer}");
        assert!(answer.contains("\"edge_required\""), "{route}: {answer}");
        // Something that looks like a signature and is none does not help.
        let forged = [("signature-input", "sig1=()"), ("signature", "sig1=:AAAA:")];
        let answer = send("POST", &format!("http://{listen}{route}"), &forged, None).await;
        assert!([401, 403].contains(&answer.status), "{route}: {}", answer.status);
    }
    // What is public stays so.
    send("GET", &format!("http://{listen}/.well-known/jwks.json"), &[], None).await.expect(200);
}
