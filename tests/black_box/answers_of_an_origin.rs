//! What an origin answers reaches the client as it is, but for the headers that are not the origin's to set; what a client
//! sends reaches the origin whole.

use crate::forged::Forger;
use crate::http::{Answer, get, raw_answer, send};
use crate::keys_of_a_strange_issuer::StrangeIssuer;
use crate::system::edge;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::AppendHeaders;
use axum::routing::any;

/// "packed\n", as gzip writes it.
const PACKED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff+HL\xceNM\xe1\x02\x00C\xe0A/\x07\x00\x00\x00";

/// An origin whose answers put an edge to the test; gives its URL.
pub(crate) async fn origin() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cookies = AppendHeaders([
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "__Host-mg-session=stolen"),
        ("set-cookie", "b=2, 3"),
        ("__proto__", "x"),
        ("server", "banner"),
        ("cache-control", "public, max-age=60"),
        ("margrave-subject", "somebody"),
    ]);
    let router = Router::new()
        .route("/api/cookies", any(async move || (cookies, "cookies")))
        .route("/api/empty", any(async || StatusCode::NO_CONTENT))
        .route("/api/same", any(async || (StatusCode::NOT_MODIFIED, [("etag", "\"1\"")])))
        .route("/api/broken", any(async || (StatusCode::INTERNAL_SERVER_ERROR, "broken")))
        .route("/api/teapot", any(async || (StatusCode::IM_A_TEAPOT, "")))
        .route("/api/never", any(std::future::pending::<()>))
        .route("/api/packed", any(async || ([("content-encoding", "gzip")], PACKED)))
        .route("/api/gone", any(async || (StatusCode::FOUND, [("location", "https://elsewhere.example/")])))
        .route(
            "/api/echo",
            any(async |headers: HeaderMap, body: Bytes| {
                let names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
                format!("{} {}", body.len(), names.join(" "))
            }),
        );
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

#[tokio::test]
async fn answers_pass_and_bodies_pass() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = edge(&issuer.url, &origin().await, &[]).await;
    let bearer = format!("Bearer {}", forger.token(&issuer.url));
    let call = async |method: &str, path: &str, more: &[(&str, &str)]| -> Answer {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(more);
        send(method, &system.edge(path), &headers, None).await
    };
    let values = |answer: &Answer, name: &str| -> Vec<String> {
        answer.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    };

    let cookies = call("GET", "/api/cookies", &[]).await.expect(200);
    assert_eq!(cookies.body, "cookies");
    assert_eq!(values(&cookies, "set-cookie"), ["a=1; Path=/", "b=2, 3"]);
    assert_eq!(values(&cookies, "__proto__"), ["x"]);
    assert_eq!(values(&cookies, "cache-control"), ["private, max-age=60"]);
    assert_eq!(values(&cookies, "content-type"), ["text/plain; charset=utf-8"]);
    for name in ["server", "margrave-subject"] {
        assert!(values(&cookies, name).is_empty(), "{name}");
    }
    assert_eq!(values(&cookies, "margrave-request-id").len(), 1);

    for (path, status, body) in [
        ("/api/empty", 204, ""),
        ("/api/same", 304, ""),
        ("/api/broken", 500, "broken"),
        ("/api/teapot", 418, ""),
        ("/api/gone", 302, ""),
        ("/api/unknown", 404, ""),
    ] {
        let answer = call("GET", path, &[]).await.expect(status);
        assert_eq!(answer.body, body, "{path}");
    }
    let head = call("HEAD", "/api/cookies", &[]).await.expect(200);
    assert_eq!((head.body.as_str(), head.header("content-length")), ("", Some("7")));

    // Bodies: none, of known length, in chunks; and a GET with one, which is refused.
    let echo = call("POST", "/api/echo", &[("__proto__", "y"), ("x-own", "1")]).await.expect(200);
    assert!(echo.body.starts_with("0 ") && echo.body.contains(" __proto__") && echo.body.contains(" x-own"));
    let base = system.fact("edge");
    let raw = async |head: &str, body: &str| {
        let request = format!(
            "{head} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nAuthorization: {bearer}\r\n{body}"
        );
        raw_answer(base, &request).await
    };
    let chunked =
        raw("PUT /api/echo", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
            .await;
    assert!(chunked.contains(" 200 ") && chunked.contains("11 "), "{chunked}");
    let known = raw("DELETE /api/echo", "Content-Length: 3\r\n\r\nabc").await;
    assert!(known.contains(" 200 ") && known.contains("3 "), "{known}");
    let nothing = raw("GET /api/echo", "Content-Length: 0\r\n\r\n").await;
    assert!(nothing.contains(" 200 "), "{nothing}");
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let refused = raw("GET /api/echo", body).await;
        assert!(refused.contains(" 400 ") && refused.contains("ambiguous_request"), "{refused}");
    }
}

#[tokio::test]
async fn what_an_origin_has_packed_arrives_packed() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = edge(&issuer.url, &origin().await, &[]).await;
    let token = forger.token(&issuer.url);
    // Asked for or not: an origin that packs without being asked is not the edge's to correct.
    for accept in ["Accept-Encoding: gzip\r\n", ""] {
        let request = format!(
            "GET /api/packed HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{accept}\r\n"
        );
        let answer = crate::http::raw_bytes(system.fact("edge"), &request).await;
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{head}");
        assert!(answer.windows(PACKED.len()).any(|bytes| bytes == PACKED), "{head}");
    }
}

#[tokio::test]
async fn an_origin_that_never_answers_is_a_timeout_whether_or_not_anybody_still_waits() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = edge(&issuer.url, &origin().await, &[]).await;
    let token = forger.token(&issuer.url);
    let impatient: Vec<_> = (0..50)
        .map(|_| {
            let (url, token) = (system.edge("/api/never"), token.clone());
            tokio::spawn(async move { get(&url, &[("authorization", &format!("Bearer {token}"))]).await })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    impatient.iter().for_each(tokio::task::JoinHandle::abort);
    // They went away, and the edge serves on.
    system.call("/api/cookies", &token).await.expect(200);
    let bearer = format!("Bearer {token}");
    let client = reqwest::Client::new();
    let request = client.get(system.edge("/api/never")).header("authorization", bearer);
    let answer = request.timeout(std::time::Duration::from_secs(45)).send().await.unwrap();
    assert_eq!(answer.status(), 504);
    assert!(answer.text().await.unwrap().contains("upstream_timeout"));
    system.call("/api/cookies", &token).await.expect(200);
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_unavailable() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = edge(&issuer.url, "http://127.0.0.1:9", &[]).await;
    let answer = system.call("/api/x", &forger.token(&issuer.url)).await.expect(502);
    assert_eq!(answer.code(), "upstream_unavailable");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&[]).await;
    let authority = system.fact("edge").strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let half = format!(
        "POST /auth/v1/factors/credentials HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"login\""
    );
    stream.write_all(half.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 4096];
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read(&mut bytes)).await;
    let length = read.expect("it still waits").unwrap();
    let answer = String::from_utf8_lossy(&bytes[..length]);
    assert!(answer.contains(" 400 ") && answer.contains("invalid_request"), "{answer}");
}
