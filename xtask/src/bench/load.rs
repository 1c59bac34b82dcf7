//! Load by wrk: one thread, 32 connections, tokens in turn.

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

/// Runs wrk for so many seconds.
pub(super) async fn measure(
    url: &str,
    tokens: &Path,
    seconds: u64,
    expect: Expect,
    folder: &Path,
) -> Outcome<Figure> {
    let script = folder.join("tokens.lua");
    std::fs::write(&script, SCRIPT).map_err(|error| format!("{}: {error}", script.display()))?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c32", &format!("-d{seconds}s"), "--latency", "-s"]).arg(&script).arg(url);
    command.env("TOKENS", tokens);
    let output = capture(&mut command).await.map_err(|error| format!("wrk: {error}"))?;
    read(&output, expect).ok_or_else(|| format!("wrk against {url} did not end as expected:\n{output}"))
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
