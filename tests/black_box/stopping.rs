//! What an issuer that is told to stop does to those who are connected: nobody's request is lost.

#![expect(clippy::disallowed_methods, reason = "a server stops in real time")]

use crate::system::up;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// What is answered on a connection to a request that keeps it; nothing if it was closed.
async fn ask(stream: &mut TcpStream, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: issuer\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    loop {
        let read = stream.read_buf(&mut answer).await.ok()?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        // Each of these answers has a body.
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty()) {
            return Some(text.to_lowercase());
        }
        if read == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn who_is_connected_to_an_issuer_that_stops_is_answered_and_sent_elsewhere() {
    let system = up(&[]).await;
    let (mut issuer, url) = system.another_issuer(&[]).await;
    let address = url.strip_prefix("http://").unwrap();
    let connect = async || TcpStream::connect(address).await.unwrap();
    let idle = connect().await;
    // Kept; and made, but nothing has been asked on it.
    let (mut kept, mut fresh) = (connect().await, connect().await);
    let first = ask(&mut kept, "/healthz").await.unwrap();
    assert!(first.starts_with("http/1.1 200") && !first.contains("connection: close"), "{first}");
    let told = std::time::Instant::now();
    let id = issuer.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    tokio::time::sleep(Duration::from_millis(100)).await;

    let mut late = connect().await;
    for (which, stream) in [("kept", &mut kept), ("fresh", &mut fresh), ("late", &mut late)] {
        let answer = ask(stream, "/.well-known/jwks.json").await;
        let answer = answer.unwrap_or_else(|| panic!("no answer on the connection that is {which}"));
        assert!(
            answer.starts_with("http/1.1 200") && answer.contains("connection: close"),
            "{which}: {answer}"
        );
        assert_eq!(ask(stream, "/healthz").await, None, "{which} goes on");
    }
    let ready = ask(&mut connect().await, "/readyz").await.unwrap();
    assert!(ready.starts_with("http/1.1 503"), "who stops gets nothing new: {ready}");
    // Until it ends whoever gets through is answered: at every moment the others are refused, and may go elsewhere.
    let (mut answered, mut refused) = (0, 0);
    while refused < 6 {
        assert!(told.elapsed() < Duration::from_secs(10), "it goes on taking connections");
        match TcpStream::connect(address).await {
            Ok(mut stream) => {
                let answer = ask(&mut stream, "/healthz").await;
                assert!(answer.is_some(), "taken and not answered after {:?}", told.elapsed());
                answered += 1;
            }
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(answered > 0);
    // An idle connection does not hold the stop up.
    assert!(issuer.wait().await.unwrap().success());
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?}", told.elapsed());
    drop(idle);
}
