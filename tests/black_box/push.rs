//! Endings are pushed to the edge: what that buys, and what it cannot do.

use crate::http::{Answer, basic, post_text, send};
use crate::key_rotation::kid;
use crate::revocation::until_refused;
use crate::system::{LoggedIn, System, claims, up};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where an edge says that it stands.
const POSITION: &str = "margrave-feed-position";

/// What stands between the issuer and the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Cut,
    /// Nothing comes back for longer than anybody waits.
    Slow,
}

/// A way on which pushes go, which can be cut and which remembers what went along.
struct Road {
    url: String,
    way: Arc<Mutex<Way>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Road {
    async fn to(edge: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/.margrave/events", listener.local_addr().unwrap());
        let (way, seen) = (Arc::new(Mutex::new(Way::Open)), Arc::new(Mutex::new(Vec::new())));
        let (gate, log, target) = (Arc::clone(&way), Arc::clone(&seen), format!("{edge}/.margrave/events"));
        let pass = post(move |body: String| {
            let (gate, log, target) = (Arc::clone(&gate), Arc::clone(&log), target.clone());
            async move {
                log.lock().unwrap().push(body.clone());
                let way = *gate.lock().unwrap();
                match way {
                    Way::Open => {
                        let answer = deliver(&target, &body).await;
                        let position = answer.header(POSITION).unwrap_or("").to_owned();
                        (StatusCode::from_u16(answer.status).unwrap(), [(POSITION, position)])
                    }
                    Way::Cut => (StatusCode::SERVICE_UNAVAILABLE, [(POSITION, String::new())]),
                    Way::Slow => {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        (StatusCode::ACCEPTED, [(POSITION, String::new())])
                    }
                }
            }
        });
        let router = Router::new().route("/.margrave/events", pass);
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, way, seen }
    }

    fn is(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn deliver(url: &str, batch: &str) -> Answer {
    deliver_as(url, batch, "application/secevent+jwt").await
}

async fn deliver_as(url: &str, batch: &str, media_type: &str) -> Answer {
    let request = reqwest::Client::new().post(url).header("content-type", media_type).body(batch.to_owned());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let position = answer.headers().get(POSITION).map(|value| value.to_str().unwrap().to_owned());
    let headers = position.map(|position| (POSITION.to_owned(), position)).into_iter().collect();
    Answer { status, headers, body: answer.text().await.unwrap() }
}

impl System {
    async fn push_over(&self, road: &Road) {
        let edges = self.command(&["edges", "list"]).await;
        let edge = edges["edges"][0]["edge_id"].as_str().unwrap().to_owned();
        self.command(&["edges", "set-push", &edge, &road.url]).await;
        // The issuer looks every two seconds, and says hello over a new way.
        for _ in 0..100 {
            if !road.seen().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing is pushed over the new way");
    }

    /// Ends a session over the edge; gives whether the answer says that every edge knows.
    async fn log_out(&self, person: &LoggedIn) -> bool {
        let authorization = format!("Bearer {}", person.access);
        let logout = self.edge("/auth/v1/logout");
        let answer = send("POST", &logout, &[("authorization", &authorization)], None).await.expect(204);
        match answer.header("margrave-propagated") {
            Some("true") => true,
            Some("false") => false,
            other => panic!("it says {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_said_to_be_propagated_is_refused_from_then_on() {
    let system = up(&["edge.revocations.poll_ms=10000"]).await;
    // Until the issuer knows its edges.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for _ in 0..10 {
        let person = system.log_in().await;
        system.call("/api/x", &person.access).await.expect(200);
        assert!(system.log_out(&person).await, "the edge is there, so it is told");
        // At once, though this edge looks every ten seconds only.
        assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
    }
}

#[tokio::test]
async fn whichever_issuer_ends_something_every_edge_knows_before_it_answers() {
    let system = up(&["edge.revocations.poll_ms=10000"]).await;
    let (_second, second) = system.another_issuer(&[]).await;
    let (_third, third) = system.another_issuer(&[]).await;
    // Until they know their edges.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for turn in 0..12 {
        let person = system.log_in().await;
        system.call("/api/x", &person.access).await.expect(200);
        let authorization = format!("Bearer {}", person.access);
        let logout = format!("{}/v1/logout", if turn % 2 == 0 { &second } else { &third });
        let answer = send("POST", &logout, &[("authorization", &authorization)], None).await.expect(204);
        assert_eq!(answer.header("margrave-propagated"), Some("true"), "turn {turn}");
        assert_eq!(system.call("/api/x", &person.access).await.expect(401).code(), "session_ended");
    }
}

/// Every kind of ending that there is, with the issuer and then the edge gone right after the answer.
#[tokio::test]
async fn whatever_kind_is_said_to_be_propagated_stays_refused_with_the_issuer_gone() {
    let mut system = up(&["edge.revocations.poll_ms=10000"]).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let form = "application/x-www-form-urlencoded";
    let told = |answer: &Answer| assert_eq!(answer.header("margrave-propagated"), Some("true"));
    let mut ended = Vec::new();

    // A token. Of one that is none the answer says as much.
    let token = system.key_token().await;
    let key = [("authorization", basic(system.fact("key_id"), system.fact("key_secret")))];
    let key: Vec<(&str, &str)> = key.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for text in ["nonsense", &token] {
        let answer = post_text(&system.issuer("/oauth/revoke"), &key, form, format!("token={text}")).await;
        told(&answer.expect(200));
    }
    ended.push(token);
    // A session.
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    assert!(system.log_out(&person).await);
    ended.push(person.access);
    // An account.
    let person = system.log_in().await;
    system.call("/api/x", &person.access).await.expect(200);
    let account = claims(&person.access)["account_id"].as_str().unwrap().to_owned();
    told(&system.admin("POST", &format!("/accounts/{account}/disable"), None).await.expect(204));
    ended.push(person.access);
    // A merchant's key.
    let merchant = system.fact("merchant_id").to_owned();
    let body = serde_json::json!({ "permissions": ["read"] });
    let made = system.admin("POST", &format!("/merchants/{merchant}/keys"), Some(body)).await.expect(201);
    let (id, secret) = (made.text("key_id"), made.text("secret"));
    let grant = "grant_type=client_credentials".to_owned();
    let authorization = basic(&id, &secret);
    let answer =
        post_text(&system.issuer("/oauth/token"), &[("authorization", &authorization)], form, grant).await;
    let of_key = answer.expect(200).text("access_token");
    system.call("/api/x", &of_key).await.expect(200);
    told(&system.admin("DELETE", &format!("/merchants/{merchant}/keys/{id}"), None).await.expect(204));
    ended.push(of_key);
    // A signing key, with the tokens that nobody has ended otherwise.
    let signed = system.key_token().await;
    system.call("/api/x", &signed).await.expect(200);
    let retire = format!("/signing-keys/{}/retire", kid(&signed));
    told(&system.admin("POST", &retire, None).await.expect(204));
    ended.push(signed);

    system.signal("issuer_pid", "-STOP");
    for token in &ended {
        system.call("/api/x", token).await.expect(401);
    }
    // What was acknowledged lies in storage, pulled or not.
    system.crash_and_restart("edge_pid").await;
    for token in &ended {
        system.call("/api/x", token).await.expect(401);
    }
    let alive = system.key_token().await;
    system.call("/api/x", &alive).await.expect(200);
}

#[tokio::test]
async fn an_answer_never_says_that_those_know_who_may_not() {
    // Many isolates: that one of them knows says nothing about the others.
    let system = up(&["edge.revocations.isolates=many"]).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let person = system.log_in().await;
    assert!(!system.log_out(&person).await);
    drop(system);

    let system = up(&[]).await;
    let edges = system.command(&["edges", "list"]).await;
    let edge = edges["edges"][0]["edge_id"].as_str().unwrap().to_owned();
    for _ in 0..50 {
        let person = system.log_in().await;
        if system.log_out(&person).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Nothing is pushed any more: nobody waits, and nobody is told.
    let person = system.log_in().await;
    let other = system.log_in().await;
    system.command(&["edges", "set-push", &edge]).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
    let began = Instant::now();
    assert!(!system.log_out(&person).await);
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    until_refused(&system, "/api/x", &person.access).await;
    // Disabled it hears nothing, and may go on admitting.
    system.command(&["edges", "disable", &edge]).await;
    let authorization = format!("Bearer {}", other.access);
    let answer = send("POST", &system.issuer("/v1/logout"), &[("authorization", &authorization)], None).await;
    assert_eq!(answer.expect(204).header("margrave-propagated"), Some("false"));
}

#[tokio::test]
async fn a_way_that_is_cut_makes_an_ending_later_and_not_lost() {
    let system = up(&[]).await;
    let road = Road::to(system.fact("edge")).await;
    system.push_over(&road).await;
    for way in [Way::Cut, Way::Slow] {
        road.is(way);
        let person = system.log_in().await;
        system.call("/api/x", &person.access).await.expect(200);
        #[expect(clippy::disallowed_methods, reason = "a test waits in real time")]
        let began = Instant::now();
        assert!(!system.log_out(&person).await, "{way:?}: nobody has acknowledged it");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1500), "{way:?}: an answer does not wait for long: {took:?}");
        until_refused(&system, "/api/x", &person.access).await;
    }
    road.is(Way::Open);
    // It is tried again by itself, and once it answers it is waited for.
    for _ in 0..100 {
        let person = system.log_in().await;
        if system.log_out(&person).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the edge is never told again");
}

#[tokio::test]
async fn only_the_issuers_batches_for_this_edge_are_taken_and_repeating_them_changes_nothing() {
    let system = up(&[]).await;
    let road = Road::to(system.fact("edge")).await;
    system.push_over(&road).await;
    let foreign = Road::to(system.fact("edge")).await;
    let key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let added = [
        "edges",
        "add",
        "other",
        &format!("--public-key={key}"),
        "--merchants",
        "*",
        "--push-url",
        &foreign.url,
    ];
    system.command(&added).await;
    let gone = system.log_in().await;
    let alive = system.log_in().await;
    system.call("/api/x", &gone.access).await.expect(200);
    system.log_out(&gone).await;
    until_refused(&system, "/api/x", &gone.access).await;
    let batch = road.seen().last().unwrap().clone();

    let url = system.edge("/.margrave/events");
    for _ in 0..3 {
        deliver(&url, &batch).await.expect(202);
    }
    system.call("/api/x", &alive.access).await.expect(200);
    assert_eq!(system.call("/api/x", &gone.access).await.expect(401).code(), "session_ended");

    // Everything else is one and the same refusal.
    for _ in 0..100 {
        if !foreign.seen().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let for_another_edge = foreign.seen().last().unwrap().clone();
    let (input, signature) = batch.rsplit_once('.').unwrap();
    let other_signature = for_another_edge.rsplit_once('.').unwrap().1;
    let swapped = format!("{input}.{other_signature}");
    let cut = format!("{input}.{}", &signature[..signature.len() - 4]);
    let refused = deliver(&url, "").await.expect(400);
    assert_eq!(refused.json()["err"], "invalid_request");
    for bad in ["x", "a.b.c", &for_another_edge, &swapped, &cut, &gone.access, &"x".repeat(100_000)] {
        assert_eq!(deliver(&url, bad).await.expect(400).body, refused.body, "{bad:.40}");
    }
    deliver(&url, &"x".repeat(2_000_000)).await.expect(413);
    for media_type in ["application/json", "text/plain", ""] {
        deliver_as(&url, &batch, media_type).await.expect(415);
    }
    system.call("/api/x", &alive.access).await.expect(200);
}
