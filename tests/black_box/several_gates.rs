//! Several gates before one state process: what must be counted once is, whichever gate is asked.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures how long something takes, and makes calls of its own"
)]

use crate::deployment::{Deployment, STATE_KEY, call_at, root, until_healthy};
use crate::http::{send, together};
use crate::system::up;
use margrave_shared::time::UnixMs;
use margrave_shared::wire::state_call::{ObjectKind, StateCall};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// One that the state process does not know.
const OTHER_KEY: &str = "s1:b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXktISE";

const LIMITED: &str = "[[route]]\npath = \"/limited/*\"\npermissions = [\"read\"]\nlimit = \"7/60s\"\n";

#[tokio::test]
async fn limits_idle_ends_and_revocations_hold_across_two_gates() {
    let system = up(&["issuer.session.idle_s=4"]).await;
    let more = format!("{LIMITED}\n[limits]\naddress_attempts = 10000\n");
    let two = Deployment::with_two_gates(&system, &more).await;

    // Fifty wrong passwords at once over both gates: five reach the issuer. Gates that have just started may miss the
    // 200 ms that the state has, and then answer 503, as those of a machine that is busy with other tests do; never do more
    // than five get through.
    let mut decided = false;
    for (round, at_once) in [50, 50, 50, 25, 10, 10, 10, 5].into_iter().enumerate() {
        let login = format!("somebody-{round}");
        let mut answers = Vec::new();
        for _ in 0..50 / at_once {
            let wrong = (0..at_once).map(|i| Box::pin(two.attempt(i % 2, &login, "not the password")));
            answers.extend(together(wrong.collect()).await);
        }
        let with = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert!(with(401) <= 5, "{} got through", with(401));
        assert_eq!(with(401) + with(429) + with(503), 50);
        if with(503) == 0 {
            assert_eq!(with(401), 5);
            decided = true;
            break;
        }
    }
    assert!(decided, "fifty at once never had an answer each");

    // A limited route: seven requests, whichever gate they come to.
    let key = system.key_token().await;
    let calls: Vec<_> = (0..20).map(|i| Box::pin(two.call(i % 2, "/limited/x", &key))).collect();
    let passed = together(calls).await.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 7);

    // Activity at one gate keeps the session alive at the other.
    let person = system.log_in().await;
    for i in 0..12 {
        two.call(i % 2, "/api/x", &person.access).await.expect(200);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    two.call(0, "/api/x", &person.access).await.expect(200);
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    for gate in [1, 0] {
        assert_eq!(two.call(gate, "/api/x", &person.access).await.expect(401).code(), "session_ended");
    }

    // An ending that one gate has passed on counts at both.
    let person = system.log_in().await;
    for gate in [0, 1] {
        two.call(gate, "/api/x", &person.access).await.expect(200);
    }
    let bearer = format!("Bearer {}", person.access);
    let logout = format!("{}/auth/v1/logout", two.gates[0]);
    send("POST", &logout, &[("authorization", &bearer)], None).await.expect(204);
    let ended = Instant::now();
    for gate in [0, 1] {
        while two.call(gate, "/api/x", &person.access).await.status == 200 {
            assert!(ended.elapsed() < Duration::from_secs(2), "gate {gate} still admits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn without_its_state_a_gate_refuses_in_time_and_what_was_counted_is_not_lost() {
    let system = up(&[]).await;
    let mut two = Deployment::with_two_gates(&system, "").await;
    let (person, ended) = (system.log_in().await, system.log_in().await);
    for token in [&person.access, &ended.access] {
        two.call(0, "/api/stale/x", token).await.expect(200);
    }
    let bearer = format!("Bearer {}", ended.access);
    let logout = format!("{}/auth/v1/logout", two.gates[1]);
    send("POST", &logout, &[("authorization", &bearer)], None).await.expect(204);
    for i in 0..5 {
        two.attempt(i % 2, "somebody", "not the password").await.expect(401);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    two.call(0, "/api/stale/x", &ended.access).await.expect(401);

    for fault in ["hangs", "is gone"] {
        if fault == "hangs" {
            two.signal("state", "-STOP");
        } else {
            two.kill("state");
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
        for (path, token, status) in [
            ("/api/x", &person.access, 503),
            ("/api/stale/x", &person.access, 200),
            ("/api/stale/x", &ended.access, 401),
            ("/public/x", &person.access, 200),
        ] {
            let began = Instant::now();
            let answer = two.call(0, path, token).await;
            assert_eq!(answer.status, status, "it {fault}: {path} {}", answer.body);
            // 250 ms are the bound; the machine that tests is busy.
            assert!(began.elapsed() < Duration::from_millis(600), "it {fault}: {path} {:?}", began.elapsed());
        }
        let answer = two.attempt(0, "nobody", "not the password").await.expect(503);
        assert_eq!(answer.code(), "state_unavailable");
        if fault == "hangs" {
            two.signal("state", "-CONT");
        } else {
            two.start_state();
        }
        for gate in &two.gates {
            until_healthy(gate).await;
        }
        two.call(1, "/api/x", &person.access).await.expect(200);
        assert_eq!(two.call(1, "/api/x", &ended.access).await.expect(401).code(), "session_ended");
        two.attempt(1, "somebody", "not the password").await.expect(429);
    }
}

fn now() -> UnixMs {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMs(now.as_millis() as i64)
}

#[tokio::test]
async fn the_state_process_answers_gates_only_and_gates_believe_it_only() {
    let system = up(&[]).await;
    let mut two = Deployment::with_two_gates(&system, "").await;
    let call = StateCall {
        kind: ObjectKind::Account,
        name: "shard-0".to_owned(),
        url: "https://account/?merchant=m&person=p&sid=s&idle=60&until=0&iat=1&activity=0".to_owned(),
        body: None,
    };
    let body = serde_json::to_string(&call).unwrap();
    let keys = two.keys(STATE_KEY);
    let good = keys.prove_call(body.as_bytes(), &[1; 16], now());
    let (status, answer) = two.ask_state(&good, &body).await;
    assert_eq!(status, 200, "{answer}");
    let other = two.keys(OTHER_KEY);
    for (name, proof, body) in [
        ("no proof", String::new(), body.clone()),
        ("the same again", good.clone(), body.clone()),
        ("another key", other.prove_call(body.as_bytes(), &[2; 16], now()), body.clone()),
        (
            "another body",
            keys.prove_call(body.as_bytes(), &[3; 16], now()),
            body.replace("activity=0", "activity=1"),
        ),
        ("an old one", keys.prove_call(body.as_bytes(), &[4; 16], UnixMs(now().0 - 6_000)), body.clone()),
    ] {
        let (status, answer) = two.ask_state(&proof, &body).await;
        assert_eq!(status, 403, "{name}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("margrave-state"), "{name}: {answer}");
    }
    // What is authenticated and no call is refused, and the refusal is authenticated.
    let odd = json!({ "kind": "account", "name": "x" }).to_string();
    let (status, answer) = two.ask_state(&keys.prove_call(odd.as_bytes(), &[5; 16], now()), &odd).await;
    assert_eq!(status, 503);
    assert!(answer.to_ascii_lowercase().contains("margrave-state"), "{answer}");
    assert!(two.log("state").contains("a call to this state process does not count"));

    // A gate with another key is told apart by its log, and judges nothing.
    let token = system.key_token().await;
    two.secrets.insert("STATE_KEY", OTHER_KEY.to_owned());
    two.start_gate("gate-3");
    let mut answer = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let up = tokio::net::TcpStream::connect(two.gates[2].strip_prefix("http://").unwrap()).await;
        if up.is_ok() {
            answer = Some(call_at(&two.gates[2], "/api/x", &token).await);
            break;
        }
    }
    assert_eq!(answer.unwrap().expect(503).code(), "state_unavailable");
    assert!(two.log("gate-3").contains("an answer of the state process does not count (403)"));

    // Somebody in the state process's place, who says yes to everything.
    two.kill("state");
    let socket = two.folder.join("state.sock");
    std::fs::remove_file(&socket).unwrap();
    let impostor = tokio::net::UnixListener::bind(&socket).unwrap();
    let yes = axum::Router::new().fallback(|| async {
        (
            [("margrave-state", "AAAA")],
            json!({ "state": "alive", "deadline": i64::MAX, "touched_at": 0 }).to_string(),
        )
    });
    let impostor = tokio::spawn(async move { axum::serve(impostor, yes).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let person = system.log_in().await;
    two.call(0, "/api/x", &person.access).await.expect(503);
    two.attempt(0, "somebody", "not the password").await.expect(503);
    assert!(
        two.log("gate-1").contains("an answer of the state process does not count (200)"),
        "{}",
        two.log("gate-1")
    );
    impostor.abort();
}

#[tokio::test]
async fn a_copy_of_the_objects_that_was_made_in_use_brings_back_what_was_counted() {
    let system = up(&[]).await;
    let mut two = Deployment::with_two_gates(&system, "").await;
    let person = system.log_in().await;
    two.call(0, "/api/x", &person.access).await.expect(200);
    for i in 0..5 {
        two.attempt(i % 2, "somebody", "not the password").await.expect(401);
    }
    let (objects, copies) = (two.folder.join("objects"), two.folder.join("copies"));
    let backup = || {
        let output = Command::new(root().join("deploy/backup")).arg(&objects).arg(&copies).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).split(": ").next().unwrap().to_owned()
    };
    let copy = backup();
    // It goes on meanwhile.
    two.attempt(0, "somebody", "not the password").await.expect(429);
    two.call(0, "/api/x", &person.access).await.expect(200);

    two.kill("state");
    std::fs::remove_dir_all(&objects).unwrap();
    std::fs::rename(copy, &objects).unwrap();
    two.start_state();
    for gate in &two.gates {
        until_healthy(gate).await;
    }
    two.attempt(1, "somebody", "not the password").await.expect(429);
    two.call(1, "/api/x", &person.access).await.expect(200);
}
