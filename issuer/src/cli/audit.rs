//! `margrave audit`

use super::{CommandError, Output};
use crate::accounts::find_audit_key;
use crate::app::App;
use crate::audit::{Entry, Exported, Verified, seal_some, verify_chain};
use crate::http::context::Caller;
use clap::Subcommand;
use margrave_shared::audit::{Head, Witness};
use serde_json::json;
use std::io::Write as _;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no entry was changed, removed or moved since it was sealed. Fails where one was.
    Verify {
        /// A place that was written down elsewhere, as `SEQ:HASH`: what stood there must stand there still.
        #[arg(long)]
        head: Option<String>,
    },
    /// Print the end of the chain, to be kept elsewhere.
    Head,
    /// Write every entry as a line of JSON.
    Export {
        /// Also addresses, logins and user agents, of accounts that are there still.
        #[arg(long)]
        personal: bool,
    },
}

pub(super) async fn run(command: &Command, app: &App, output: Output) -> Result<(), CommandError> {
    match command {
        Command::Verify { head } => {
            let witness = match head {
                None => None,
                Some(text) => Some(
                    Witness::parse(text)
                        .ok_or_else(|| CommandError::Text(format!("--head {text}: write it as SEQ:HASH")))?,
                ),
            };
            verify(app, witness, output).await
        }
        Command::Head => {
            seal_some(app).await?;
            let verified = verify_chain(app, None).await?;
            if verified.found > 0 {
                return Err(CommandError::Text(
                    "the audit is not as it should be: `margrave audit verify` says how".to_owned(),
                ));
            }
            let head = verified.head.as_ref().map(Head::print).unwrap_or_default();
            output.print(&head, &json!({ "head": head }));
            Ok(())
        }
        Command::Export { personal } => export(app, *personal).await,
    }
}

async fn verify(app: &App, witness: Option<Witness>, output: Output) -> Result<(), CommandError> {
    let verified = verify_chain(app, witness).await?;
    let Verified { head, sealed, unsealed, findings, found, .. } = &verified;
    let mut lines = vec![format!("{sealed} entries are sealed, {unsealed} are not yet")];
    if let Some(head) = head {
        lines.push(format!("the head is {}", head.print()));
    }
    if *found == 0 {
        lines.push("nothing was changed, removed or moved".to_owned());
    } else {
        lines.extend(findings.iter().map(|finding| format!("  - {}", finding.print())));
    }
    output.print(&lines.join("\n"), &verified.to_json());
    if *found == 0 {
        return Ok(());
    }
    Err(CommandError::Text(format!("the audit is not as it should be: {found} findings")))
}

async fn export(app: &App, personal: bool) -> Result<(), CommandError> {
    if personal {
        let entry = Entry::done("audit.read_personal").actor("operator");
        let (caller, now) = (Caller::operator(), app.clock.now());
        app.audit.write_alone(&app.db, entry, &caller, now, app.entropy.bytes()).await?;
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    // Whoever reads may have enough before the end.
    let each =
        |line: &Exported| serde_json::to_string(line).is_ok_and(|text| writeln!(out, "{text}").is_ok());
    crate::audit::export(app, personal.then_some(find_audit_key), each).await?;
    out.flush().map_err(|error| CommandError::Text(format!("the entries cannot be written: {error}")))
}
