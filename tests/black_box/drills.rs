//! What only an edge of the feature `drill` can show: its verifier by itself, other times, objects that fail.

use crate::http::{Answer, get, send};
use crate::signature_cases::{Case, generated, wycheproof};
use crate::system::{System, up_with};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

impl System {
    async fn drill(&self, path: &str, body: Option<Value>) -> Answer {
        send("POST", &self.edge(&format!("/.margrave/drill/{path}")), &[], body).await.expect(200)
    }

    async fn fault(&self, object: &str, kind: &str) {
        self.drill(&format!("fault?object={object}&kind={kind}"), None).await;
    }

    async fn clock(&self, ahead: Duration) {
        self.drill(&format!("clock?ahead_ms={}", ahead.as_millis()), None).await;
    }
}

/// What is decided of a request in the end: on a busy machine an object may miss its 200 ms now and then, and the answer
/// then is 503.
async fn decided(system: &System, token: &str) -> Answer {
    for _ in 0..20 {
        let answer = system.call("/api/x", token).await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing but 503 for two seconds");
}

async fn drill_edge(settings: &[&str]) -> System {
    up_with(settings, &["--edge-build", "drill"]).await
}

#[test]
fn what_is_deployed_has_no_drill_in_it() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let holds = |folder: &str, text: &[u8]| {
        let path = root.join("edge").join(folder).join("index_bg.wasm");
        let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        wasm.windows(text.len()).any(|window| window == text)
    };
    let mark = b"this edge was built for drills and guards nothing";
    assert!(holds("build-drill", mark), "the mark would be found where it is");
    assert!(!holds("build", mark));
}

fn native(case: &Case) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(&case.key).is_ok_and(|key| {
        <[u8; 64]>::try_from(case.signature.as_slice()).is_ok_and(|signature| {
            margrave_shared::token::verify::verify_ed25519(&key, &case.message, &signature).is_ok()
        })
    })
}

#[tokio::test]
async fn signatures_that_verifiers_disagree_about_have_one_verdict_native_and_in_wasm() {
    let system = drill_edge(&[]).await;
    let cases: Vec<Case> = wycheproof().into_iter().chain(generated()).collect();
    assert!(cases.len() > 151 + 1000);
    assert!(cases.iter().filter(|case| case.valid).count() > 80);
    for part in cases.chunks(250) {
        let body: Vec<Value> = part.iter().map(Case::to_json).collect();
        let verdicts = system.drill("ed25519", Some(json!(body))).await.json();
        let verdicts = verdicts.as_array().unwrap();
        assert_eq!(verdicts.len(), part.len());
        for (case, verdict) in part.iter().zip(verdicts) {
            assert_eq!(native(case), case.valid, "native: {}", case.name);
            assert_eq!(verdict, case.valid, "wasm: {}", case.name);
        }
    }
}

#[tokio::test]
async fn a_session_goes_on_with_activity_and_ends_without() {
    let system = drill_edge(&[
        "issuer.session.idle_s=120",
        "issuer.token.permission_ttl_s=900",
        "edge.revocations.max_stale_s=3600",
    ])
    .await;
    let person = system.log_in().await;
    for seconds in [0, 100, 200, 300] {
        system.clock(Duration::from_secs(seconds)).await;
        system.call("/api/x", &person.access).await.expect(200);
        // The touch goes out after the answer.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    system.clock(Duration::from_secs(421)).await;
    assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
    // A clock that goes back revives nobody.
    system.clock(Duration::ZERO).await;
    assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
}

/// How long an answer took beside it.
async fn timed(answer: impl Future<Output = Answer>) -> (Answer, Duration) {
    #[expect(clippy::disallowed_methods, reason = "an answer within a time is what is promised")]
    let began = Instant::now();
    let answer = answer.await;
    (answer, began.elapsed())
}

#[tokio::test]
async fn when_accounts_fail_new_sessions_wait_for_nobody_and_known_ones_go_on() {
    let system = drill_edge(&[]).await;
    let known = system.log_in().await;
    system.call("/api/x", &known.access).await.expect(200);
    let new = system.log_in().await;
    for kind in ["hang", "error", "slow"] {
        system.fault("accounts", kind).await;
        for path in ["/api/x", "/api/stale/x"] {
            let (answer, took) = timed(system.call(path, &new.access)).await;
            assert_eq!(answer.expect(503).code(), "state_unavailable", "{kind} {path}");
            // The promise is 250 ms at the edge; the rest is for a busy machine.
            assert!(took < Duration::from_millis(750), "{kind} {path}: {took:?}");
        }
        system.call("/api/x", &known.access).await.expect(200);
    }
    system.fault("accounts", "none").await;
    system.call("/api/x", &new.access).await.expect(200);
}

#[tokio::test]
async fn when_the_feed_fails_a_route_does_what_it_was_told_and_what_was_ended_stays_so() {
    let system = drill_edge(&["edge.revocations.poll_ms=300"]).await;
    let ended = system.log_in().await;
    let person = system.log_in().await;
    for token in [&ended.access, &person.access] {
        system.call("/api/x", token).await.expect(200);
        system.call("/api/stale/x", token).await.expect(200);
    }
    let bearer = format!("Bearer {}", ended.access);
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &bearer)], None).await;
    for _ in 0..100 {
        if system.call("/api/x", &ended.access).await.status == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.call("/api/x", &ended.access).await.expect(401);
    for kind in ["hang", "error", "slow"] {
        system.fault("feed", kind).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (answer, took) = timed(system.call("/api/x", &person.access)).await;
        assert_eq!(answer.expect(503).code(), "state_unavailable", "{kind}");
        assert!(took < Duration::from_millis(750), "{kind}: {took:?}");
        system.call("/api/stale/x", &person.access).await.expect(200);
        system.call("/api/stale/x", &ended.access).await.expect(401);
    }
    system.fault("feed", "none").await;
    system.call("/api/x", &person.access).await.expect(200);
    system.call("/api/x", &ended.access).await.expect(401);
}

#[tokio::test]
async fn when_limiters_fail_nobody_logs_in_and_the_rest_goes_on() {
    let system = drill_edge(&[]).await;
    let person = system.log_in().await;
    for kind in ["hang", "error", "slow"] {
        system.fault("limiters", kind).await;
        let (answer, took) = timed(system.attempt(system.fact("username"), system.fact("password"))).await;
        assert_eq!(answer.expect(503).code(), "state_unavailable", "{kind}");
        assert!(took < Duration::from_millis(750), "{kind}: {took:?}");
        system.call("/api/x", &person.access).await.expect(200);
    }
    system.fault("limiters", "none").await;
    system.security_token().await;
}

#[tokio::test]
async fn an_issuer_that_is_silent_for_longer_than_allowed_closes_the_edge_and_its_return_opens_it() {
    // An hour, with a token that lives as long.
    let system = drill_edge(&["issuer.token.permission_ttl_s=3600"]).await;
    let token = system.key_token().await;
    let ended = system.log_in().await;
    system.call("/api/x", &ended.access).await.expect(200);
    let bearer = format!("Bearer {}", ended.access);
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &bearer)], None).await.expect(204);
    system.call("/api/x", &token).await.expect(200);
    system.signal("issuer_pid", "-STOP");
    // Within what may be stale tokens pass, and what was ended stays so.
    for seconds in [60, 200, 280] {
        system.clock(Duration::from_secs(seconds)).await;
        decided(&system, &token).await.expect(200);
        decided(&system, &ended.access).await.expect(401);
    }
    for seconds in [340, 1800, 3600] {
        system.clock(Duration::from_secs(seconds)).await;
        assert_eq!(system.call("/api/x", &token).await.expect(503).code(), "state_unavailable");
        // A route that may be stale is so for its own time, not for the issuer's.
        system.call("/api/stale/x", &token).await.expect(503);
        system.call("/public/x", "").await.expect(200);
    }
    system.signal("issuer_pid", "-CONT");
    // Its clock and the edge's must agree again, or each would take the other's word for one of another time.
    system.clock(Duration::ZERO).await;
    // The issuer holds a question for a third of what may be stale.
    for _ in 0..200 {
        if system.call("/api/x", &token).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not open again");
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_ending() {
    let system = drill_edge(&[]).await;
    let person = system.log_in().await;
    system.clock(Duration::from_secs(100)).await;
    system.call("/api/x", &person.access).await.expect(200);
    system.clock(Duration::ZERO).await;
    let bearer = format!("Bearer {}", person.access);
    send("POST", &system.edge("/auth/v1/logout"), &[("authorization", &bearer)], None).await;
    for _ in 0..50 {
        if system.call("/api/x", &person.access).await.status == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the ending did not arrive");
}

#[tokio::test]
async fn a_trap_answers_at_once_whoever_was_waiting_and_the_next_instance_serves() {
    let system = drill_edge(&[]).await;
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    for way in ["while judging", "in an object"] {
        let new = system.log_in().await;
        // The issuer may take fifteen seconds.
        system.signal("issuer_pid", "-STOP");
        let waiting = system.attempt("somebody", "anything");
        let trapping = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if way == "while judging" {
                send("POST", &system.edge("/.margrave/drill/trap"), &[], None).await
            } else {
                system.fault("accounts", "trap").await;
                system.call("/api/x", &new.access).await
            }
        };
        let ((waited, took), trapped) = tokio::join!(timed(waiting), trapping);
        system.signal("issuer_pid", "-CONT");
        assert_eq!(waited.expect(503).code(), "state_unavailable", "{way}");
        assert_eq!(trapped.expect(503).code(), "state_unavailable", "{way}");
        assert!(took < Duration::from_secs(2), "{way}: {took:?}");
        // The faults were memory of the instance that is gone.
        system.call("/api/x", &new.access).await.expect(200);
        system.call("/api/x", &person.access).await.expect(200);
        system.security_token().await;
    }
}

/// The id by which the issuer knows the edge, out of the edge's settings.
fn edge_id(system: &System) -> String {
    let settings = system.written().into_iter().find(|(path, _)| path.ends_with("edge.toml"));
    let text = String::from_utf8(settings.expect("the edge's settings").1).unwrap();
    text.split('"').skip_while(|part| !part.ends_with("edge_id = ")).nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn refusals_are_counted_and_the_issuers_audit_hears_the_counts() {
    let system = drill_edge(&[]).await;
    system.call("/api/x", &system.key_token().await).await.expect(200);
    for _ in 0..7 {
        get(&system.edge("/api/x"), &[]).await.expect(401);
    }
    get(&system.edge("/nowhere"), &[]).await.expect(404);
    for attempt in 0..9 {
        system.attempt("somebody", "wrong").await.expect(if attempt < 5 { 401 } else { 429 });
    }
    let edge = edge_id(&system);
    // In a row the subject stands right behind the actor.
    let audited = |text: &str| {
        let row = format!("edge:{edge}{text}");
        system.written().iter().any(|(path, bytes)| {
            let holds = || bytes.windows(row.len()).any(|window| window == row.as_bytes());
            path.to_string_lossy().contains("issuer.db") && holds()
        })
    };
    // Which bucket it was is a keyed hash.
    let limited = |count: u64| {
        let (begin, end) = (format!("edge:{edge}bucket:"), format!(" count:{count}"));
        system.written().iter().any(|(path, bytes)| {
            path.to_string_lossy().contains("issuer.db")
                && bytes
                    .windows(begin.len() + 32 + end.len())
                    .any(|window| window.starts_with(begin.as_bytes()) && window.ends_with(end.as_bytes()))
        })
    };
    assert!(!audited("count:7"), "not one by one, and not at once");
    system.clock(Duration::from_secs(61)).await;
    for _ in 0..100 {
        if audited("count:7") && audited("count:1") && limited(4) {
            return;
        }
        system.call("/public/x", "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer was not told");
}

#[tokio::test]
async fn the_audit_hears_that_one_password_is_tried_on_many_logins() {
    let system = drill_edge(&["edge.limits.merchant_attempts=1"]).await;
    let audited = || {
        system.written().iter().any(|(path, bytes)| {
            let text = b"edge.many_wrong_passwords";
            path.to_string_lossy().contains("issuer.db")
                && bytes.windows(text.len()).any(|window| window == text)
        })
    };
    for login in ["one", "two"] {
        system.attempt(login, "wrong").await.expect(401);
    }
    assert!(!audited(), "with the counts of a minute, not at once");
    system.clock(Duration::from_secs(61)).await;
    for _ in 0..100 {
        if audited() {
            return;
        }
        system.call("/public/x", "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer was not told");
}

/// Touches that can wait go to their object in one call, and each counts from when its session was met.
#[tokio::test]
async fn touches_that_are_gathered_count_from_when_their_sessions_were_met() {
    let system = drill_edge(&["issuer.session.idle_s=200", "issuer.token.permission_ttl_s=900"]).await;
    // All of one account, so in one object.
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(system.log_in().await.access);
    }
    let calls = async || {
        let calls = get(&system.edge("/.margrave/drill/calls"), &[]).await;
        calls.json()["accounts"].as_u64().unwrap()
    };
    for session in &sessions {
        decided(&system, session).await.expect(200);
    }
    system.clock(Duration::from_secs(15)).await;
    // What is lost with a failing object keeps nobody out, and the next request touches again.
    let first = calls().await;
    system.fault("accounts", "error").await;
    for session in &sessions[..7] {
        decided(&system, session).await.expect(200);
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    system.fault("accounts", "none").await;
    let before = calls().await;
    assert!(before > first, "nothing was sent to the failing object");
    for session in &sessions[..7] {
        decided(&system, session).await.expect(200);
    }
    // They wait while the clock goes on.
    system.clock(Duration::from_secs(21)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let made = calls().await - before;
    assert!((1..7).contains(&made), "{made} calls for seven touches");
    system.clock(Duration::from_secs(209)).await;
    for session in &sessions[..6] {
        decided(&system, session).await.expect(200);
    }
    let ended = async |session: &str| decided(&system, session).await.expect(401).code() == "session_ended";
    assert!(ended(&sessions[7]).await, "who stayed away");
    system.clock(Duration::from_secs(218)).await;
    assert!(ended(&sessions[6]).await, "it lives no longer for having waited");
    decided(&system, &sessions[0]).await.expect(200);
}
