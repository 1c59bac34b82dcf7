//! WebSockets and server-sent events pass where a route says so, and are cut when the session ends.

use crate::http::{get, send};
use crate::system::{System, up_with};
use axum::response::IntoResponse as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_hdr_async, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An origin that speaks WebSocket: first it says what it was sent as headers, then it echoes.
async fn socket_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = String::new();
                #[expect(clippy::result_large_err, reason = "the crate's callback")]
                let look = |request: &Request, mut response: Response| {
                    let of = |name: &str| request.headers().get(name).map_or("", |v| v.to_str().unwrap());
                    seen = serde_json::json!({
                        "subject": of("margrave-subject"), "signature": of("signature"),
                        "authorization": of("authorization"), "protocol": of("sec-websocket-protocol"),
                    })
                    .to_string();
                    response.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
                    response.headers_mut().insert("server", "banner".parse().unwrap());
                    Ok(response)
                };
                let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
                socket.send(Message::text(seen)).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    let close = message.to_text().is_ok_and(|text| text == "close");
                    let sent = if close { socket.close(None).await } else { socket.send(message).await };
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// An origin that sends an event every tenth of a second, for ever.
async fn event_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let events = async || {
        let ticks = futures_util::stream::unfold(0, async |n| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::io::Error>(format!("data: {n}\n\n")), n + 1))
        });
        ([("content-type", "text/event-stream")], axum::body::Body::from_stream(ticks)).into_response()
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(events)).into_future());
    url
}

async fn system(settings: &[&str]) -> System {
    system_with(settings, &[]).await
}

async fn system_with(settings: &[&str], options: &[&str]) -> System {
    let (sockets, events) = (socket_origin().await, event_origin().await);
    let (sockets, events) = (
        format!("edge.origins.sockets={{url='{sockets}'}}"),
        format!("edge.origins.events={{url='{events}'}}"),
    );
    let routes = "edge.route=[{path='/api/*'}, {path='/api/socket', streams=true, origin='sockets'}, \
        {path='/api/quiet', streams=true, activity=false, origin='sockets'}, \
        {path='/api/events', streams=true, origin='events'}, {path='/api/mute', origin='events'}, \
        {path='/api/recent', streams=true, max_auth_age='4s', origin='sockets'}, \
        {path='/public/events', public=true, streams=true, origin='events'}]";
    let mut all = vec![sockets.as_str(), &events, routes];
    all.extend(settings);
    up_with(&all, options).await
}

impl System {
    async fn open(&self, path: &str, token: &str) -> Result<Socket, u16> {
        self.open_from(path, token, None).await
    }

    async fn open_from(&self, path: &str, token: &str, page: Option<&str>) -> Result<Socket, u16> {
        let url = self.edge(path).replace("http://", "ws://");
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
        headers.insert("margrave-subject", "forged".parse().unwrap());
        if let Some(page) = page {
            headers.insert("origin", page.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers().get("sec-websocket-protocol").unwrap(), "chat");
                assert!(answer.headers().get("server").is_none());
                Ok(socket)
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn end_session_of(&self, token: &str) {
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        send("POST", &self.edge("/auth/v1/logout"), &headers, None).await.expect(204);
    }
}

async fn text(socket: &mut Socket) -> String {
    let message = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.expect("silence");
    message.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Waits for the end of a socket; gives its code and how long that took.
async fn ended(mut socket: Socket, patience: Duration) -> Option<(u16, Duration)> {
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let began = Instant::now();
    let end = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    };
    tokio::time::timeout(patience, end).await.ok().map(|code| (code, began.elapsed()))
}

#[tokio::test]
async fn a_socket_passes_judged_and_signed_and_ends_with_its_session() {
    let system = system(&[]).await;
    let person = system.log_in().await;
    let mut socket = system.open("/api/socket", &person.access).await.unwrap();
    let seen: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
    assert_ne!(seen["subject"], "forged");
    assert!(!seen["subject"].as_str().unwrap().is_empty() && !seen["signature"].as_str().unwrap().is_empty());
    assert_eq!((&seen["authorization"], &seen["protocol"]), (&"".into(), &"chat".into()));
    for message in ["hello", "", &"x".repeat(100_000)] {
        socket.send(Message::text(message)).await.unwrap();
        assert_eq!(text(&mut socket).await, message);
    }
    socket.send(Message::binary(vec![0_u8, 255])).await.unwrap();
    let echoed = socket.next().await.unwrap().unwrap();
    assert_eq!(echoed.into_data().as_ref(), [0, 255]);

    // Nobody comes in without a credential, or where the route does not say so.
    assert_eq!(system.open("/api/socket", "nonsense").await.err(), Some(401));
    assert!(system.open("/api/x", &person.access).await.is_err());
    // The origin's end is the client's.
    let mut other = system.open("/api/socket", &person.access).await.unwrap();
    text(&mut other).await;
    other.send(Message::text("close")).await.unwrap();
    assert!(ended(other, Duration::from_secs(5)).await.is_some());

    system.end_session_of(&person.access).await;
    let (code, took) = ended(socket, Duration::from_secs(10)).await.expect("it was not cut");
    assert_eq!(code, 4401);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(system.open("/api/socket", &person.access).await.err(), Some(401));
}

#[tokio::test]
async fn one_subject_has_a_hundred_streams_and_takes_nobody_elses_place() {
    let system = system(&[]).await;
    let (person, key) = (system.log_in().await, system.key_token().await);
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(system.open("/api/socket", &person.access).await.unwrap());
    }
    assert_eq!(system.open("/api/socket", &person.access).await.err(), Some(503));
    let other = system.open("/api/socket", &key).await;
    assert!(other.is_ok(), "somebody else's stream has room");
    // A place that is left is there again.
    sockets.pop().unwrap().close(None).await.unwrap();
    for _ in 0..50 {
        if system.open("/api/socket", &person.access).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn what_a_client_says_keeps_its_session_alive_and_silence_ends_it() {
    let system = system(&["issuer.session.idle_s=6", "edge.session.touch_s=1"]).await;
    let person = system.log_in().await;
    let mut socket = system.open("/api/socket", &person.access).await.unwrap();
    text(&mut socket).await;
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        socket.send(Message::text("still here")).await.unwrap();
        assert_eq!(text(&mut socket).await, "still here");
    }
    // A token of a session that is alive opens another, on a route where nothing is activity.
    let mut quiet = system.open("/api/quiet", &person.access).await.unwrap();
    text(&mut quiet).await;
    let (code, took) = ended(socket, Duration::from_secs(20)).await.expect("silence was not cut");
    assert_eq!(code, 4401);
    assert!((5..=12).contains(&took.as_secs()), "{took:?}");
    assert!(ended(quiet, Duration::from_secs(5)).await.is_some());
}

#[tokio::test]
async fn events_pass_where_the_route_says_so_and_end_with_the_session() {
    let system = system(&[]).await;
    let person = system.log_in().await;
    let bearer = format!("Bearer {}", person.access);
    let client = reqwest::Client::new();
    let open = async |path: &str| {
        client.get(system.edge(path)).header("authorization", &bearer).send().await.unwrap()
    };
    // Not where the route says nothing of it.
    assert_eq!(open("/api/mute").await.status(), 502);
    let mut public = client.get(system.edge("/public/events")).send().await.unwrap();
    assert_eq!(public.chunk().await.unwrap().unwrap().as_ref(), b"data: 0\n\n");

    let mut events = open("/api/events").await;
    assert_eq!(events.status(), 200);
    // At once, not when a buffer is full; and longer than any look at the session takes.
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let began = Instant::now();
    let mut received = String::new();
    while began.elapsed() < Duration::from_secs(6) {
        let chunk = tokio::time::timeout(Duration::from_secs(2), events.chunk()).await.expect("no event");
        received += std::str::from_utf8(&chunk.unwrap().expect("cut too early")).unwrap();
    }
    assert!(received.contains("data: 20\n\n"), "{received}");
    system.end_session_of(&person.access).await;
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let ended = Instant::now();
    while let Ok(Some(_)) =
        tokio::time::timeout(Duration::from_secs(10), events.chunk()).await.expect("silence")
    {}
    assert!(ended.elapsed() < Duration::from_secs(5), "{:?}", ended.elapsed());
    assert_eq!(get(&system.edge("/api/events"), &[("authorization", &bearer)]).await.status, 401);
    // Where nobody's session is, nothing ends it.
    while began.elapsed() < Duration::from_secs(9) {
        assert!(public.chunk().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn pages_of_other_sites_open_no_socket() {
    let system = system(&[]).await;
    let person = system.log_in().await;
    for (page, opens) in [
        (Some(system.fact("edge").to_owned()), true),
        (None, true),
        (Some("https://evil.example".to_owned()), false),
        (Some("null".to_owned()), false),
    ] {
        let opened = system.open_from("/api/socket", &person.access, page.as_deref()).await;
        assert_eq!(opened.err(), (!opens).then_some(403), "{page:?}");
    }
}

#[tokio::test]
async fn what_a_route_demands_it_demands_as_long_as_the_stream_lasts() {
    let system = system(&[]).await;
    let person = system.log_in().await;
    let mut socket = system.open("/api/recent", &person.access).await.unwrap();
    text(&mut socket).await;
    let (code, took) = ended(socket, Duration::from_secs(15)).await.expect("it was not cut");
    assert!(code == 4401 && (2..=9).contains(&took.as_secs()), "{code} {took:?}");
}

#[tokio::test]
async fn after_a_lost_instance_no_stream_is_taken_for_another() {
    let system = system_with(&[], &["--edge-build", "drill"]).await;
    let person = system.log_in().await;
    let mut socket = system.open("/api/socket", &person.access).await.unwrap();
    text(&mut socket).await;
    send("POST", &system.edge("/.margrave/drill/trap"), &[], None).await.expect(503);
    // In the new instance the next streams would bear the first numbers again.
    let mut others = Vec::new();
    for _ in 0..3 {
        let other = system.log_in().await;
        others.push(system.open("/api/socket", &other.access).await.unwrap());
    }
    let (code, took) = ended(socket, Duration::from_secs(10)).await.expect("nobody knows whose it is");
    assert!(code == 4401 && took < Duration::from_secs(5), "{code} {took:?}");
    for mut other in others {
        text(&mut other).await;
        other.send(Message::text("still here")).await.unwrap();
        assert_eq!(text(&mut other).await, "still here");
    }
}

/// The memory that a process holds, in kilobytes.
fn resident_kb(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_a_bounded_memory() {
    let system = system(&[]).await;
    let person = system.log_in().await;
    let pid = system.fact_number("edge_pid");
    // It says much, is answered as much, and reads none of it.
    let message = "x".repeat(500_000);
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut socket = system.open("/api/socket", &person.access).await.unwrap();
        for _ in 0..600 {
            let send = socket.send(Message::text(message.as_str()));
            if !matches!(tokio::time::timeout(Duration::from_secs(2), send).await, Ok(Ok(()))) {
                break;
            }
        }
        held.push(resident_kb(pid) / 1000);
        let (code, _) = ended(socket, Duration::from_secs(20)).await.expect("it goes on");
        assert_eq!(code, 4408);
    }
    // What is dropped lies about until it is collected; it does not add up.
    let least = held.iter().skip(2).min().unwrap();
    assert!(*least < held[0] + 200, "of 1,500 MB, in MB: {held:?}");
    // Others are served.
    system.call("/api/x", &person.access).await.expect(200);
}
