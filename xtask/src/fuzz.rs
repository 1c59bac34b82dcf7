//! `cargo xtask fuzz`: libFuzzer over everything that parses what a stranger sends.
//!
//! With the stable compiler: coverage by LLVM's own instrumentation, no sanitizer (the code forbids `unsafe`).

use crate::progress::step;
use crate::tools::{cargo, run as run_tool};
use crate::{Outcome, workspace};
use clap::Args;
use tokio::process::Command;

/// The targets.
const TARGETS: [&str; 5] = ["token", "login", "route", "event", "headers"];

/// As cargo-fuzz builds with `--sanitizer none`.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Options of `fuzz`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Which targets. Default: all.
    targets: Vec<String>,
    /// How long each of them runs, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let unknown = options.targets.iter().find(|target| !TARGETS.contains(&target.as_str()));
    if let Some(target) = unknown {
        return Err(format!("there is no target `{target}`; there are {}", TARGETS.join(", ")));
    }
    let all: Vec<String> = TARGETS.iter().map(|target| (*target).to_owned()).collect();
    let targets = if options.targets.is_empty() { &all } else { &options.targets };
    let root = workspace::root()?;
    let target_folder = workspace::target()?.join("fuzz");
    step("building the fuzz targets (libFuzzer needs a C++ compiler)");
    let host = host().await?;
    let mut command = cargo();
    command
        // A target of its own name keeps the flags from build scripts.
        .args(["build", "--release", "--locked", "--bins", "--target", &host])
        .current_dir(root.join("fuzz"))
        .env("CARGO_TARGET_DIR", &target_folder)
        .env("RUSTFLAGS", FLAGS);
    run_tool(&mut command, "cargo build of the fuzz targets").await?;
    for target in targets {
        step(&format!("fuzzing {target} for {} s", options.seconds));
        let found = target_folder.join("corpus").join(target);
        let artifacts = target_folder.join("artifacts").join(target);
        for folder in [&found, &artifacts] {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut command = Command::new(target_folder.join(&host).join("release").join(target));
        command
            // What is new goes into the first folder; the second is the checked-in one.
            .arg(&found)
            .arg(root.join("fuzz/corpus").join(target))
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-max_len=4096", "-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        let what = format!("{target}, whose input lies in {},", artifacts.display());
        run_tool(&mut command, &what).await?;
    }
    step("no finding");
    Ok(())
}

/// The triple of this machine.
async fn host() -> Outcome<String> {
    let said = crate::tools::capture(Command::new("rustc").arg("-vV")).await?;
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "`rustc -vV` does not name this machine".to_owned())
}
