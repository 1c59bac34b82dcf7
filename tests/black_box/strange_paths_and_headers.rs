//! Paths and headers that two programs could read differently.

use crate::http::{get, raw, send};
use crate::system::up;
use serde_json::Value;

#[tokio::test]
async fn a_path_has_one_reading() {
    let system = up(&[]).await;
    let token = system.key_token().await;
    let ask = async |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\n\r\n");
        let line = raw(system.fact("edge"), &request).await;
        line.split(' ').nth(1).unwrap_or("").to_owned()
    };
    for (target, status) in [
        ("/api/x", "200"),
        ("/API/x", "200"),
        ("/%61pi/x", "200"),
        ("/api/admin/x", "403"),
        ("/API/ADMIN/x", "403"),
        ("/api/%61dmin/x", "403"),
        ("/api/admin", "403"),
        ("/api/admin/", "403"),
        ("/public/../api/admin/x", "400"),
        ("/public/%2e%2e/api/admin/x", "400"),
        ("/public/..%2fapi/admin/x", "400"),
        ("/api//admin/x", "400"),
        ("//api/admin/x", "400"),
        ("/api/./admin/x", "400"),
        ("/api/admin;x=1", "400"),
        ("/api/admin%3bx", "400"),
        ("/api\\admin/x", "400"),
        ("/api%5cadmin", "400"),
        ("/api%2fadmin", "400"),
        ("/api/%252e%252e/x", "400"),
        ("/api/x%00", "400"),
        ("/api/x%0d%0a", "400"),
    ] {
        assert_eq!(ask(target).await, status, "{target}");
    }
    // A host that ends in a dot is another name for the same place.
    let request = format!("GET /api/x HTTP/1.1\r\nHost: localhost.\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert!(raw(system.fact("edge"), &request).await.contains(" 400 "));
    for method in ["TRACE", "CONNECT", "BREW"] {
        let request =
            format!("{method} /api/x HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\n\r\n");
        let line = raw(system.fact("edge"), &request).await;
        assert!(!line.contains(" 200 "), "{method}: {line}");
    }
}

#[tokio::test]
async fn forged_identity_never_reaches_the_origin() {
    let system = up(&[]).await;
    let token = system.key_token().await;
    let authorization = format!("Bearer {token}");
    let forged = [
        ("margrave-subject", "forged"),
        ("Margrave-Account", "forged"),
        ("margrave_account", "forged"),
        ("MARGRAVE-PERMISSIONS", "forged"),
        ("margrave-anything", "forged"),
        ("x-forwarded-for", "forged"),
        ("x_forwarded_for", "forged"),
        ("x-forwarded-host", "forged"),
        ("forwarded", "for=forged"),
        ("x-real-ip", "forged"),
        ("true-client-ip", "forged"),
        ("cf-connecting-ip", "forged"),
        ("cf_ray", "forged"),
        ("signature", "margrave=:forged:"),
        ("signature-input", "margrave=forged"),
        ("x-http-method-override", "forged"),
        ("x-original-url", "/forged"),
        ("cookie", "a=1; __Host-mg-session=forged; b=2"),
        ("connection", "x-nominated"),
        ("x-nominated", "forged"),
        ("x-ordinary", "kept"),
    ];
    for with_token in [true, false] {
        let mut headers = forged.to_vec();
        let path = if with_token { "/api/x" } else { "/public/x" };
        if with_token {
            headers.push(("authorization", &authorization));
        }
        let echoed = get(&system.edge(path), &headers).await.expect(200);
        let received = echoed.json()["headers"].clone();
        assert!(!received.to_string().contains("forged"), "{received}");
        assert_eq!(received["x-ordinary"], Value::from("kept"));
        assert_eq!(received["cookie"], Value::from("a=1; b=2"));
        assert_eq!(received["margrave-client-address"], Value::from("127.0.0.1"));
        if !with_token {
            assert!(received.get("margrave-subject").is_none(), "public routes carry no identity");
            assert!(received.get("authorization").is_none());
        }
    }
    // On a public route a credential is removed, whatever it is.
    let echoed = get(&system.edge("/public/x"), &[("authorization", &authorization)]).await.expect(200);
    assert!(!echoed.body.contains(&token));
}

#[tokio::test]
async fn two_credentials_are_an_error_and_so_is_one_in_the_query() {
    let system = up(&[]).await;
    let token = system.key_token().await;
    let value = format!("Bearer {token}");
    let twice = get(&system.edge("/api/x"), &[("authorization", &value), ("authorization", &value)]).await;
    assert_eq!(twice.expect(400).code(), "ambiguous_request");
    get(&system.edge(&format!("/api/x?access_token={token}")), &[]).await.expect(401);
    let body = Some(serde_json::json!({ "access_token": token }));
    send("POST", &system.edge("/api/x"), &[], body).await.expect(401);
    // A huge header is refused and the next request is served.
    let huge = format!("Bearer {}", "a".repeat(30_000));
    get(&system.edge("/api/x"), &[("authorization", &huge)]).await.expect(401);
    get(&system.edge("/api/x"), &[("authorization", &value)]).await.expect(200);
}

#[tokio::test]
async fn only_public_routes_of_the_issuer_are_reached_through_the_edge() {
    let system = up(&[]).await;
    let token = system.admin_token().await;
    let authorization = format!("Bearer {token}");
    for path in [
        "/auth/admin/v1/merchants",
        "/auth/v1/edge/events",
        "/auth/readyz",
        "/auth/healthz",
        "/auth/",
        "/auth",
    ] {
        get(&system.edge(path), &[("authorization", &authorization)]).await.expect(404);
    }
    get(&system.edge("/auth/.well-known/jwks.json"), &[]).await.expect(200);
    let metadata = get(&system.edge("/auth/.well-known/oauth-authorization-server"), &[]).await.expect(200);
    assert_eq!(metadata.text("issuer"), system.fact("issuer"));
    let version = env!("CARGO_PKG_VERSION");
    for answer in [&metadata, &get(&system.issuer("/healthz"), &[]).await] {
        assert!(!answer.body.contains(version) && answer.headers.iter().all(|(_, v)| !v.contains(version)));
        assert!(answer.header("server").is_none());
    }
    // An edge's routes need an edge's signature.
    get(&system.issuer("/v1/edge/events"), &[]).await.expect(403);
}
