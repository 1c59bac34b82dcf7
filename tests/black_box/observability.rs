//! What an operator sees of the edge: numbers, traces, log lines.

use crate::http::{Answer, get};
use crate::system::{System, up, up_with};
use serde_json::Value;

impl System {
    async fn metrics(&self) -> String {
        let bearer = format!("Bearer {}", self.fact("metrics_key"));
        let url = self.edge("/.margrave/metrics");
        let answer = get(&url, &[("authorization", &bearer)]).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        answer.body
    }

    /// The lines of the edge's log about requests.
    fn logged(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.edge_folder().join("workerd.log")).unwrap();
        let lines = log.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "request").collect()
    }
}

fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_count_what_happens_and_are_for_who_holds_the_key() {
    let system = up(&["edge.limits.account_attempts=2"]).await;
    let url = system.edge("/.margrave/metrics");
    for wrong in [vec![], vec![("authorization", "Bearer x")], vec![("authorization", "Bearer ")]] {
        get(&url, &wrong).await.expect(401);
    }
    let token = system.key_token().await;
    system.call("/.margrave/metrics", &token).await.expect(401);
    for _ in 0..3 {
        system.call("/api/x", &token).await.expect(200);
    }
    get(&system.edge("/nowhere"), &[]).await.expect(404);
    for status in [401, 401, 429] {
        system.attempt("somebody", "wrong").await.expect(status);
    }
    let metrics = system.metrics().await;
    for (name, wanted) in [
        ("margrave_decisions_total{code=\"passed\"}", 3.0),
        ("margrave_decisions_total{code=\"not_found\"}", 1.0),
        ("margrave_decisions_total{code=\"invalid_token\"}", 4.0),
        ("margrave_decisions_total{code=\"too_many_attempts\"}", 1.0),
        ("margrave_limited_total{bucket=\"account\"}", 1.0),
        ("margrave_object_failures_total{object=\"limiter\"}", 0.0),
        ("margrave_streams", 0.0),
    ] {
        assert!((value(&metrics, name) - wanted).abs() < 0.1, "{name} is not {wanted}: {metrics}");
    }
    // Three attempts asked of the address's, the login's and, but for the last, the merchant's bucket, and one came back.
    assert!(value(&metrics, "margrave_object_seconds_count{object=\"limiter\"}") >= 9.0, "{metrics}");
    assert!((0.0..60.0).contains(&value(&metrics, "margrave_keys_age_seconds")), "{metrics}");
    assert!((0.0..60.0).contains(&value(&metrics, "margrave_feed_age_seconds")), "{metrics}");
    assert!((-2.0..=2.0).contains(&value(&metrics, "margrave_clock_skew_seconds")), "{metrics}");
}

#[tokio::test]
async fn a_clock_that_is_off_shows_before_it_refuses() {
    let system = up_with(&[], &["--edge-build", "drill"]).await;
    let token = system.key_token().await;
    system.call("/api/x", &token).await.expect(200);
    crate::http::send("POST", &system.edge("/.margrave/drill/clock?ahead_ms=12000"), &[], None)
        .await
        .expect(200);
    // The next batch of the feed tells: an ending brings it at once.
    let person = system.log_in().await;
    let bearer = format!("Bearer {}", person.access);
    let logout = system.edge("/auth/v1/logout");
    crate::http::send("POST", &logout, &[("authorization", &bearer)], None).await.expect(204);
    for _ in 0..100 {
        system.call("/api/x", &token).await.expect(200);
        let metrics = system.metrics().await;
        if value(&metrics, "margrave_clock_skew_seconds") >= 11.0 {
            let log = std::fs::read_to_string(system.edge_folder().join("workerd.log")).unwrap();
            assert!(log.contains("ALARM: the clock of this edge is 1"), "{log}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the skew was not seen");
}

fn sent(answer: &Answer, name: &str) -> String {
    answer.json()["headers"][name].as_str().unwrap_or("").to_owned()
}

#[tokio::test]
async fn traces_are_continued_or_started_and_lines_say_what_became_of_requests() {
    let system = up(&["edge.log.requests=all"]).await;
    let token = system.key_token().await;
    let bearer = format!("Bearer {token}");
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let ask = async |trace: &str| {
        let headers = [("authorization", bearer.as_str()), ("traceparent", trace), ("tracestate", "a=1")];
        get(&system.edge("/api/x"), &headers).await.expect(200)
    };
    let continued = ask(good).await;
    let next = sent(&continued, "traceparent");
    assert!(next.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && next.ends_with("-00"), "{next}");
    assert!(!next.contains("00f067aa0ba902b7"), "a span of its own: {next}");
    assert_eq!(sent(&continued, "tracestate"), "a=1");
    let started = ask("00-nonsense").await;
    let first = sent(&started, "traceparent");
    assert_eq!((first.len(), sent(&started, "tracestate").as_str()), (55, ""));
    let another = sent(&ask("").await, "traceparent");
    assert!(another != first && another.ends_with("-01"), "{another}");
    let refused = get(&system.edge("/api/x/CANARY?q=CANARY"), &[("traceparent", good)]).await.expect(401);

    let lines = system.logged();
    let of = |answer: &Answer| {
        let id = answer.header("margrave-request-id").unwrap();
        lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("{lines:?}"))
    };
    assert_eq!(of(&continued)["code"], "passed");
    assert_eq!(of(&refused)["code"], "invalid_token");
    assert_eq!(of(&refused)["route"], "/api/*");
    assert_eq!(of(&refused)["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(!lines.iter().any(|line| line.to_string().contains("CANARY")));
    // The default writes nothing of requests.
    drop(system);
    let quiet = up(&[]).await;
    get(&quiet.edge("/api/x"), &[]).await.expect(401);
    assert!(quiet.logged().is_empty());
}

/// A dashboard that asks for what nobody counts shows nothing, and an alert of that kind never fires.
#[test]
fn the_dashboard_and_the_alerts_name_only_what_is_counted() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let counted = read("issuer/src/metrics.rs") + &read("edge/src/metrics.rs");
    let mut named = std::collections::BTreeSet::new();
    for file in ["deploy/observability/grafana.json", "deploy/observability/alerts.yml"] {
        let text = read(file);
        for (at, _) in text.match_indices("margrave_") {
            let name: String = text[at..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || matches!(c, '_' | '0'..='9'))
                .collect();
            named.insert(name.trim_end_matches("_bucket").trim_end_matches("_count").to_owned());
        }
    }
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(counted.contains(&name), "{name} is counted nowhere");
    }
    serde_json::from_str::<serde_json::Value>(&read("deploy/observability/grafana.json")).unwrap();
}

/// A collector that keeps what it is sent.
async fn collector() -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
                    if let Some(head) = head {
                        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
                        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                        let end = head + length.unwrap().parse::<usize>().unwrap();
                        if bytes.len() >= end {
                            let _ = sender.send(bytes.drain(..end).skip(head).collect());
                            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                            if stream.write_all(answer).await.is_err() {
                                return;
                            }
                            continue;
                        }
                    }
                    match stream.read_buf(&mut bytes).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    }
                }
            });
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn a_trace_goes_on_from_the_client_through_the_edge_into_the_issuer() {
    let (url, mut received) = collector().await;
    let system = up(&[&format!("issuer.otlp_endpoint={url}")]).await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let stranger = "5bf92f3577b34da6a3ce929d0e0e4737";
    let headers = |id: &str| [("traceparent".to_owned(), format!("00-{id}-00f067aa0ba902b7-01"))];
    let body = serde_json::json!({
        "login": "canary-login", "password": "canary-password", "merchant_id": system.fact("merchant_id"),
    });
    let post = async |url: &str, id: &str| {
        let headers = headers(id);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        crate::http::post_json(url, &headers, &body).await.expect(401);
    };
    post(&system.edge("/auth/v1/factors/credentials"), id).await;
    // Who comes directly begins no trace of the issuer's.
    post(&system.issuer("/v1/factors/credentials"), stranger).await;
    let bytes = |id: &str| -> Vec<u8> {
        (0..16).map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).unwrap()).collect()
    };
    let mut all = Vec::new();
    let has = |all: &[u8], part: &[u8]| all.windows(part.len()).any(|window| window == part);
    while !has(&all, &bytes(id)) {
        let batch = tokio::time::timeout(std::time::Duration::from_secs(20), received.recv()).await;
        all.extend(batch.expect("no trace arrives").unwrap());
    }
    for part in ["POST /v1/factors/credentials", "margrave-issuer", "password.hash", "database.commit"] {
        assert!(has(&all, part.as_bytes()), "{part}");
    }
    // What was recorded at the same time is here within another batch.
    let late = std::time::Duration::from_secs(7);
    while let Ok(Some(batch)) = tokio::time::timeout(late, received.recv()).await {
        all.extend(batch);
        if all.len() > 1 << 20 {
            break;
        }
    }
    assert!(!has(&all, &bytes(stranger)) && !has(&all, b"canary"));
}
