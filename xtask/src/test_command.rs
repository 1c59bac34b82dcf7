//! `cargo xtask test`: every test, on both databases, over the real programs.

use crate::postgres::Server;
use crate::progress::step;
use crate::tools::{EdgeBuild, Tools, capture, cargo, run as run_tool};
use crate::{Outcome, up, workspace};
use clap::Args;
use std::path::PathBuf;

/// Options of `test`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Passed on to the test runner, for example a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    run_with(&options.rest, &[]).await
}

/// Runs the tests with arguments for the test runner and variables for the tests.
pub(crate) async fn run_with(rest: &[String], variables: &[(&str, PathBuf)]) -> Outcome<()> {
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
    // What tests leave behind, above all those that are interrupted, goes with the folder. Its path is short: sockets lie in it.
    let temporary = std::env::temp_dir().join(format!("margrave-tests-{}", std::process::id()));
    std::fs::create_dir(&temporary).map_err(|error| format!("{}: {error}", temporary.display()))?;
    step("running the tests");
    let nextest = capture(cargo().args(["nextest", "--version"])).await.is_ok();
    let mut command = cargo();
    command.args(if nextest { ["nextest", "run"].as_slice() } else { ["test"].as_slice() });
    command
        .args(["--workspace"])
        .args(rest)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(workspace::root()?)
        .env("TMPDIR", &temporary)
        .env("TEST_POSTGRES_URL", &url)
        // Not the running program: building the tests may replace it.
        .env("MARGRAVE_XTASK", workspace::program("debug", "xtask")?);
    let outcome = run_tool(&mut command, "the tests").await;
    let _ = std::fs::remove_dir_all(&temporary);
    drop(server);
    outcome
}
