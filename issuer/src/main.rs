//! The `margrave` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    margrave_issuer::run()
}
