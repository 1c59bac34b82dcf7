//! `cargo xtask test`: every test, on both databases, over the real programs.

use crate::postgres::Server;
use crate::progress::step;
use crate::tools::{EdgeBuild, Tools, capture, cargo, run as run_tool};
use crate::{Outcome, up, workspace};
use clap::Args;

/// Options of `test`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Passed on to the test runner, for example a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let tools = Tools::ensure().await?;
    up::build_issuer(false).await?;
    for build in [EdgeBuild::Release, EdgeBuild::Drill] {
        tools.build_edge(build).await?;
    }
    let given = std::env::var("TEST_POSTGRES_URL").ok();
    let server = match &given {
        Some(_) => None,
        None => {
            step("starting a PostgreSQL for the tests");
            Some(Server::start().await?)
        }
    };
    let url = given.or_else(|| server.as_ref().map(|server| server.url.clone())).unwrap_or_default();
    step("running the tests");
    let nextest = capture(cargo().args(["nextest", "--version"])).await.is_ok();
    let mut command = cargo();
    command.args(if nextest { ["nextest", "run"].as_slice() } else { ["test"].as_slice() });
    command
        .args(["--workspace"])
        .args(&options.rest)
        .current_dir(workspace::root()?)
        .env("TEST_POSTGRES_URL", &url)
        // Not the running program: building the tests may replace it.
        .env("MARGRAVE_XTASK", workspace::program("debug", "xtask")?);
    let outcome = run_tool(&mut command, "the tests").await;
    if let Some(server) = server {
        server.stop().await;
    }
    outcome
}
