//! Every secret of an edge is changed while it is in use, as docs/operations.md says it: no request is refused for it, no limit begins
//! anew, and a device that comes by in time stays known.

use crate::deployment::{Deployment, authority, call_at, until_healthy};
use crate::http::{post_form, post_json};
use crate::system::{FACTORS, System, free_address, up};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use margrave_origin::{Guard, guard};
use margrave_shared::secret::SecretKey;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PASSWORD: &str = "a rather long password";
const WRONG: &str = "not the password";

/// Nothing comes back meanwhile, and gates wait for a state process that is restarted.
const SETTINGS: &str = "[state]\nwait_ms = 2000\n\
    [limits]\naccount_window_s = 86400\naddress_window_s = 86400\naddress_attempts = 100000\nmerchant_attempts = 100000\n";

/// An origin that believes the keys it is given at the moment.
type Believing = Arc<Mutex<Arc<Guard>>>;

fn believing(keys: &[&str]) -> Arc<Guard> {
    Arc::new(Guard::new(keys).unwrap())
}

async fn believe(State(believed): State<Believing>, request: Request, next: Next) -> Response {
    let now = Arc::clone(&believed.lock().unwrap());
    guard(State(now), request, next).await
}

/// Starts an origin; gives its host and port.
async fn origin(believed: &Believing) -> String {
    let address = free_address();
    let router = Router::new().fallback(|| async { "ok" });
    let router = router.layer(from_fn_with_state(Arc::clone(believed), believe));
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// State and gates get the secrets of the moment, as an upgrade restarts them; requests go to `live`.
async fn restart(edge: &mut Deployment, live: &Mutex<Vec<String>>, step: usize) {
    edge.stop("state");
    edge.start_state();
    for place in 0..2 {
        edge.start_gate(&format!("gate-{step}-{place}"));
        let fresh = edge.gates.pop().unwrap();
        until_healthy(&fresh).await;
        live.lock().unwrap()[place].clone_from(&fresh);
        edge.gates[place] = fresh;
        // What has come to the one before ends there.
        tokio::time::sleep(Duration::from_millis(500)).await;
        edge.stop(&format!("gate-{}-{place}", step - 1));
    }
}

/// All of a login at a gate by a browser with this cookie; gives the cookie it has then.
async fn log_in(edge: &Deployment, system: &System, (login, password): (&str, &str), cookie: &str) -> String {
    let answer = edge.attempt(0, login, password).await.expect(200);
    let security_token = answer.text("security_token");
    let pairs = [
        ("grant_type", FACTORS),
        ("client_id", system.fact("client_id")),
        ("security_tokens", security_token.as_str()),
    ];
    let url = format!("{}/auth/oauth/token", edge.gates[1]);
    let answer = post_form(&url, &[("cookie", cookie)], &pairs).await.expect(200);
    let cookie = answer.header("set-cookie").expect("a device token");
    cookie.split(';').next().unwrap().to_owned()
}

/// How many of these wrong attempts on a login are let through.
async fn admitted(edge: &Deployment, login: &str, attempts: usize) -> usize {
    let mut admitted = 0;
    for i in 0..attempts {
        let answer = edge.attempt(i % 2, login, WRONG).await;
        match answer.status {
            401 => admitted += 1,
            status => assert_eq!(status, 429, "{}", answer.body),
        }
    }
    admitted
}

/// Tokens and wrong passwords at whichever gates there are, until told to stop; gives how often each answer came.
async fn load(
    live: Arc<Mutex<Vec<String>>>,
    token: String,
    merchant: String,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        let gate = live.lock().unwrap()[turn % 2].clone();
        let called = call_at(&gate, "/api/x", &token).await;
        *answers.entry(format!("call {} {}", called.status, called.body)).or_default() += 1;
        // Of a login of its own: it has not been counted before, and the issuer decides.
        let body = json!({ "login": format!("somebody-{turn}"), "password": WRONG, "merchant_id": merchant });
        let attempted = post_json(&format!("{gate}/auth/v1/factors/credentials"), &[], &body).await.status;
        *answers.entry(format!("attempt {attempted}")).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn every_key_of_an_edge_is_changed_under_load_and_limits_and_devices_go_on() {
    let system = up(&[]).await;
    let mut edge = Deployment::new(&system, SETTINGS);
    let old = edge.secrets.clone();
    let new_key = |byte| SecretKey::from_bytes([byte; 32]).to_text().expose().to_owned();
    let new_hop = format!("demo-2:{}", new_key(5));
    let (new_limiter, new_state) = (new_key(6), format!("s2:{}", new_key(7)));
    let believed = Arc::new(Mutex::new(believing(&[&old["HOP_KEY"]])));
    edge.origin = origin(&believed).await;
    edge.start_state();
    for place in 0..2 {
        edge.start_gate(&format!("gate-0-{place}"));
        until_healthy(&edge.gates[place]).await;
    }
    let live = Arc::new(Mutex::new(edge.gates.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let (token, merchant) = (system.key_token().await, system.fact("merchant_id").to_owned());
    let load = tokio::spawn(load(Arc::clone(&live), token, merchant, Arc::clone(&stop)));
    system.register("other", PASSWORD).await;
    let (demo, other) = (("demo", system.fact("password")), ("other", PASSWORD));
    let old_device = log_in(&edge, &system, demo, "").await;
    assert_eq!(admitted(&edge, "alice", 2).await, 2);

    // Whoever believes is told of the new keys; what the edge counts by is counted under both.
    *believed.lock().unwrap() = believing(&[&old["HOP_KEY"], &new_hop]);
    let edges = system.command(&["edges", "list"]).await;
    let id = edges["edges"][0]["edge_id"].as_str().unwrap();
    let made = system.command(&["keys", "edge"]).await;
    system.command(&["edges", "next-key", id, "--public-key", made["public_key"].as_str().unwrap()]).await;
    edge.secrets.insert("LIMITER_KEY", format!("{},{new_limiter}", old["LIMITER_KEY"]));
    edge.secrets.insert("STATE_KEY", format!("{},{new_state}", old["STATE_KEY"]));
    restart(&mut edge, &live, 1).await;
    assert_eq!(admitted(&edge, "alice", 10).await, 3, "of five");
    assert_eq!(admitted(&edge, "bob", 10).await, 5);

    // The new keys sign.
    edge.secrets.insert("HOP_KEY", new_hop.clone());
    edge.secrets.insert("EDGE_SIGNING_KEY", made["signing_key"].as_str().unwrap().to_owned());
    edge.secrets.insert("LIMITER_KEY", format!("{new_limiter},{}", old["LIMITER_KEY"]));
    edge.secrets.insert("STATE_KEY", format!("{new_state},{}", old["STATE_KEY"]));
    restart(&mut edge, &live, 2).await;
    assert_eq!(admitted(&edge, "alice", 4).await + admitted(&edge, "bob", 4).await, 0);
    let new_device = log_in(&edge, &system, demo, "").await;
    let browser_of_both = log_in(&edge, &system, other, &old_device).await;
    assert_eq!(admitted(&edge, "demo", 10).await + admitted(&edge, "other", 10).await, 10);
    for ((login, password), device) in
        [(demo, &old_device), (demo, &new_device), (demo, &browser_of_both), (other, &browser_of_both)]
    {
        edge.attempt_with(0, login, password, &[("cookie", device)]).await.expect(200);
    }

    // The old ones are gone.
    *believed.lock().unwrap() = believing(&[&new_hop]);
    system.command(&["edges", "drop-old-key", id]).await;
    edge.secrets.insert("LIMITER_KEY", new_limiter);
    edge.secrets.insert("STATE_KEY", new_state);
    restart(&mut edge, &live, 3).await;
    assert_eq!(admitted(&edge, "bob", 4).await + admitted(&edge, "demo", 4).await, 0);
    // What the old key signed is not signed anew by the new one when somebody else logs in beside it.
    for ((login, password), device, status) in [
        (demo, &old_device, 429),
        (demo, &new_device, 200),
        (demo, &browser_of_both, 429),
        (other, &browser_of_both, 200),
    ] {
        edge.attempt_with(0, login, password, &[("cookie", device)]).await.expect(status);
    }

    stop.store(true, Ordering::SeqCst);
    let answers = load.await.unwrap();
    let expected = ["attempt 401", "call 200 ok"];
    assert_eq!(answers.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{answers:?}");
    assert!(answers["call 200 ok"] >= 30, "{answers:?}");

    // And the old keys are worth nothing: a process that has them still is believed by nobody.
    for (name, problem) in [("HOP_KEY", 403), ("STATE_KEY", 503), ("LIMITER_KEY", 503)] {
        let newest = edge.secrets.insert(name, old[name].clone()).unwrap();
        edge.start_gate(&format!("old-{name}"));
        let gate = edge.gates.pop().unwrap();
        while tokio::net::TcpStream::connect(authority(&gate)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = call_at(&gate, "/api/x", &system.key_token().await).await;
        assert_eq!(answer.status, problem, "{name}: {}", answer.body);
        edge.secrets.insert(name, newest);
    }
}
