//! How the edge treats the keys of an issuer that is slow, broken or hostile. The issuer here is ours, and says
//! whatever a test wants.

use crate::forged::Forger;
use crate::http::get;
use crate::system::{System, edge};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the strange issuer answers, and how often it was asked for its keys.
#[derive(Debug, Default)]
struct Strange {
    answer: Mutex<(u16, String)>,
    asked: AtomicUsize,
}

/// A server that publishes what it is told.
pub(crate) struct StrangeIssuer {
    strange: Arc<Strange>,
    pub(crate) url: String,
}

impl StrangeIssuer {
    pub(crate) async fn start(keys: String) -> Self {
        let strange = Arc::new(Strange { answer: Mutex::new((200, keys)), asked: AtomicUsize::new(0) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::clone(&strange);
        let router = Router::new()
            .route(
                "/.well-known/jwks.json",
                any(async move || {
                    state.asked.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = state.answer.lock().unwrap().clone();
                    (
                        StatusCode::from_u16(status).unwrap(),
                        [(header::CONTENT_TYPE, "application/json")],
                        body,
                    )
                        .into_response()
                }),
            )
            // The same server is the origin.
            .route("/api/{*rest}", any(async || "origin"));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { strange, url }
    }

    fn say(&self, status: u16, body: &str) {
        *self.strange.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.strange.asked.load(Ordering::SeqCst)
    }

    /// An edge in front of it.
    pub(crate) async fn edge(&self, settings: &[&str]) -> System {
        edge(&self.url, &self.url, settings).await
    }
}

#[tokio::test]
async fn a_thousand_unknown_keys_cost_one_fetch_per_cooldown_and_a_new_key_still_gets_through() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&["edge.jwks.cooldown_s=2"]).await;
    let good = forger.token(&issuer.url);
    system.call("/api/x", &good).await.expect(200);
    let before = issuer.asked();
    for i in 0..1000 {
        let stranger = Forger::named(2, &format!("unknown-{i}"));
        system.call("/api/x", &stranger.token(&issuer.url)).await.expect(401);
    }
    let fetches = issuer.asked() - before;
    assert!((1..=8).contains(&fetches), "{fetches} fetches for a thousand unknown keys");
    system.call("/api/x", &good).await.expect(200);

    let newcomer = Forger::new(3);
    issuer.say(200, &Forger::jwks(&[&forger, &newcomer]));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    system.call("/api/x", &newcomer.token(&issuer.url)).await.expect(200);
}

#[tokio::test]
async fn a_bad_set_is_refused_and_the_last_good_one_serves_until_its_hard_age() {
    let forger = Forger::new(1);
    let good_set = Forger::jwks(&[&forger]);
    let issuer = StrangeIssuer::start(good_set.clone()).await;
    let system =
        issuer.edge(&["edge.jwks.fresh_s=1", "edge.jwks.max_stale_s=12", "edge.jwks.cooldown_s=1"]).await;
    let token = forger.token(&issuer.url);
    system.call("/api/x", &token).await.expect(200);
    let with_private = good_set.replace("\"use\"", "\"d\":\"AAAA\",\"use\"");
    let twice = good_set.replace("[{", &format!("[{},{{", &good_set[9..good_set.len() - 2]));
    let huge = format!("{}{}", good_set, " ".repeat(70_000));
    for (status, body) in [
        (500, "oops"),
        (200, "<html>welcome</html>"),
        (200, r#"{"keys":[]}"#),
        (200, &with_private),
        (200, &twice),
        (200, &huge),
        (302, ""),
    ] {
        issuer.say(status, body);
        let before = issuer.asked();
        for _ in 0..100 {
            system.call("/api/x", &token).await.expect(200);
            if issuer.asked() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(issuer.asked() > before, "the set was not fetched again");
        tokio::time::sleep(Duration::from_millis(100)).await;
        system.call("/api/x", &token).await.expect(200);
    }
    // Past the hard age nothing passes, and recovery needs no hand.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let closed = system.call("/api/x", &token).await.expect(503);
    assert_eq!(closed.code(), "state_unavailable");
    assert!(closed.header("retry-after").is_some());
    issuer.say(200, &good_set);
    for _ in 0..50 {
        if system.call("/api/x", &token).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no recovery");
}

#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let forger = Forger::new(1);
    let issuer = StrangeIssuer::start(Forger::jwks(&[&forger])).await;
    let system = issuer.edge(&[]).await;
    let canary = StrangeIssuer::start(Forger::jwks(&[&Forger::named(9, "k1")])).await;
    let jku = format!("{}/.well-known/jwks.json", canary.url);
    let attacker = Forger::named(9, "k1");
    for member in
        [format!(r#""jku":"{jku}""#), format!(r#""x5u":"{jku}""#), format!(r#""jwk":{}"#, attacker.jwk())]
    {
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"k1",{member}}}"#);
        let token = attacker.sign(&header, &attacker.claims(&issuer.url).to_string());
        system.call("/api/x", &token).await.expect(401);
    }
    assert_eq!(canary.asked(), 0);
    get(&format!("{}?access_token={}", system.edge("/api/x"), forger.token(&issuer.url)), &[])
        .await
        .expect(401);
}
