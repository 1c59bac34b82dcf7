//! B4: how long after the answer that ended it a token is still admitted, with pushes that arrive, are lost, or never come.

use super::Plan;
use super::centre::Running;
use super::contenders::Contenders;
use super::report::{Report, Row};
use crate::postgres::Server;
use crate::progress::step;
use crate::tools::{EdgeBuild, Tools};
use crate::workerd::{self, EdgePlan, Role};
use crate::{Outcome, ports, up};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use reqwest::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many are ended on each way.
const ENDINGS: usize = 1000;
/// How many at once.
const AT_ONCE: usize = 4;
/// How many clients send requests meanwhile, beside those that watch.
const LOAD: usize = 8;

/// The way that pushes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// One in ten is lost.
    Dropping,
    Cut,
}

impl Way {
    const ALL: [Self; 3] = [Self::Open, Self::Dropping, Self::Cut];

    const fn name(self) -> &'static str {
        match self {
            Self::Open => "pushes arrive",
            Self::Dropping => "one push in ten is lost",
            Self::Cut => "no push arrives",
        }
    }
}

struct Road {
    way: Way,
    target: String,
    client: Client,
    count: AtomicU64,
}

impl Road {
    /// Gives its URL.
    async fn start(way: Way, edge: &str) -> Outcome<String> {
        let port = ports::choose("road", None, None)?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|error| error.to_string())?;
        let target = format!("{edge}/.margrave/events");
        let road = Self { way, target, client: Client::new(), count: AtomicU64::new(0) };
        let router = Router::new().route("/.margrave/events", post(pass)).with_state(Arc::new(road));
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(format!("http://127.0.0.1:{port}/.margrave/events"))
    }
}

async fn pass(State(road): State<Arc<Road>>, headers: HeaderMap, body: String) -> Response {
    let count = road.count.fetch_add(1, Ordering::Relaxed);
    if road.way == Way::Cut || (road.way == Way::Dropping && count % 10 == 9) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let media_type = headers.get(header::CONTENT_TYPE).cloned();
    let mut request = road.client.post(&road.target).body(body);
    if let Some(media_type) = media_type {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    match request.send().await {
        Ok(answer) => (answer.status(), answer.headers().clone()).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// What became of one ending.
struct Ended {
    /// From its answer to the answer of the last admitted request, in milliseconds; 0 when that came before.
    late_ms: f64,
    /// Whether the answer said that every edge knows.
    propagated: bool,
    /// Whether a request that was sent after the answer was admitted.
    admitted_after: bool,
}

#[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Ends one token, with somebody using it all the while.
async fn end_one(client: &Client, running: &Running, api: &str) -> Outcome<Ended> {
    let token = running.token_of_a_key(client).await?;
    let ask = || client.get(api).bearer_auth(&token).send();
    let admitted = |answer: reqwest::Result<reqwest::Response>| {
        answer.map(|answer| answer.status().is_success()).map_err(|error| error.to_string())
    };
    if !admitted(ask().await)? {
        return Err("a token that lives is refused".to_owned());
    }
    let watch = async {
        let mut last = None;
        loop {
            let sent = now();
            if !admitted(ask().await)? {
                return Ok::<_, String>(last);
            }
            last = Some((sent, now()));
            if last.is_some_and(|(sent, _)| sent.elapsed() > Duration::from_secs(10)) {
                return Err("an answer took ten seconds".to_owned());
            }
        }
    };
    let end = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = running.revoke(client, &token).await?;
        Ok::<_, String>((now(), answer))
    };
    let watched = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(watch, end) });
    let (last, ended) = watched.await.map_err(|_| "an ended token is admitted for ever".to_owned())?;
    let (last, (answered, propagated)) = (last?, ended?);
    let late = last.map_or(Duration::ZERO, |(_, at)| at.saturating_duration_since(answered));
    let admitted_after = last.is_some_and(|(sent, _)| sent > answered);
    Ok(Ended { late_ms: late.as_secs_f64() * 1000.0, propagated, admitted_after })
}

/// Measures B4 on both databases.
pub(super) async fn measure(
    tools: &Tools,
    contenders: &Contenders,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    up::build_issuer(true).await?;
    measure_on(None, tools, contenders, plan, report).await?;
    let server = Server::start().await?;
    let measured = measure_on(Some(&server.url), tools, contenders, plan, report).await;
    drop(server);
    measured
}

async fn measure_on(
    postgres: Option<&str>,
    tools: &Tools,
    contenders: &Contenders,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    let database = if postgres.is_some() { "PostgreSQL" } else { "SQLite" };
    let running =
        Arc::new(Running::start(&plan.folder, &format!("issuer-endings-{database}"), postgres).await?);
    let port = ports::choose("edge", None, None)?;
    let edge_plan = EdgePlan {
        role: Role::Alone,
        build: EdgeBuild::Release,
        folder: plan.folder.join(format!("endings-{database}")),
        port,
        issuer: running.url(),
        origin: contenders.origin(),
        edge_id: running.edge_id(),
        merchants: "[\"*\"]".to_owned(),
        overrides: String::new(),
        secrets: running.secrets(),
    };
    let edge = workerd::start(tools, &edge_plan).await?;
    let url = format!("http://127.0.0.1:{port}");
    let api: Arc<str> = format!("{url}/api/x").into();
    let client = Client::new();

    let stop = Arc::new(AtomicBool::new(false));
    let load = running.token_of_a_key(&client).await?;
    let clients: Vec<_> = (0..LOAD)
        .map(|_| {
            let (client, api, token, stop) =
                (client.clone(), Arc::clone(&api), load.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let _ = client.get(&*api).bearer_auth(&token).send().await;
                }
            })
        })
        .collect();
    for way in Way::ALL {
        step(&format!("ending {ENDINGS} tokens under load, {database}, {}", way.name()));
        let road = Road::start(way, &url).await?;
        running.push_to(&road).await?;
        // Until the issuer has looked at its list.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (client, running, api) = (client.clone(), Arc::clone(&running), Arc::clone(&api));
                tokio::spawn(async move {
                    let mut ended = Vec::new();
                    for _ in 0..ENDINGS / AT_ONCE {
                        ended.push(end_one(&client, &running, &api).await?);
                    }
                    Ok::<_, String>(ended)
                })
            })
            .collect();
        let mut ended = Vec::new();
        for worker in workers {
            ended.extend(worker.await.map_err(|error| error.to_string())??);
        }
        add(report, database, way, &ended);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let _ = client.await;
    }
    edge.stop().await;
    match Arc::try_unwrap(running) {
        Ok(running) => running.stop().await,
        Err(_) => return Err("somebody still uses the issuer".to_owned()),
    }
    Ok(())
}

fn add(report: &mut Report, database: &str, way: Way, ended: &[Ended]) {
    let mut late: Vec<f64> = ended.iter().map(|ending| ending.late_ms).collect();
    late.sort_by(f64::total_cmp);
    let at = |part: usize| late.get((late.len() * part / 100).min(late.len().saturating_sub(1))).copied();
    let (p99, max) = (at(99).unwrap_or(f64::MAX), at(100).unwrap_or(f64::MAX));
    let told = ended.iter().filter(|ending| ending.propagated).count();
    let name = format!("{database}, {}", way.name());
    if way == Way::Cut {
        // The poll interval and a second.
        let what = format!("{name}: last admitted after the ending's answer, ms, max (p99 {p99:.0})");
        report.add(Row::most("B4", &what, 1500.0, max));
    } else {
        let what = format!("{name}: last admitted after the ending's answer, ms, p99 of {}", late.len());
        report.add(Row::most("B4", &what, 1000.0, p99));
        report.add(Row::most("B4", &format!("{name}: the same, max"), 2000.0, max));
    }
    let lies = ended.iter().filter(|ending| ending.propagated && ending.admitted_after).count();
    let what = format!("{name}: admitted after an answer that said `true` (it did {told} times)");
    report.add(Row::exactly("B4", &what, 0, lies as u64));
}
