//! What an operator's worst day does to several issuers on one PostgreSQL: killed, restarted, without their database. Whatever was
//! acknowledged is there afterwards, nothing that counts once counts twice, answers meanwhile are 503 with `Retry-After`, and nobody has to
//! lend a hand.

use crate::cluster::Cluster;
use crate::http::Answer;
use crate::system::{FACTORS, System, free_address, up_with};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A client whose calls may fail.
#[derive(Clone)]
pub(crate) struct Client(reqwest::Client);

impl Client {
    pub(crate) fn new() -> Self {
        Self(reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap())
    }

    /// Nothing where no answer came.
    pub(crate) async fn post(&self, url: &str, token: Option<&str>, body: Body<'_>) -> Option<Answer> {
        let mut request = self.0.post(url);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request = match body {
            Body::Json(value) => request.header("content-type", "application/json").body(value.to_string()),
            Body::Form(pairs) => request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(crate::http::form(pairs)),
        };
        let answer = request.send().await.inspect_err(|error| eprintln!("{url}: {error:?}")).ok()?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        Some(Answer { status, headers, body: answer.text().await.ok()? })
    }
}

pub(crate) enum Body<'a> {
    Json(Value),
    Form(&'a [(&'a str, &'a str)]),
}

/// What people may be told while something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Patience {
    /// To come again; nothing at all only by the issuers at these URLs, which are killed.
    Some(Vec<String>),
    /// Neither: whatever happens is nothing to them.
    None,
}

impl Patience {
    /// Whether an answer, or none, will do; what is no success is left then.
    fn suffices(&self, issuer: &str, answer: Option<&Answer>) -> bool {
        match (self, answer) {
            (Self::Some(killed), None) => killed.iter().any(|url| url == issuer),
            (Self::Some(_), Some(answer)) => is_proper(answer),
            (Self::None, answer) => answer.is_some_and(|answer| answer.status < 300),
        }
    }
}

/// Nothing but success, or a word to come again: of what is asked here nothing deserves a verdict.
pub(crate) fn is_proper(answer: &Answer) -> bool {
    answer.status < 300 || (answer.status == 503 && answer.header("retry-after").is_some())
}

/// What people had been told when it was over.
#[derive(Default)]
pub(crate) struct Told {
    /// Accounts that were made: their usernames.
    accounts: Vec<String>,
    /// Security tokens that were exchanged.
    spent: Vec<String>,
    /// The last refresh token of each session, where nothing is in doubt.
    sessions: Vec<String>,
    /// Refresh tokens that were used.
    used: Vec<String>,
    /// How often they were sent away with 503.
    sent_away: usize,
}

/// One person after another: makes an account, logs in, refreshes; whatever fails in doubt is left.
pub(crate) async fn live(
    client: Client,
    issuers: Vec<String>,
    facts: Arc<Facts>,
    worker: usize,
    (stop, served): (Arc<AtomicBool>, Arc<AtomicUsize>),
    patience: Patience,
) -> Told {
    let judge = |issuer: &str, answer: &Option<Answer>, told: &mut Told| {
        assert!(patience.suffices(issuer, answer.as_ref()), "worker {worker} got {answer:?} at {issuer}");
        told.sent_away += usize::from(answer.as_ref().is_some_and(|answer| answer.status == 503));
    };
    let mut told = Told::default();
    for turn in 0.. {
        if stop.load(Ordering::Acquire) {
            return told;
        }
        let issuer = &issuers[(worker + turn) % issuers.len()];
        let username = format!("w{worker}-{turn}");
        let token = format!("Bearer {}", facts.key_token);
        let body = json!({ "username": username, "password": PASSWORD });
        let made = client.post(&format!("{issuer}/v1/accounts"), Some(&token), Body::Json(body)).await;
        judge(issuer, &made, &mut told);
        let Some(made) = made else { continue };
        if made.status != 201 {
            continue;
        }
        told.accounts.push(username.clone());
        let body = json!({ "login": username, "password": PASSWORD, "merchant_id": facts.merchant_id });
        let proven = client.post(&format!("{issuer}/v1/factors/credentials"), None, Body::Json(body)).await;
        judge(issuer, &proven, &mut told);
        let Some(proven) = proven else { continue };
        if proven.status != 200 {
            continue;
        }
        let proven = proven.text("security_token");
        let pairs = [("grant_type", FACTORS), ("client_id", &facts.client_id), ("security_tokens", &proven)];
        let exchange = format!("{issuer}/oauth/token");
        let answer = client.post(&exchange, None, Body::Form(&pairs)).await;
        judge(issuer, &answer, &mut told);
        let Some(answer) = answer else { continue };
        if answer.status != 200 {
            continue;
        }
        served.fetch_add(1, Ordering::Relaxed);
        told.spent.push(proven);
        let mut refresh = answer.text("refresh_token");
        let mut is_sure = true;
        for step in 0..4 {
            let issuer = &issuers[(worker + turn + step) % issuers.len()];
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&format!("{issuer}/oauth/token"), None, Body::Form(&pairs)).await;
            judge(issuer, &answer, &mut told);
            match answer {
                Some(answer) if answer.status == 200 => {
                    told.used.push(refresh);
                    refresh = answer.text("refresh_token");
                }
                Some(answer) => {
                    assert_eq!(answer.status, 503, "a live token is refused: {}", answer.body);
                    // A 503 may come after the commit was lost on the way: in doubt.
                    is_sure = false;
                    break;
                }
                None => {
                    is_sure = false;
                    break;
                }
            }
        }
        if is_sure {
            told.sessions.push(refresh);
        }
    }
    told
}

pub(crate) const PASSWORD: &str = "a rather long password";

pub(crate) struct Facts {
    merchant_id: String,
    client_id: String,
    key_token: String,
}

pub(crate) async fn facts(system: &System) -> Arc<Facts> {
    Arc::new(Facts {
        merchant_id: system.fact("merchant_id").to_owned(),
        client_id: system.fact("client_id").to_owned(),
        key_token: system.key_token().await,
    })
}

/// Everything that people were told holds.
pub(crate) async fn holds(client: &Client, issuer: &str, facts: &Facts, told: Vec<Told>) {
    let exchange = format!("{issuer}/oauth/token");
    let (mut accounts, mut sessions) = (0, 0);
    for told in told {
        for username in told.accounts {
            let body = json!({ "login": username, "password": PASSWORD, "merchant_id": facts.merchant_id });
            let url = format!("{issuer}/v1/factors/credentials");
            let answer = client.post(&url, None, Body::Json(body)).await.unwrap();
            assert_eq!(answer.status, 200, "{username} was made and is not there: {}", answer.body);
            accounts += 1;
        }
        for proven in told.spent {
            let pairs =
                [("grant_type", FACTORS), ("client_id", &facts.client_id), ("security_tokens", &proven)];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 400, "a spent security token counts again");
        }
        for refresh in told.sessions {
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 200, "an acknowledged session is lost: {}", answer.body);
            sessions += 1;
        }
        // Last: it ends the session it belongs to.
        for refresh in told.used {
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 400, "a used refresh token counts again");
        }
    }
    assert!(accounts > 5 && sessions > 5, "{accounts} accounts, {sessions} sessions: too little was done");
}

/// Waits until logins go through again, by themselves.
pub(crate) async fn recovered(served: &AtomicUsize) {
    let before = served.load(Ordering::Relaxed);
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if served.load(Ordering::Relaxed) >= before + 12 {
            return;
        }
    }
    panic!("nothing is served any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_and_their_postgresql_are_killed_under_load_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::start();
    let settings = ["edge.limits.address_attempts=100000", "edge.limits.account_attempts=1000"];
    let system = up_with(&settings, &["--postgres", &cluster.url()]).await;
    let environment =
        [("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "100000"), ("MARGRAVE_LIMITS__EXCHANGE_ATTEMPTS", "100000")];
    let addresses = [free_address(), free_address()];
    let mut running = Vec::new();
    for address in &addresses {
        running.push(system.another_issuer_at(address, &environment).await);
    }
    let (client, facts) = (Client::new(), facts(&system).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let issuers: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let signs = (Arc::clone(&stop), Arc::clone(&served));
            let patience = Patience::Some(issuers.clone());
            let (client, facts) = (client.clone(), Arc::clone(&facts));
            tokio::spawn(live(client, issuers.clone(), facts, worker, signs, patience))
        })
        .collect();
    recovered(&served).await;
    // Each in its turn, and each comes back.
    for (issuer, address) in running.iter_mut().zip(&addresses) {
        issuer.kill().await.unwrap();
        recovered(&served).await;
        *issuer = system.another_issuer_at(address, &environment).await;
        recovered(&served).await;
    }
    cluster.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.up();
    recovered(&served).await;
    stop.store(true, Ordering::Release);
    let mut told = Vec::new();
    for worker in workers {
        told.push(worker.await.unwrap());
    }
    let sent_away: usize = told.iter().map(|told| told.sent_away).sum();
    assert!(sent_away > 0, "nobody noticed that the database was away");
    holds(&client, &issuers[0], &facts, told).await;
    let verified = system.command(&["audit", "verify"]).await;
    assert_eq!(verified["ok"], true, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_retries_while_the_database_is_away_is_not_locked_out_at_the_edge() {
    let cluster = Cluster::start();
    let system = up_with(&[], &["--postgres", &cluster.url()]).await;
    let (login, password) = (system.fact("username"), system.fact("password"));
    system.attempt(login, password).await.expect(200);
    cluster.kill();
    // More often than anybody may be wrong.
    for _ in 0..7 {
        let answer = system.attempt(login, password).await;
        assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    }
    cluster.up();
    let mut said = Vec::new();
    for _ in 0..100 {
        let answer = system.attempt(login, password).await;
        if answer.status == 200 {
            return;
        }
        said.push(answer.status);
        assert_eq!(answer.status, 503, "{said:?}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{said:?}");
}
