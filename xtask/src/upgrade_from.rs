//! `cargo xtask upgrade-from`: whether issuers of another release move to this one under load without a refused request.

use crate::Outcome;
use crate::progress::step;
use crate::tools::{cargo, run as run_tool};
use crate::{test_command, workspace};
use clap::Args;
use std::path::PathBuf;
use tokio::process::Command;

/// The test that it is for, which is ignored without it.
const TEST: &str = "issuers_of_another_release_move_to_this_one_and_nobody_is_refused";

/// Options of `upgrade-from`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The release to come from: a tag, or any commit.
    revision: String,
}

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    let program = build(&options.revision).await?;
    let rest =
        ["--run-ignored", "only", "--no-capture", "-E", &format!("test({TEST})")].map(str::to_owned).to_vec();
    test_command::run_with(&rest, &[("OTHER_RELEASE", program)]).await
}

/// Builds the issuer of a revision from a checkout of its own beside this one's builds.
async fn build(revision: &str) -> Outcome<PathBuf> {
    let (root, folder) = (workspace::root()?, workspace::target()?.join("other-release"));
    let source = folder.join("source");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    step(&format!("building the issuer of {revision}"));
    let mut git = Command::new("git");
    git.current_dir(&root);
    if source.exists() {
        git.arg("-C").arg(&source).args(["checkout", "--quiet", "--detach", revision]);
    } else {
        git.args(["worktree", "add", "--quiet", "--force", "--detach"]).arg(&source).arg(revision);
    }
    run_tool(&mut git, "git").await?;
    let target = folder.join("target");
    let mut command = cargo();
    command
        .args(["build", "--locked", "-p", "margrave-issuer", "--bin", "margrave"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target);
    run_tool(&mut command, "cargo build").await?;
    Ok(target.join("debug").join(format!("margrave{}", std::env::consts::EXE_SUFFIX)))
}
