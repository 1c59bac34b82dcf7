//! Requests that two programs could take for another number of requests, as raw bytes on a socket, against an origin that
//! records the bytes it is sent (H1, H5, H6 of ASVS 5.0 §4.2 and RFC 9112 §11.2).

use crate::forged::Forger;
use crate::http::raw_bytes;
use crate::keys_of_a_strange_issuer::StrangeIssuer;
use crate::system::{System, edge};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// An origin that takes bytes as they are, and answers each request with its target.
#[derive(Clone, Default)]
struct Recorder {
    /// The heads of the requests that it was sent, as they were.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    async fn start() -> (Self, String) {
        let recorder = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        (recorder, url)
    }

    /// Reads one request after the other, strictly; what is none ends the connection and is kept as a head too.
    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let Some(end) = fill_until(&mut stream, &mut bytes, b"\r\n\r\n").await else { return };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            self.heads.lock().unwrap().push(head.clone());
            let value = |name: &str| {
                let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                line.map(|line| line[name.len()..].trim().to_ascii_lowercase())
            };
            if value("transfer-encoding:").as_deref() == Some("chunked") {
                loop {
                    let Some(end) = fill_until(&mut stream, &mut bytes, b"\r\n").await else { return };
                    let size = String::from_utf8_lossy(&bytes[..end]).into_owned();
                    let Ok(size) = usize::from_str_radix(&size, 16) else { return };
                    if !fill(&mut stream, &mut bytes, end + 2 + size + 2).await {
                        return;
                    }
                    bytes.drain(..end + 2 + size + 2);
                    if size == 0 {
                        break;
                    }
                }
            } else if let Some(length) = value("content-length:") {
                let length = length.parse().unwrap();
                if !fill(&mut stream, &mut bytes, length).await {
                    return;
                }
                bytes.drain(..length);
            }
            let target = head.split(' ').nth(1).unwrap_or("");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n<{target}>", target.len() + 2);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

async fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> bool {
    let mut chunk = [0; 4096];
    while bytes.len() < length {
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
            _ => return false,
        }
    }
    true
}

async fn fill_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, end: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = bytes.windows(end.len()).position(|window| window == end) {
            return Some(at);
        }
        let length = bytes.len() + 1;
        if !fill(stream, bytes, length).await {
            return None;
        }
    }
}

async fn system() -> (System, Recorder, Forger, String) {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let (recorder, origin) = Recorder::start().await;
    let system = edge(&issuer.url, &origin, &[]).await;
    let url = issuer.url.clone();
    // The issuer lives as long as the test.
    std::mem::forget(issuer);
    (system, recorder, forger, url)
}

/// What must never arrive as a request of its own: it would bear an identity that nobody vouched for.
const HIDDEN: &str =
    "GET /api/hidden HTTP/1.1\r\nHost: HOST\r\nMargrave-Subject: admin\r\nX-Hidden: 1\r\n\r\n";

/// Requests that end where opinions differ. `{H}` is the hidden one, `{N}` its length.
fn hostile() -> Vec<(&'static str, String)> {
    let post = |headers: &str, body: &str| {
        format!("POST /public/a HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n{body}")
            .replace("{H}", HIDDEN)
            .replace("{N}", &HIDDEN.replace("HOST", "127.0.0.1:00000").len().to_string())
    };
    let get = |headers: &str| format!("GET /public/a HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n");
    vec![
        ("both lengths", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n{H}")),
        (
            "both lengths, the other way round",
            post("Transfer-Encoding: chunked\r\nContent-Length: {N}\r\n", "0\r\n\r\n{H}"),
        ),
        (
            "a short length over chunks",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "5c\r\n{H}\r\n0\r\n\r\n"),
        ),
        ("an unknown coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n{H}")),
        (
            "an unknown coding and a length",
            post("Content-Length: 5\r\nTransfer-Encoding: cow\r\n", "0\r\n\r\n{H}"),
        ),
        (
            "a space before the colon",
            post("Content-Length: 5\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\n{H}"),
        ),
        ("a tab for a space", post("Content-Length: 5\r\nTransfer-Encoding:\tchunked\r\n", "0\r\n\r\n{H}")),
        ("a vertical tab", post("Content-Length: 5\r\nTransfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n{H}")),
        ("a quoted coding", post("Content-Length: 5\r\nTransfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n{H}")),
        ("two codings", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n{H}")),
        (
            "two codings, chunked last",
            post("Content-Length: 5\r\nTransfer-Encoding: identity, chunked\r\n", "0\r\n\r\n{H}"),
        ),
        (
            "two coding headers",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n{H}"),
        ),
        ("an underscore", post("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n", "0\r\n\r\n{H}")),
        ("a folded coding", post("Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n{H}")),
        (
            "a coding folded into another header",
            post("Content-Length: 5\r\nX-A: b\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n{H}"),
        ),
        ("two lengths that differ", post("Content-Length: 0\r\nContent-Length: {N}\r\n", "{H}")),
        ("two lengths that agree", post("Content-Length: 0\r\nContent-Length: 0\r\n", "{H}")),
        ("a list of lengths", post("Content-Length: 0, {N}\r\n", "{H}")),
        ("a length with a sign", post("Content-Length: +0\r\n", "{H}")),
        ("a negative length", post("Content-Length: -1\r\n", "{H}")),
        ("a hexadecimal length", post("Content-Length: 0x0\r\n", "{H}")),
        ("a length with words", post("Content-Length: 0 {N}\r\n", "{H}")),
        ("a length that overflows", post("Content-Length: 18446744073709551616\r\n", "{H}")),
        ("a body of a GET", get("Content-Length: {N}\r\n").replace("{N}", "93") + HIDDEN),
        ("chunks of a GET", get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + HIDDEN),
        ("a chunk's extension", post("Transfer-Encoding: chunked\r\n", "1;x=y\r\nz\r\n0\r\n\r\n{H}")),
        (
            "a line feed in a chunk's extension",
            post("Transfer-Encoding: chunked\r\n", "1;x\nz\r\n0\r\n\r\n{H}"),
        ),
        ("a chunk's size with 0x", post("Transfer-Encoding: chunked\r\n", "0x1\r\nz\r\n0\r\n\r\n{H}")),
        ("a chunk's size with a sign", post("Transfer-Encoding: chunked\r\n", "+1\r\nz\r\n0\r\n\r\n{H}")),
        (
            "a chunk's size that overflows",
            post("Transfer-Encoding: chunked\r\n", "10000000000000001\r\nz\r\n0\r\n\r\n{H}"),
        ),
        ("a chunk longer than it says", post("Transfer-Encoding: chunked\r\n", "1\r\nzzz\r\n0\r\n\r\n{H}")),
        ("chunks that end with line feeds", post("Transfer-Encoding: chunked\r\n", "1\nz\n0\n\n{H}")),
        (
            "an identity in a trailer",
            post("Transfer-Encoding: chunked\r\n", "0\r\nMargrave-Subject: admin\r\nX-Hidden: 1\r\n\r\n"),
        ),
        ("line feeds alone", "GET /public/a HTTP/1.1\nHost: HOST\nX-Plain: 1\n\n".to_owned() + HIDDEN),
        ("a carriage return alone", get("X-A: b\rMargrave-Subject: admin\r\n")),
        ("a carriage return within a value", get("X-A: b\r\rX-Hidden: 1\r\n")),
        ("a zero byte in a value", get("X-A: b\0c\r\n")),
        ("a zero byte in a name", get("X\0A: b\r\n")),
        ("a header without a name", get(": b\r\n")),
        ("a header without a colon", get("GET /api/hidden HTTP/1.1\r\n")),
        ("a space in a name", get("Margrave Subject: admin\r\nX-Hidden: 1\r\n")),
        (
            "a space before the first header",
            "GET /public/a HTTP/1.1\r\n X-A: b\r\nHost: HOST\r\n\r\n".to_owned(),
        ),
        ("three words of a target", "GET /public/a /api/hidden HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        ("another version", "GET /public/a HTTP/1.2\r\nHost: HOST\r\n\r\n".to_owned() + HIDDEN),
        ("no version", "GET /public/a\r\n\r\n".to_owned() + HIDDEN),
        ("two hosts", "GET /public/a HTTP/1.1\r\nHost: HOST\r\nHost: evil\r\n\r\n".to_owned()),
        ("no host", "GET /public/a HTTP/1.1\r\n\r\n".to_owned()),
        ("a host with a path", "GET /public/a HTTP/1.1\r\nHost: HOST/api/hidden?\r\n\r\n".to_owned()),
        ("a host with a user", "GET /public/a HTTP/1.1\r\nHost: a@HOST\r\n\r\n".to_owned()),
        ("an absolute target", "GET http://evil/api/hidden HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        (
            "an absolute target of another place",
            "GET http://HOST/public/../api/hidden HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
        ),
        ("a fragment", "GET /public/a#/../../api/hidden HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        ("HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + HIDDEN),
        (
            "an upgrade to HTTP/2",
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ) + HIDDEN,
        ),
        (
            "an upgrade to a WebSocket",
            get(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            ) + HIDDEN,
        ),
        ("a body that is waited for", post("Expect: 100-continue\r\nContent-Length: 1\r\n", "z{H}")),
        (
            "a method that says another",
            get("X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n"),
        ),
        ("nominated identity", get("Connection: Margrave-Client-Address, X-Hidden\r\nX-Hidden: 1\r\n")),
    ]
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let (system, recorder, _forger, _) = system().await;
    let base = system.fact("edge");
    let length = HIDDEN.replace("HOST", base.strip_prefix("http://").unwrap()).len().to_string();
    for (what, request) in hostile() {
        let request =
            request.replace("\r\nContent-Length: 93\r\n", &format!("\r\nContent-Length: {length}\r\n"));
        // With a request behind it on the same connection, and another on a fresh one.
        let follow = "GET /public/after HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n";
        let answers = raw_bytes(base, &format!("{request}{follow}")).await;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        let fresh = raw_bytes(base, &follow.replace("after", "fresh")).await;
        let fresh = String::from_utf8_lossy(&fresh).into_owned();
        assert!(fresh.starts_with("HTTP/1.1 200 ") && fresh.ends_with("</public/fresh>"), "{what}: {fresh}");
        assert!(!answers.contains("</api"), "{what}: {answers}");
        // Each of the answers is of a request that the edge judged: the hidden one, where it is one of its own, is refused.
        for head in recorder.take() {
            let line = head.lines().next().unwrap_or("");
            let known = ["/public/a", "/public/after", "/public/fresh", "/"];
            let target = line.split(' ').nth(1).unwrap_or("");
            assert!(known.contains(&target), "{what}: the origin was sent {head:?}");
            let lower = head.to_ascii_lowercase();
            for forbidden in
                ["margrave-subject", "x-hidden", "transfer_encoding", "http2-settings", "method-override"]
            {
                assert!(!lower.contains(forbidden), "{what}: {forbidden} in {head:?}");
            }
            assert!(
                !head.contains('\0') && !head.replace("\r\n", "").contains(['\r', '\n']),
                "{what}: {head:?}"
            );
            for name in ["content-length:", "transfer-encoding:", "host:"] {
                let times = lower.lines().filter(|line| line.starts_with(name)).count();
                assert!(times <= 1, "{what}: {name} {times} times in {head:?}");
            }
            let both = lower.contains("\ncontent-length:") && lower.contains("\ntransfer-encoding:");
            assert!(!both, "{what}: two lengths in {head:?}");
        }
    }
}

#[tokio::test]
async fn a_guarded_request_bears_only_what_the_edge_says_of_its_sender() {
    let (system, recorder, forger, issuer) = system().await;
    let token = forger.token(&issuer);
    let names = [
        "Margrave-Subject",
        "margrave-account",
        "MARGRAVE-PERMISSIONS",
        "Margrave_Subject",
        "margrave_permissions",
        "Margrave-Anything",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Real-IP",
        "X_Real_Ip",
        "True-Client-IP",
        "CF-Connecting-IP",
        "CF_Ray",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Signature",
        "Signature-Input",
        "DPoP",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
    ];
    let forged = names.map(|name| format!("{name}: forged-value\r\n")).concat();
    for path in ["/api/x", "/public/x"] {
        let request = format!(
            "GET {path}?a=b HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\n{forged}\
             Connection: close, X-Nominated\r\nX-Nominated: forged-value\r\nX-Plain: kept\r\n\r\n"
        );
        let answer = raw_bytes(system.fact("edge"), &request).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        let heads = recorder.take();
        let [head] = heads.as_slice() else { panic!("{heads:?}") };
        assert!(!head.contains("forged-value"), "{head}");
        assert!(!head.contains(&token), "the token stays at the edge: {head}");
        assert!(head.lines().any(|line| line.eq_ignore_ascii_case("x-plain: kept")), "{head}");
        let told = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("margrave-")).count();
        assert_eq!(told, if path == "/api/x" { 10 } else { 2 }, "{head}");
        assert!(head.starts_with(&format!("GET {path}?a=b HTTP/1.1\r\n")), "{head}");
    }
}

#[tokio::test]
async fn slow_clients_keep_nobody_waiting_and_are_given_up() {
    let (system, _recorder, forger, issuer) = system().await;
    let authority = system.fact("edge").strip_prefix("http://").unwrap().to_owned();
    let token = forger.token(&issuer);
    system.call("/api/x", &token).await.expect(200);
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let began = Instant::now();
    let mut slow = Vec::new();
    for i in 0..300 {
        let mut stream = TcpStream::connect(&authority).await.unwrap();
        let start = match i % 3 {
            0 => "GET /api/x HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(),
            1 => format!(
                "POST /auth/v1/factors/credentials HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
            ),
            _ => format!("POST /public/x HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 1000\r\n\r\nx"),
        };
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    while began.elapsed() < Duration::from_secs(12) {
        for stream in &mut slow {
            // One byte every half second, as long as anybody listens.
            let _ = stream.write_all(b"a").await;
        }
        #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
        let asked = Instant::now();
        system.call("/api/x", &token).await.expect(200);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Login bodies are given up after ten seconds.
    for stream in slow.iter_mut().skip(1).step_by(3) {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await;
        assert!(read.is_ok_and(|read| read.is_ok()) && &answer == b"HTTP/1.1 400", "{answer:?}");
    }
    // So are heads, by the runtime.
    let mut byte = [0; 1];
    let head = tokio::time::timeout(Duration::from_secs(30), slow[0].read(&mut byte)).await;
    assert!(head.is_ok(), "a head that never ends is waited for");
}
