//! `margrave backup` and `margrave restore`

use super::{CommandError, Output, open};
use crate::app::App;
use crate::audit::Entry;
use crate::backup::{BackupError, restore, write_backup};
use crate::clock::Clock;
use crate::config::Config;
use crate::entropy::Entropy;
use crate::http::context::Caller;
use crate::keys::opening_key;
use crate::telemetry;
use margrave_shared::id::uuid_v4;
use serde_json::json;
use std::path::Path;

fn tell(rows: u64) {
    eprintln!("  · {rows} rows");
}

pub(super) async fn make(config: &Config, file: &Path, output: Output) -> Result<(), CommandError> {
    telemetry::start_for_a_command();
    let (masters, db) = (config.master_keys()?, open(config).await?);
    let mut tx = db.snapshot().await?;
    // While the master key is being changed it is the one that opens what is copied.
    let key = opening_key(&mut tx, &masters).await?;
    let now = Clock::System.now();
    let rows = write_backup(&mut tx, &key, file, now, tell)
        .await
        .map_err(|error| CommandError::Text(error.to_string()))?;
    output.print(
        &format!("{rows} rows are in {}. The master key is not in it: keep that elsewhere", file.display()),
        &json!({ "rows": rows, "file": file }),
    );
    Ok(())
}

pub(super) async fn restore_from(config: &Config, file: &Path, output: Output) -> Result<(), CommandError> {
    telemetry::start_for_a_command();
    let (mut masters, db) = (config.master_keys()?, open(config).await?);
    let epoch = uuid_v4(Entropy.bytes());
    let mut restored = restore(&db, &masters.current, file, &epoch, tell).await;
    // It was made with one of them; with the wrong one nothing was written.
    if matches!(restored, Err(BackupError::NotProven))
        && let Some(next) = masters.next.take()
    {
        masters = next.into();
        restored = restore(&db, &masters.current, file, &epoch, tell).await;
    }
    let restored = restored.map_err(|error| CommandError::Text(error.to_string()))?;
    let app = App::build(config, &masters, db, Clock::System).await?;
    let entry = Entry::done("backup.restore").actor("operator").subject(format!("backup of {}", restored.at));
    let (caller, now) = (Caller::operator(), app.clock.now());
    app.audit.write_alone(&app.db, entry, &caller, now, app.entropy.bytes()).await?;
    output.print(
        &format!(
            "{} rows are back, as they were {} s ago. Whatever has ended since then has not: look for it in the audit of the \
             database that was lost, if there is one",
            restored.rows,
            now.since(margrave_shared::time::UnixMs(restored.at)) / 1000
        ),
        &json!({ "rows": restored.rows, "at": restored.at }),
    );
    Ok(())
}
