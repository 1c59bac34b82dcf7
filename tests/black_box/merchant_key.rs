//! A merchant's key, exchanged for a token, used through the edge at the origin.

use crate::http::{basic, get, post_form, post_text, send};
use crate::system::{claims, up};
use serde_json::json;

#[tokio::test]
async fn a_key_becomes_a_token_that_the_edge_passes_to_the_origin() {
    let system = up(&[]).await;
    let authorization = basic(system.fact("key_id"), system.fact("key_secret"));
    let answer = post_form(
        &system.edge("/auth/oauth/token"),
        &[("authorization", &authorization)],
        &[("grant_type", "client_credentials")],
    )
    .await
    .expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(
        (body["token_type"].as_str(), body["scope"].as_str()),
        (Some("Bearer"), Some("read register write"))
    );
    assert!(body.get("refresh_token").is_none(), "RFC 6749 §4.4.3");
    let token = answer.text("access_token");
    let said = claims(&token);
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "merchant_id", "key_id"] {
        assert!(said.get(name).is_some(), "{name} is missing in {said}");
    }
    assert!(said.get("account_id").is_none() && said.get("sid").is_none());

    let echoed = system.call("/api/hello?a=b", &token).await.expect(200);
    assert_eq!(echoed.header("cache-control"), Some("private"));
    let headers = &echoed.json()["headers"];
    assert_eq!(headers["margrave-subject"], json!(format!("merchant:{}", system.fact("merchant_id"))));
    assert_eq!(headers["margrave-permissions"], json!("read register write"));
    assert_eq!(headers["margrave-account"], json!(""), "every identity header is there, the empty ones too");
    assert!(headers.get("authorization").is_none(), "the token stays at the border");
    assert_eq!(echoed.json()["query"], json!("a=b"));

    for (path, status, code) in [
        ("/api/full/x", 403, "insufficient_permission"),
        ("/api/admin/x", 403, "insufficient_permission"),
        ("/api/fresh/x", 401, "step_up_required"),
        ("/nowhere", 404, "not_found"),
    ] {
        let refused = system.call(path, &token).await.expect(status);
        assert_eq!(refused.code(), code, "{path}");
    }
    let anonymous = get(&system.edge("/api/hello"), &[]).await.expect(401);
    assert_eq!(anonymous.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    get(&system.edge("/public/hello"), &[]).await.expect(200);
    // Past the edge there is nothing.
    get(&format!("{}/api/hello", system.fact("origin")), &[]).await.expect(403);
    // The version is for callers only.
    get(&system.issuer("/api/version"), &[]).await.expect(401);
    let authorization = format!("Bearer {token}");
    get(&system.issuer("/api/version"), &[("authorization", &authorization)]).await.expect(200);
}

#[tokio::test]
async fn the_token_endpoint_refuses_what_is_not_one_clear_request() {
    let system = up(&[]).await;
    let url = system.issuer("/oauth/token");
    let good = basic(system.fact("key_id"), system.fact("key_secret"));
    let wrong = basic(system.fact("key_id"), &format!("mgk_{}", "A".repeat(43)));
    let unknown = basic("00000000-0000-4000-8000-000000000000", &format!("mgk_{}", "A".repeat(43)));
    let table = [
        (Some(&good), "grant_type=client_credentials", 200, ""),
        (Some(&good), "grant_type=client_credentials&scope=read", 200, ""),
        (Some(&good), "grant_type=client_credentials&scope=security", 400, "invalid_scope"),
        (Some(&good), "grant_type=client_credentials&scope=admin:read", 400, "invalid_scope"),
        (Some(&good), "grant_type=client_credentials&resource=other", 400, "invalid_target"),
        (Some(&good), "grant_type=password&username=a&password=b", 400, "unsupported_grant_type"),
        (Some(&good), "grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        (Some(&good), "scope=read", 400, "invalid_request"),
        (Some(&good), "grant_type=client_credentials&client_secret=x", 400, "invalid_request"),
        (None, "grant_type=client_credentials", 401, "invalid_client"),
        (Some(&wrong), "grant_type=client_credentials", 401, "invalid_client"),
        (Some(&unknown), "grant_type=client_credentials", 401, "invalid_client"),
    ];
    let media_type = "application/x-www-form-urlencoded";
    for (authorization, body, status, code) in table {
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = post_text(&url, &headers, media_type, body.to_owned()).await.expect(status);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{body}");
        if status != 200 {
            assert_eq!(answer.code(), code, "{body}");
        }
        if status == 401 {
            assert!(answer.header("www-authenticate").is_some(), "{body}");
        }
    }
    let headers = [("authorization", good.as_str())];
    post_text(&url, &headers, "application/json", "{}".into()).await.expect(415);
    post_text(&url, &headers, media_type, "a".repeat(1 << 20)).await.expect(413);
    get(&url, &[]).await.expect(405);
    // Unknown key and wrong secret are one answer.
    let body = |authorization: &str| {
        let authorization = authorization.to_owned();
        let url = url.clone();
        async move {
            post_form(&url, &[("authorization", &authorization)], &[("grant_type", "client_credentials")])
                .await
                .body
        }
    };
    assert_eq!(body(&wrong).await, body(&unknown).await);
}

#[tokio::test]
async fn a_rotated_key_overlaps_and_a_revoked_one_is_refused_at_the_edge() {
    let system = up(&[]).await;
    let merchant = system.fact("merchant_id").to_owned();
    let body = json!({ "permissions": ["read"] });
    let made = system.admin("POST", &format!("/merchants/{merchant}/keys"), Some(body)).await.expect(201);
    let (key, secret) = (made.text("key_id"), made.text("secret"));
    let exchange = |id: String, secret: String| {
        let url = system.issuer("/oauth/token");
        async move {
            let authorization = basic(&id, &secret);
            post_form(&url, &[("authorization", &authorization)], &[("grant_type", "client_credentials")])
                .await
        }
    };
    let token = exchange(key.clone(), secret.clone()).await.expect(200).text("access_token");
    system.call("/api/x", &token).await.expect(200);

    let rotated =
        system.admin("POST", &format!("/merchants/{merchant}/keys/{key}/rotate"), None).await.expect(201);
    exchange(rotated.text("key_id"), rotated.text("secret")).await.expect(200);
    exchange(key.clone(), secret.clone()).await.expect(200);
    system.admin("POST", &format!("/merchants/{merchant}/keys/{key}/rotate"), None).await.expect(409);

    system.admin("DELETE", &format!("/merchants/{merchant}/keys/{key}"), None).await.expect(204);
    exchange(key.clone(), secret).await.expect(401);
    let refused = crate::revocation::until_refused(&system, "/api/x", &token).await;
    assert_eq!(refused.code(), "invalid_token");
    // Nobody hands out what they do not hold, and a foreign merchant is not there.
    let own = system.key_token().await;
    let authorization = format!("Bearer {own}");
    let keys = system.issuer(&format!("/admin/v1/merchants/{merchant}/keys"));
    send("GET", &keys, &[("authorization", &authorization)], None).await.expect(403);
    let foreign = system.issuer("/admin/v1/merchants/00000000-0000-4000-8000-000000000000/keys");
    send("GET", &foreign, &[("authorization", &authorization)], None).await.expect(404);
}
