//! Load by wrk: one thread, 32 connections where nothing else is said.

use crate::Outcome;
use crate::tools::capture;
use std::path::Path;
use tokio::process::Command;

/// What one run gave.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// Requests per second.
    pub(super) per_second: f64,
    /// The median latency, as wrk writes it.
    pub(super) p50: String,
    /// The 99th percentile.
    pub(super) p99: String,
}

/// How every request of a run must end. A run that ends otherwise measures something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// 2xx.
    Passed,
    /// Anything but 2xx and 3xx.
    Refused,
}

const SCRIPT: &str = r#"
local tokens = {}
for line in io.lines(os.getenv("TOKENS")) do tokens[#tokens + 1] = line end
local i = math.random(#tokens)
request = function()
  i = i % #tokens + 1
  if tokens[i] == "none" then return wrk.format("GET", "/api/x") end
  return wrk.format("GET", "/api/x", { ["Authorization"] = "Bearer " .. tokens[i] })
end
"#;

/// The same request again and again.
const POST: &str = r#"
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = os.getenv("MEDIA_TYPE")
if os.getenv("AUTHORIZATION") ~= "" then wrk.headers["Authorization"] = os.getenv("AUTHORIZATION") end
"#;

/// Every refresh token is used once; its successor waits for its turn.
const REFRESH: &str = r#"
local tokens, first, last = {}, 1, 0
for line in io.lines(os.getenv("TOKENS")) do last = last + 1; tokens[last] = line end
local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
local start = "grant_type=refresh_token&client_id=" .. os.getenv("CLIENT") .. "&refresh_token="
request = function()
  local token = tokens[first]
  tokens[first] = nil
  first = first + 1
  return wrk.format("POST", nil, form, start .. token)
end
response = function(status, headers, body)
  last = last + 1
  tokens[last] = body:match('"refresh_token":"([^"]+)"')
end
"#;

/// A request to repeat.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) url: String,
    pub(super) authorization: String,
    pub(super) media_type: &'static str,
    pub(super) body: String,
}

/// One run of wrk.
struct Run<'a> {
    url: &'a str,
    connections: usize,
    seconds: u64,
    script: Option<&'static str>,
    environment: Vec<(&'static str, std::ffi::OsString)>,
    expect: Expect,
}

impl Run<'_> {
    async fn measure(self, folder: &Path) -> Outcome<Figure> {
        let mut command = Command::new("wrk");
        command.args([
            "-t1",
            &format!("-c{}", self.connections),
            &format!("-d{}s", self.seconds),
            "--latency",
        ]);
        if let Some(text) = self.script {
            let script = folder.join("wrk.lua");
            std::fs::write(&script, text).map_err(|error| format!("{}: {error}", script.display()))?;
            command.arg("-s").arg(&script);
        }
        command.arg(self.url).envs(self.environment);
        let output = capture(&mut command).await.map_err(|error| format!("wrk: {error}"))?;
        read(&output, self.expect)
            .ok_or_else(|| format!("wrk against {} did not end as expected:\n{output}", self.url))
    }
}

/// Requests with tokens in turn.
pub(super) async fn measure(
    url: &str,
    tokens: &Path,
    seconds: u64,
    expect: Expect,
    folder: &Path,
) -> Outcome<Figure> {
    measure_over(32, url, tokens, seconds, expect, folder).await
}

/// The same over as many connections as one likes.
pub(super) async fn measure_over(
    connections: usize,
    url: &str,
    tokens: &Path,
    seconds: u64,
    expect: Expect,
    folder: &Path,
) -> Outcome<Figure> {
    let environment = vec![("TOKENS", tokens.into())];
    Run { url, connections, seconds, script: Some(SCRIPT), environment, expect }.measure(folder).await
}

/// One request again and again over 32 connections.
pub(super) async fn post(target: &Post, seconds: u64, folder: &Path) -> Outcome<Figure> {
    post_over(32, target, seconds, Expect::Passed, folder).await
}

/// The same over as many connections as one likes.
pub(super) async fn post_over(
    connections: usize,
    target: &Post,
    seconds: u64,
    expect: Expect,
    folder: &Path,
) -> Outcome<Figure> {
    let environment = vec![
        ("BODY", target.body.clone().into()),
        ("MEDIA_TYPE", target.media_type.into()),
        ("AUTHORIZATION", target.authorization.clone().into()),
    ];
    Run { url: &target.url, connections, seconds, script: Some(POST), environment, expect }
        .measure(folder)
        .await
}

/// Refresh tokens, each rotated into the next.
pub(super) async fn refresh(
    url: &str,
    client: &str,
    tokens: &Path,
    seconds: u64,
    folder: &Path,
) -> Outcome<Figure> {
    let environment = vec![("TOKENS", tokens.into()), ("CLIENT", client.into())];
    let run =
        Run { url, connections: 32, seconds, script: Some(REFRESH), environment, expect: Expect::Passed };
    run.measure(folder).await
}

/// The 99th percentile, in milliseconds, of fetching something fifty times a second beside other work.
pub(super) async fn p99_of_a_few(url: &str, seconds: u64) -> Outcome<f64> {
    let client = reqwest::Client::new();
    let mut took = Vec::new();
    for _ in 0..seconds * 50 {
        #[expect(clippy::disallowed_methods, reason = "a bench runs in real time")]
        let began = std::time::Instant::now();
        let response = client.get(url).send().await.map_err(|error| error.to_string())?;
        response.bytes().await.map_err(|error| error.to_string())?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().ok_or_else(|| "nothing was measured".to_owned())
}

fn read(output: &str, expect: Expect) -> Option<Figure> {
    let word = |start: &str| {
        let line = output.lines().map(str::trim).find(|line| line.starts_with(start))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    let refused: u64 = word("Non-2xx or 3xx responses:").map_or(Some(0), |text| text.parse().ok())?;
    let total: u64 =
        output.lines().find(|l| l.contains(" requests in "))?.split_whitespace().next()?.parse().ok()?;
    let right = match expect {
        Expect::Passed => refused == 0,
        Expect::Refused => refused == total,
    };
    right.then_some(Figure {
        per_second: word("Requests/sec:")?.parse().ok()?,
        p50: word("50%")?,
        p99: word("99%")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "  Latency Distribution\n     50%    6.10ms\n     99%   12.00ms\n  26015 requests in 5.00s, 5.14MB read\nRequests/sec:   5202.71\n";

    #[test]
    fn a_run_that_ended_otherwise_is_no_figure() {
        assert!((read(OUTPUT, Expect::Passed).unwrap().per_second - 5202.71).abs() < 0.01);
        assert!(read(OUTPUT, Expect::Refused).is_none());
        let refused = format!("{OUTPUT}  Non-2xx or 3xx responses: 26015\n");
        assert!(read(&refused, Expect::Refused).is_some());
        assert!(read(&refused, Expect::Passed).is_none());
    }
}
