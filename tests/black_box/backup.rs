//! A backup from a shell, into another kind of database, while the issuer serves.

use crate::system::{new_database, up};
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

#[tokio::test]
async fn a_backup_of_sqlite_serves_from_postgres() {
    let system = up(&[]).await;
    let person = system.log_in().await;
    let file = std::env::temp_dir().join(format!("margrave-backup-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let made = system.command(&["backup", path]).await;
    assert!(made["rows"].as_i64().unwrap() > 20);
    // What is there is not written over.
    let run = async |environment: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(system.program());
        command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
        command.envs(environment.iter().copied()).arg("--json").args(arguments).output().await.unwrap()
    };
    assert!(!run(&[], &["backup", path]).await.status.success());
    let refused = run(&[], &["restore", path]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"));

    let database = new_database();
    let environment = [("MARGRAVE_DATABASE_URL", database.as_str())];
    let restored = run(&environment, &["restore", path]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let answer: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(answer["rows"], made["rows"]);
    let (_issuer, url) = system.another_issuer(&environment).await;
    // The person's refresh token goes on there.
    system.refresh_at(&url, &person.refresh, &[]).await.expect(200);
    let verified = run(&environment, &["audit", "verify"]).await;
    assert!(verified.status.success());
    std::fs::remove_file(file).unwrap();
}
