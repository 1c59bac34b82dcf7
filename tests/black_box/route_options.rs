//! What an application may ask of a route beside permissions: anonymous callers, a trial, pages of other origins, limits.

use crate::answers_of_an_origin::origin;
use crate::forged::Forger;
use crate::http::{Source, get, raw_answer, send, together};
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
    assert!(log.contains("would be refused without mode = 'report': invalid_token 1"), "{log}");
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
    // Who does not get on with an undeclared body is not read any longer.
    let slow = format!(
        "POST /api/echo HTTP/1.1\r\nHost: edge\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    );
    for answer in together((0..40).map(|_| Box::pin(raw_answer(base, &slow))).collect()).await {
        let late = answer.starts_with("HTTP/1.1 504 ") && answer.contains("upstream_timeout");
        let busy = answer.starts_with("HTTP/1.1 503 ") && answer.contains("state_unavailable");
        assert!(late || busy, "{answer}");
    }
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

#[tokio::test]
async fn a_route_leads_to_its_own_origin_with_a_key_and_an_audience_of_its_own() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let (first, crm) = (recording_origin("first").await, recording_origin("crm").await);
    let system = edge(
        &issuer.url,
        &first,
        &[
            &format!("edge.origins.crm={{url='{crm}', audience='crm'}}"),
            "edge.route=[{path='/api/*'}, {path='/crm/*', origin='crm'}, {path='/public/*', public=true, origin='crm'}]",
        ],
    )
    .await;
    let token = |aud: &str| {
        let mut claims = forger.claims(&issuer.url);
        claims["aud"] = aud.into();
        forger.sign(&forger.header(), &claims.to_string())
    };
    for (path, aud, answer) in [
        ("/api/x", "margrave-demo", Some(("first", "demo-1"))),
        ("/crm/x", "crm", Some(("crm", "crm-1"))),
        ("/api/x", "crm", None),
        ("/crm/x", "margrave-demo", None),
        ("/crm/x", "another", None),
    ] {
        let got = system.call(path, &token(aud)).await;
        match answer {
            None => assert_eq!(got.expect(401).code(), "invalid_token", "{path} {aud}"),
            Some((origin, key)) => {
                let said = got.expect(200).json();
                assert_eq!(said["origin"], origin, "{path} {aud}");
                let input = said["signature-input"].as_str().unwrap();
                assert!(input.contains(&format!("keyid=\"{key}\"")), "{input}");
                let url = if origin == "crm" { &crm } else { &first };
                assert_eq!(said["host"].as_str(), url.strip_prefix("http://"));
            }
        }
    }
    assert_eq!(get(&system.edge("/public/x"), &[]).await.expect(200).json()["origin"], "crm");
}

/// An origin that says who it is and what it was sent.
async fn recording_origin(name: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = async move |headers: axum::http::HeaderMap| {
        let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
        serde_json::json!({ "origin": name, "host": text("host"), "signature-input": text("signature-input") })
            .to_string()
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    url
}

#[tokio::test]
async fn where_errors_are_general_an_origins_refusals_all_look_alike() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let refuse = async |axum::extract::Path(status): axum::extract::Path<u16>| {
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        (status, [("set-cookie", "known=1"), ("x-reason", "exists")], "the card exists")
    };
    let router = axum::Router::new().route(
        "/{place}/{status}",
        axum::routing::any(
            async move |axum::extract::Path((_, status)): axum::extract::Path<(String, u16)>| {
                refuse(axum::extract::Path(status)).await
            },
        ),
    );
    tokio::spawn(axum::serve(listener, router).into_future());
    let routes =
        "edge.route=[{path='/api/*', errors='general'}, {path='/public/*', public=true, errors='general'}]";
    let system = edge(&issuer.url, &origin, &[routes]).await;
    let token = |scope: &str| {
        let mut claims = forger.claims(&issuer.url);
        claims["scope"] = scope.into();
        claims["client_id"] = "app-1".into();
        forger.sign(&forger.header(), &claims.to_string())
    };
    let mut seen = Vec::new();
    for status in [400, 401, 403, 404, 409, 422, 429, 451] {
        for path in [format!("/api/{status}"), format!("/public/{status}")] {
            let answer = system.call(&path, &token("read")).await.expect(400);
            assert_eq!(answer.code(), "request_refused");
            let mut body = answer.json();
            body["request_id"] = "".into();
            let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
            seen.push((body, names));
        }
        let explicit = system.call(&format!("/api/{status}"), &token("errors:explicit read")).await;
        assert_eq!((explicit.status, explicit.body.as_str()), (status, "the card exists"));
        assert_eq!(explicit.header("x-reason"), Some("exists"));
    }
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:?}");
    // What is no refusal of the caller's passes.
    assert_eq!(system.call("/api/200", &token("read")).await.expect(200).body, "the card exists");
    assert_eq!(system.call("/api/503", &token("read")).await.expect(503).body, "the card exists");
}

#[tokio::test]
async fn a_limited_route_counts_by_account_and_by_address() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let origin = recording_origin("x").await;
    let routes = "edge.route=[{path='/api/cards/*', limit='4/1h'}, {path='/api/*'}, \
                  {path='/public/*', public=true, limit='2/1h'}]";
    let system = edge(&issuer.url, &origin, &[routes]).await;
    let token = |sub: &str| {
        let mut claims = forger.claims(&issuer.url);
        (claims["sub"], claims["account_id"]) = (sub.into(), sub.into());
        forger.sign(&forger.header(), &claims.to_string())
    };
    let status_at = async |address: &str, path: &str, token: &str| {
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Source::at(address).get(&system.edge(path), &headers).await
    };
    let (one, two) = (token("acc-1"), token("acc-2"));
    // One account from several addresses.
    for address in ["127.0.3.1", "127.0.3.2", "127.0.3.3", "127.0.3.4"] {
        status_at(address, "/api/cards/x", &one).await.expect(200);
    }
    let refused = status_at("127.0.3.5", "/api/cards/x", &one).await.expect(429);
    assert_eq!(refused.code(), "too_many_attempts");
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((800..=900).contains(&wait), "a quarter of the window, not {wait}");
    // One address with several accounts: the refused request above took nothing from it.
    for account in ["acc-3", "acc-4", "acc-5", "acc-6"] {
        status_at("127.0.3.5", "/api/cards/y", &token(account)).await.expect(200);
    }
    status_at("127.0.3.5", "/api/cards/x", &two).await.expect(429);
    // Who is refused for another reason is not counted, other routes are not, and each has a count of its own.
    for _ in 0..5 {
        status_at("127.0.3.6", "/api/cards/x", "forged").await.expect(401);
        status_at("127.0.3.5", "/api/x", &one).await.expect(200);
    }
    status_at("127.0.3.6", "/api/cards/x", &two).await.expect(200);
    for status in [200, 200, 429] {
        status_at("127.0.3.7", "/public/x", "").await.expect(status);
    }
    // Fifty at once: exactly four.
    let three = token("acc-7");
    let headers = [("authorization", format!("Bearer {three}"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let (source, url) = (Source::at("127.0.3.8"), system.edge("/api/cards/z"));
    let answers = together((0..50).map(|_| Box::pin(source.get(&url, &headers))).collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 4);
}
