//! `margrave audit`

use super::merchants::merchant_id;
use super::{CommandError, Output, explain, print_error};
use crate::accounts::find_audit_key;
use crate::app::App;
use crate::audit::{Entry, Exported, Filter, Verified, find_entries, seal_some, verify_chain};
use crate::http::context::Caller;
use clap::{Args, Subcommand};
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
    /// Look for entries, the newest first.
    Search(Search),
    /// Print the end of the chain, to be kept elsewhere.
    Head,
    /// Write every entry as a line of JSON.
    Export {
        /// Also addresses, logins and user agents, of accounts that are there still.
        #[arg(long)]
        personal: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// Within this merchant.
    #[arg(long)]
    merchant: Option<String>,
    /// What was done or tried, as `account.disable`.
    #[arg(long)]
    act: Option<String>,
    /// `done` or `refused`.
    #[arg(long)]
    outcome: Option<String>,
    /// Why it was refused.
    #[arg(long)]
    reason: Option<String>,
    /// Who did it, as `account:ID`, `key:ID` or `operator`.
    #[arg(long)]
    actor: Option<String>,
    /// To whom or what, as `account:ID`.
    #[arg(long)]
    subject: Option<String>,
    /// The request's id, as an answer names it.
    #[arg(long)]
    request_id: Option<String>,
    /// Not before, in Unix milliseconds.
    #[arg(long)]
    since: Option<i64>,
    /// Before, in Unix milliseconds.
    #[arg(long)]
    until: Option<i64>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

async fn search(app: &App, wanted: &Search, output: Output) -> Result<(), CommandError> {
    let filter = Filter {
        merchant: wanted.merchant.as_deref().map(merchant_id).transpose()?,
        act: wanted.act.clone(),
        outcome: wanted.outcome.clone(),
        reason: wanted.reason.clone(),
        actor: wanted.actor.clone(),
        subject: wanted.subject.clone(),
        request_id: wanted.request_id.clone(),
        since: wanted.since,
        until: wanted.until,
        after: None,
    };
    let entries = find_entries(&mut app.db.read().await?, &filter, i64::from(wanted.limit)).await?;
    for entry in &entries {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (actor, subject, reason) =
            (or_none(&entry.actor), or_none(&entry.subject), or_none(&entry.reason));
        let text = format!("{}  {}  {}  {actor}  {subject}  {reason}", entry.at, entry.act, entry.outcome);
        output.print(&text, &json!(entry));
    }
    Ok(())
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
        Command::Search(wanted) => search(app, wanted, output).await,
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
    // As an issuer would that runs: late is then only what nobody can seal.
    if let Err(error) = seal_some(app).await {
        print_error(&format!("what waits is not sealed: {}", explain(&error)));
    }
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
