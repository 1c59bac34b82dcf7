//! B5, B6: how often the edge asks its objects and the issuer.

use super::Plan;
use super::contenders::Contenders;
use super::load::{Expect, Post, measure, post_over};
use super::report::{Report, Row};
use super::tokens::Tokens;
use crate::Outcome;
use crate::progress::step;
use crate::tools::{EdgeBuild, Tools};
use serde_json::{Value, json};
use std::time::Duration;

/// Sessions in B5.
const SESSIONS: usize = 100;
/// The touch window in B5, in seconds.
const WINDOW_S: u64 = 10;

/// Measures B5: object calls per session and touch window, and calls of the issuer.
pub(super) async fn object_calls(
    tools: &Tools,
    contenders: &Contenders,
    tokens: &Tokens,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    tools.build_edge(EdgeBuild::Drill).await?;
    // Counting is what the build for drills adds; it judges and forwards like the one that is deployed.
    let overrides = format!("session.touch_s = {WINDOW_S}");
    let (edge, url) = contenders.another_edge(tools, EdgeBuild::Drill, "calls", overrides).await?;
    let sessions = plan.write("hundred", &tokens.sessions(SESSIONS))?;
    let api = format!("{url}/api/x");
    measure(&api, &sessions, 3, Expect::Passed, &plan.folder).await?;
    let (before, asked_before) = (calls(&url).await?, contenders.asked().requests());
    let windows = 3;
    let seconds = WINDOW_S * windows;
    let figure = measure(&api, &sessions, seconds, Expect::Passed, &plan.folder).await?;
    let (after, asked_after) = (calls(&url).await?, contenders.asked().requests());
    edge.stop().await;
    let made = (after - before) as f64;
    let requests = figure.per_second * seconds as f64;
    step(&format!("{made} calls of account objects for {requests:.0} requests"));
    report.add(Row::most(
        "B5",
        &format!(
            "account object calls per session and touch window ({:.1} per 1,000 requests of {SESSIONS} sessions)",
            made * 1000.0 / requests
        ),
        2.01,
        made / (SESSIONS as f64 * windows as f64),
    ));
    let what = "calls of the issuer meanwhile, but for feed, keys and reports";
    report.add(Row::exactly("B5", what, 0, asked_after - asked_before));
    Ok(())
}

async fn calls(url: &str) -> Outcome<u64> {
    let request = reqwest::Client::new().post(format!("{url}/.margrave/drill/calls"));
    let response = request.send().await.map_err(|error| error.to_string())?;
    let body = response.text().await.map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(&body).map_err(|error| format!("{body}: {error}"))?;
    value.get("accounts").and_then(Value::as_u64).ok_or_else(|| format!("no count in {body}"))
}

/// Measures B6: wrong attempts on one login that reach the issuer in a flood of t seconds, N + ⌊t·N/W⌋.
pub(super) async fn attempts(
    tools: &Tools,
    contenders: &Contenders,
    plan: &Plan<'_>,
    report: &mut Report,
) -> Outcome<()> {
    // Half a step beside the next refill, so that a late start of the load cannot tip the count.
    for (attempts, window_s, seconds) in [(5_u64, 20_u64, 10_u64), (5, 300, 10), (10, 15, 10)] {
        let overrides = format!(
            "limits.account_attempts = {attempts}\nlimits.account_window_s = {window_s}\n\
             limits.address_attempts = 1000000\nlimits.address_window_s = 1\n"
        );
        let folder = format!("attempts-{attempts}-{window_s}");
        let (edge, url) = contenders.another_edge(tools, EdgeBuild::Release, &folder, overrides).await?;
        let before = contenders.asked().attempts();
        let target = Post {
            url: format!("{url}/auth/v1/factors/credentials"),
            authorization: String::new(),
            media_type: "application/json",
            body: json!({ "login": "victim", "password": "wrong", "merchant_id": "bench-merchant" })
                .to_string(),
        };
        let figure = post_over(32, &target, seconds, Expect::Refused, &plan.folder).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let reached = contenders.asked().attempts() - before;
        edge.stop().await;
        let what = format!(
            "of {:.0} wrong attempts in {seconds} s reached the issuer (N {attempts}, W {window_s} s)",
            figure.per_second * seconds as f64
        );
        report.add(Row::exactly("B6", &what, attempts + seconds * attempts / window_s, reached));
    }
    Ok(())
}
