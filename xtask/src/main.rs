//! `cargo xtask`: the developer's and newcomer's commands.
//!
//! `up` starts everything, `edge` starts an edge alone, `test` runs every test. Each installs what it lacks into the
//! target folder and says what it is doing.

mod bench;
mod demo;
mod edge_alone;
mod fuzz;
mod fuzz_api;
mod issuer;
mod origin;
mod outbox;
mod ports;
mod postgres;
mod processes;
mod progress;
mod secrets;
mod settings;
mod test_command;
mod tools;
mod up;
mod upgrade_from;
mod workerd;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The developer's and newcomer's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start issuer, edge and a demo origin, and print what to try.
    Up(up::Options),
    /// Start an edge alone, in front of any origin, for any issuer that publishes a JWKS.
    Edge(edge_alone::Options),
    /// Run every test; starts a PostgreSQL of its own when TEST_POSTGRES_URL is not set.
    Test(test_command::Options),
    /// Move two issuers from another release to this one under load: nobody is refused. It wants cargo-nextest.
    UpgradeFrom(upgrade_from::Options),
    /// Measure against named peers and write docs/benchmarks.md.
    Bench(bench::Options),
    /// Fuzz whatever parses what a stranger sends.
    Fuzz(fuzz::Options),
    /// Try the issuer's API by its OpenAPI document, on both databases (schemathesis, which needs Python 3).
    FuzzApi(fuzz_api::Options),
    /// Build the Worker; `wrangler` runs this.
    BuildEdge,
}

/// What ends a command: one sentence that names the mend.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = async {
        match arguments.command {
            Command::Up(options) => up::run(options).await,
            Command::Edge(options) => edge_alone::run(options).await,
            Command::Test(options) => test_command::run(&options).await,
            Command::UpgradeFrom(options) => upgrade_from::run(&options).await,
            Command::Bench(options) => bench::run(&options).await,
            Command::Fuzz(options) => fuzz::run(&options).await,
            Command::FuzzApi(options) => fuzz_api::run(&options).await,
            Command::BuildEdge => tools::Tools::ensure().await?.build_edge(tools::EdgeBuild::Release).await,
        }
    };
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run),
        Err(error) => Err(format!("the runtime does not start: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
