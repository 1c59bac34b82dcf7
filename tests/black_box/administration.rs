//! What administrators do over HTTP, and what it means at the edge.

use crate::http::{Answer, basic, get, post_form, post_json, send};
use crate::revocation::until_refused;
use crate::system::{System, free_address, up};
use margrave_shared::base64;
use serde_json::{Value, json};
use std::time::Duration;

impl System {
    /// Changes what has a version.
    async fn change(&self, path: &str, body: Value) -> Answer {
        let authorization = format!("Bearer {}", self.admin_token().await);
        let url = self.issuer(&format!("/admin/v1{path}"));
        let shown = get(&url, &[("authorization", &authorization)]).await.expect(200);
        let headers =
            [("authorization", authorization.as_str()), ("if-match", shown.header("etag").unwrap())];
        send("PUT", &url, &headers, Some(body)).await
    }
}

#[tokio::test]
async fn a_role_opens_a_route_and_closes_it_within_a_second() {
    let system = up(&[]).await;
    let merchant = system.fact("merchant_id").to_owned();
    let credentials = json!({ "any_of": [["credentials"]] });
    // For the test administration wants no second factor, since there is none yet.
    let policy = json!({ "read": credentials, "write": credentials, "admin:read": credentials });
    let settings = json!({ "name": "Demo", "settings": { "factor_policy": policy } });
    system.change(&format!("/merchants/{merchant}"), settings).await.expect(200);
    let before = system.log_in().await;
    let refused = system.call("/api/admin/x", &before.access).await.expect(403);
    assert_eq!(refused.code(), "insufficient_permission", "a policy alone gives no right over the system");

    let roles = format!("/merchants/{merchant}/roles");
    let role = json!({ "name": "auditor", "permissions": ["admin:read"] });
    system.admin("POST", &roles, Some(role)).await.expect(201);
    let me =
        get(&system.edge("/auth/v1/me"), &[("authorization", &format!("Bearer {}", before.access))]).await;
    let account = me.expect(200).text("account_id");
    let rights = format!("/accounts/{account}/rights");
    system.change(&rights, json!({ "roles": ["auditor"] })).await.expect(200);
    assert_eq!(until_refused(&system, "/api/x", &before.access).await.code(), "session_ended");
    // What somebody is told of a refusal through the edge is what the audit knows it by.
    let wrong = system.attempt(system.fact("username"), "wrong").await.expect(401);
    let id = wrong.text("request_id");
    assert_eq!(wrong.header("margrave-request-id"), Some(id.as_str()));
    let found = system.admin("GET", &format!("/audit?request_id={id}"), None).await.expect(200).json();
    assert_eq!(found["entries"][0]["act"], "factor.credentials", "{found}");
    let auditor = system.log_in().await;
    system.call("/api/admin/x", &auditor.access).await.expect(200);

    system.change(&format!("{roles}/auditor"), json!({ "permissions": [] })).await.expect(200);
    assert_eq!(until_refused(&system, "/api/admin/x", &auditor.access).await.code(), "session_ended");
    let person = system.log_in().await;
    system.call("/api/admin/x", &person.access).await.expect(403);
    system.call("/api/x", &person.access).await.expect(200);

    // Everybody is out at once.
    let path = format!("/merchants/{merchant}/sessions");
    let ended = system.admin("DELETE", &path, None).await.expect(200);
    assert_eq!(ended.json()["accounts"], 1);
    assert_eq!(until_refused(&system, "/api/x", &person.access).await.code(), "session_ended");
    system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(400);
    system.log_in().await;
}

#[tokio::test]
async fn a_listener_of_its_own_serves_the_administration_and_another_the_metrics() {
    let (admin, metrics, first_metrics) = (free_address(), free_address(), free_address());
    let system = up(&[&format!("issuer.metrics_listen={first_metrics}")]).await;
    let settings = [("MARGRAVE_ADMIN_LISTEN", admin.as_str()), ("MARGRAVE_METRICS_LISTEN", metrics.as_str())];
    let (_issuer, issuer) = system.another_issuer(&settings).await;
    let authorization = format!("Bearer {}", system.admin_token().await);
    let headers = [("authorization", authorization.as_str())];
    assert_eq!(get(&format!("{issuer}/admin/v1/merchants"), &headers).await.expect(404).code(), "not_found");
    get(&format!("http://{admin}/admin/v1/merchants"), &headers).await.expect(200);
    for path in ["/oauth/token", "/v1/me", "/.well-known/jwks.json", "/metrics"] {
        get(&format!("http://{admin}{path}"), &headers).await.expect(404);
    }
    get(&format!("{issuer}/metrics"), &headers).await.expect(404);
    get(&format!("http://{metrics}/admin/v1/merchants"), &headers).await.expect(404);

    let merchant_id = system.fact("merchant_id");
    system.register("canary-person", "a rather long password").await;
    for (password, status) in [("wrong", 401), ("a rather long password", 200)] {
        let body = json!({ "login": "canary-person", "password": password, "merchant_id": merchant_id });
        post_json(&format!("{issuer}/v1/factors/credentials"), &[], &body).await.expect(status);
    }
    get(&format!("{issuer}/no/such/{}", "made-up".repeat(9)), &[]).await.expect(404);
    let key = basic(system.fact("key_id"), system.fact("key_secret"));
    let grant = [("grant_type", "client_credentials")];
    post_form(&format!("{issuer}/oauth/token"), &[("authorization", &key)], &grant).await.expect(200);
    let text = get(&format!("http://{metrics}/metrics"), &[]).await.expect(200).body;
    for line in [
        r#"margrave_logins_total{outcome="right"} 1"#,
        r#"margrave_logins_total{outcome="wrong"} 1"#,
        r#"margrave_requests_total{method="POST",route="/v1/factors/credentials",status="200"} 1"#,
        r#"margrave_requests_total{method="GET",route="none",status="404"}"#,
        "margrave_password_wait_seconds_count 2",
        r#"margrave_database_seconds_bucket{step="commit","#,
        r#"margrave_tokens_total{grant="client_credentials",outcome="right"} 1"#,
        r#"margrave_edge_silent_seconds{edge=""#,
        "margrave_feed_seq ",
        "margrave_audit_unsealed ",
        "margrave_signing_ready 1",
        "# HELP margrave_password_queue ",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    for secret in ["canary", "made-up", merchant_id] {
        assert!(!text.contains(secret), "{secret}");
    }
    // The edge calls the issuer that it was given, and has told this one nothing.
    let silent = async |listener: &str| -> f64 {
        let text = get(&format!("http://{listener}/metrics"), &[]).await.expect(200).body;
        let line = text.lines().find(|line| line.starts_with("margrave_edge_silent_seconds{")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    system.log_in().await;
    assert!(silent(&first_metrics).await < 1.0 && silent(&metrics).await > 1.0);
    // The break-glass is told by every issuer, whoever seals its entry.
    system.command(&["admin", "reset", "--reason", "the key is lost"]).await;
    system.command(&["audit", "head"]).await;
    for listener in [&metrics, &first_metrics] {
        let text = get(&format!("http://{listener}/metrics"), &[]).await.expect(200).body;
        let at = text.lines().find_map(|line| line.strip_prefix("margrave_admin_reset_timestamp_seconds "));
        let ago =
            std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - at.unwrap().parse::<f64>().unwrap();
        assert!((0.0..60.0).contains(&ago), "{ago}");
    }
    let log = async || std::fs::read_to_string(system.issuer_log()).unwrap();
    for _ in 0..100 {
        if log().await.contains("ALARM") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(log().await.matches("made themselves an administrator").count(), 1);
}

#[tokio::test]
async fn an_edges_key_is_changed_without_a_refused_request() {
    let mut system = up(&[]).await;
    let edges = system.command(&["edges", "list"]).await;
    let edge = edges["edges"][0]["edge_id"].as_str().unwrap().to_owned();
    let made = system.command(&["keys", "edge"]).await;
    let next = ["edges", "next-key", &edge, "--public-key", made["public_key"].as_str().unwrap()];
    system.command(&next).await;
    // With the old key, and then with the next one.
    system.log_in().await;
    let said = system.refused_command(&["edges", "drop-old-key", &edge]).await;
    assert!(said.contains("has not signed with its next key"), "{said}");
    let path = system.edge_folder().with_file_name("secrets.json");
    let mut secrets: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    secrets["edge_signing_key"] = made["signing_key"].clone();
    std::fs::write(&path, secrets.to_string()).unwrap();
    system.crash_and_restart("edge_pid").await;
    system.log_in().await;
    let is_seen = async || {
        let shown = system.admin("GET", &format!("/edges/{edge}"), None).await.expect(200).json();
        !shown["next_key_used_at"].is_null()
    };
    for _ in 0..100 {
        if is_seen().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.command(&["edges", "drop-old-key", &edge]).await;
    let person = system.log_in().await;
    system.refresh_at(&system.edge("/auth"), &person.refresh, &[]).await.expect(200);
    // What signed before counts no more: an edge that still had the old key would be refused.
    secrets["edge_signing_key"] = base64::encode_url(&[43; 32]).into();
    std::fs::write(&path, secrets.to_string()).unwrap();
    system.crash_and_restart("edge_pid").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = system.attempt(system.fact("username"), system.fact("password")).await;
    assert_ne!(refused.status, 200);
}
