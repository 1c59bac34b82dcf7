//! A backup from a shell, into another kind of database, while the issuer serves; and an edge whose issuer is restored.

use crate::http::send;
use crate::revocation::until_refused;
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

#[tokio::test]
async fn an_edge_that_is_further_than_its_restored_issuer_goes_on_with_it() {
    let mut system = up(&[]).await;
    let stays = system.log_in().await;
    let file = std::env::temp_dir().join(format!("margrave-restored-{}", std::process::id()));
    system.command(&["backup", file.to_str().unwrap()]).await;
    let log_out = async |system: &crate::system::System| {
        let person = system.log_in().await;
        system.call("/api/x", &person.access).await.expect(200);
        let headers = [("authorization", format!("Bearer {}", person.access))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        send("POST", &system.edge("/auth/v1/logout"), &headers, None).await.expect(204);
        assert_eq!(until_refused(system, "/api/x", &person.access).await.code(), "session_ended");
    };
    // What the backup does not know: the edge has seen numbers that the issuer will give out again.
    for _ in 0..5 {
        log_out(&system).await;
    }
    system
        .crash_and_restart_after("issuer_pid", |system| {
            for suffix in ["", "-wal", "-shm"] {
                let mut path = system.database().into_os_string();
                path.push(suffix);
                let _ = std::fs::remove_file(path);
            }
            let mut command = std::process::Command::new(system.program());
            command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment());
            let restored = command.args(["restore", file.to_str().unwrap()]).output().unwrap();
            assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        })
        .await;
    // Who was there goes on, and what ends now is refused as soon as ever.
    system.call("/api/x", &stays.access).await.expect(200);
    log_out(&system).await;
    system.refresh_at(&system.edge("/auth"), &stays.refresh, &[]).await.expect(200);
    std::fs::remove_file(file).unwrap();
}
