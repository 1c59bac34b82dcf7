//! What an application may ask of a route beside permissions: anonymous callers, a trial, pages of other origins, limits.

use crate::answers_of_an_origin::origin;
use crate::forged::Forger;
use crate::http::{get, raw_answer, send};
use crate::keys_of_a_strange_issuer::StrangeIssuer;
use crate::system::{System, edge, up};
use std::time::{Duration, Instant};

async fn with_routes(routes: &str) -> System {
    up(&[&format!("edge.route=[{routes}]")]).await
}

#[tokio::test]
async fn who_comes_without_a_credential_passes_an_optional_route_as_nobody() {
    let system = with_routes(
        "{path='/api/*', auth='optional'}, {path='/api/read/*', auth='optional', permissions=['admin:read']}",
    )
    .await;
    // The demo origin takes only what is signed: it knows that nobody is nobody.
    let forged = [("margrave-subject", "account:somebody"), ("cookie", "a=1")];
    let nobody = get(&system.edge("/api/x"), &forged).await.expect(200);
    assert_eq!(nobody.json()["headers"]["margrave-subject"], "");
    assert_eq!(nobody.json()["headers"]["margrave-permissions"], "");
    // The answer depends on who asks, in a browser's own cache too.
    assert_eq!(nobody.header("cache-control"), Some("private"));
    assert_eq!(nobody.header("vary"), Some("Authorization"));
    get(&system.edge("/api/read/x"), &[]).await.expect(200);
    // What is there is judged.
    let token = system.key_token().await;
    let known = system.call("/api/x", &token).await.expect(200);
    assert!(known.json()["headers"]["margrave-subject"].as_str().unwrap().starts_with("merchant:"));
    assert_eq!(system.call("/api/read/x", &token).await.expect(403).code(), "insufficient_permission");
    for bad in ["Bearer x", "Basic eDp5", "x", "Bearer"] {
        let answer = get(&system.edge("/api/x"), &[("authorization", bad)]).await.expect(401);
        assert_eq!(answer.code(), "invalid_token", "{bad}");
    }
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    let bearer = format!("Bearer {}", person.access);
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &bearer)], None).await.expect(204);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    system.call("/api/x", &person.access).await.expect(401);
}

#[tokio::test]
async fn a_route_on_trial_refuses_nobody_vouches_for_nobody_and_says_so() {
    let system = with_routes("{path='/public/trial/*', mode='report', permissions=['admin:read']}").await;
    let token = system.key_token().await;
    for headers in [
        vec![],
        vec![("authorization", format!("Bearer {token}"))],
        vec![("authorization", "Bearer x".into())],
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(n, v): &(&str, String)| (*n, v.as_str())).collect();
        let answer = get(&system.edge("/public/trial/x"), &headers).await.expect(200);
        for name in ["margrave-subject", "margrave-permissions", "authorization", "signature"] {
            assert!(answer.json()["headers"].get(name).is_none(), "{name}");
        }
    }
    // The administrator's token is good; still nobody vouches for it.
    let answer = system.call("/public/trial/x", &system.admin_token().await).await.expect(200);
    assert!(answer.json()["headers"].get("margrave-subject").is_none());
    let log = std::fs::read_to_string(system.edge_folder().join("workerd.log")).unwrap();
    assert!(log.contains("NOT GUARDED: /public/trial/*"), "{log}");
    assert!(log.contains("would be refused without mode = \"report\": invalid_token 1"), "{log}");
}

#[tokio::test]
async fn pages_of_named_origins_may_use_a_route_and_read_its_refusals() {
    let cors = "cors={origins=['https://app.example'], methods=['GET','PUT'], headers=['authorization'], credentials=true}";
    let system = with_routes(&format!("{{path='/api/*', {cors}}}, {{path='/other/*'}}")).await;
    let (good, bad) = ("https://app.example", "https://evil.example");
    let ask = async |path: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        send("OPTIONS", &system.edge(path), &headers, None).await
    };
    let preflight = ask("/api/x", good).await.expect(204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(good));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    assert_eq!(preflight.header("vary"), Some("Origin"));
    let refused = ask("/api/x", bad).await.expect(204);
    assert!(!refused.headers.iter().any(|(name, _)| name.starts_with("access-control-")));
    assert_eq!(refused.header("vary"), Some("Origin"));
    // Elsewhere, and without being a browser's question, OPTIONS is a request like any other.
    ask("/other/x", good).await.expect(401);
    send("OPTIONS", &system.edge("/api/x"), &[("origin", good)], None).await.expect(401);

    let bearer = format!("Bearer {}", system.key_token().await);
    for (origin, allowed) in [(good, Some(good)), (bad, None)] {
        let headers = [("origin", origin), ("authorization", bearer.as_str())];
        for (answer, status) in [
            (get(&system.edge("/api/x"), &headers).await, 200),
            (get(&system.edge("/api/x"), &headers[..1]).await, 401),
            (get(&system.edge("/api/%00"), &headers).await, 400),
        ] {
            let answer = answer.expect(status);
            let allowed = allowed.filter(|_| status != 400);
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin} {status}");
        }
    }
    // Not even for a good origin where the route does not say so.
    let headers = [("origin", good), ("authorization", bearer.as_str())];
    let other = get(&system.edge("/other/x"), &headers).await.expect(200);
    assert!(other.header("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn a_route_bounds_what_goes_to_its_origin_and_how_long_that_may_take() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let cors = "cors={origins=['*']}";
    let routes = format!("edge.route=[{{path='/api/*', timeout_ms=300, max_body=1000, {cors}}}]");
    let system = edge(&issuer.url, &origin().await, &[&routes]).await;
    let bearer = format!("Bearer {}", forger.token(&issuer.url));
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let began = Instant::now();
    let late = get(&system.edge("/api/never"), &[("authorization", &bearer)]).await.expect(504);
    assert_eq!(late.code(), "upstream_timeout");
    assert_eq!(late.header("access-control-allow-origin"), Some("*"));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let base = system.fact("edge");
    let head =
        format!("POST /api/echo HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: {bearer}\r\n");
    let declared = |length: usize| format!("{head}Content-Length: {length}\r\n\r\n{}", "x".repeat(length));
    let chunked = |chunks: usize| {
        let body = format!("64\r\n{}\r\n", "x".repeat(100)).repeat(chunks);
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
    };
    let twice = format!("{head}Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let more = format!(
        "{head}Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2000)
    );
    let bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "1\r\nx\r\n".repeat(900));
    for (request, status, said) in [
        // The runtime goes by the chunks and hides the other length.
        (twice, "200", "0 content-length"),
        (more, "413", "payload_too_large"),
        (bytes, "200", "900 "),
        (declared(1000), "200", "1000 "),
        (declared(1001), "413", "payload_too_large"),
        (chunked(10), "200", "1000 "),
        (chunked(11), "413", "payload_too_large"),
        (chunked(500), "413", "payload_too_large"),
    ] {
        let answer = raw_answer(base, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(said), "{answer}");
    }
}
