//! The audit as an operator sees it: sealed while an issuer runs, verified from a shell, searched by administrators.

use crate::http::get;
use crate::system::{System, new_database, up_with};
use serde_json::Value;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

impl System {
    async fn audit(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.program());
        command.env_remove("MARGRAVE_XTASK").envs(self.issuer_environment()).stdin(Stdio::null());
        command.args(["--json", "audit"]).args(arguments).output().await.unwrap()
    }

    async fn verified(&self, arguments: &[&str]) -> (bool, Value) {
        let output = self.audit(&[&["verify"], arguments].concat()).await;
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
    }
}

async fn an_operator_trusts_the_audit(options: &[&str]) {
    let system = up_with(&[], options).await;
    let agent = [("user-agent", "a browser of the fifties")];
    system.attempt_from(system.fact("username"), "wrong", &agent).await.expect(401);
    system.log_in().await;
    // Within a second; the rest is for a busy machine.
    let mut unsealed = -1;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (ok, verdict) = system.verified(&[]).await;
        assert!(ok && verdict["ok"] == true, "{verdict}");
        unsealed = verdict["unsealed"].as_i64().unwrap();
        if unsealed == 0 {
            assert!(verdict["sealed"].as_i64().unwrap() > 5);
            break;
        }
    }
    assert_eq!(unsealed, 0);

    let head = system.audit(&["head"]).await;
    let head: Value = serde_json::from_slice(&head.stdout).unwrap();
    let head = head["head"].as_str().unwrap();
    assert!(system.verified(&["--head", head]).await.0);
    let (seq, _) = head.split_once(':').unwrap();
    let forged = format!("{seq}:{}", "A".repeat(43));
    assert!(!system.verified(&["--head", &forged]).await.0, "what was written down is not what stands there");

    // What is personal is there for who holds the master key, and asks for it.
    let lines = |output: Output| String::from_utf8(output.stdout).unwrap();
    let plain = lines(system.audit(&["export"]).await);
    assert!(!plain.contains("fifties") && plain.lines().count() > 5);
    let whole = lines(system.audit(&["export", "--personal"]).await);
    let refused: Value = whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["reason"] == "wrong_password")
        .unwrap();
    assert_eq!(refused["personal"]["user_agent"], "a browser of the fifties");
    assert_eq!(refused["personal"]["address"], "127.0.0.1");
    assert_eq!(refused["personal"]["login"], system.fact("username"));
    assert!(lines(system.audit(&["export"]).await).contains("audit.read_personal"), "and that is audited");

    // Administrators search; a merchant's own sees the merchant's.
    let merchant = system.fact("merchant_id");
    let path = format!("/merchants/{merchant}/audit?act=factor.credentials&limit=1");
    let first = system.admin("GET", &path, None).await.expect(200).json();
    let entry = &first["entries"][0];
    assert_eq!(
        (entry["act"].as_str(), entry["outcome"].as_str()),
        (Some("factor.credentials"), Some("done"))
    );
    let next = first["next"].as_str().unwrap();
    let second = system.admin("GET", &format!("{path}&after={next}"), None).await.expect(200).json();
    assert_eq!(second["entries"][0]["reason"], "wrong_password");
    assert!(second["entries"][0].get("personal").is_none());
    for query in ["after=x", "limit=0", "since=x"] {
        system.admin("GET", &format!("/merchants/{merchant}/audit?{query}"), None).await.expect(400);
    }
    let found = system.admin("GET", "/audit?outcome=refused", None).await.expect(200).json();
    assert!(!found["entries"].as_array().unwrap().is_empty());
    assert_eq!(system.admin("GET", "/audit/verify", None).await.expect(200).json()["ok"], true);
    let bearer = format!("Bearer {}", system.key_token().await);
    for path in ["/audit", "/audit/verify"] {
        get(&system.issuer(&format!("/admin/v1{path}")), &[("authorization", &bearer)]).await.expect(403);
    }
}

#[tokio::test]
async fn an_operator_trusts_the_audit_on_sqlite() {
    an_operator_trusts_the_audit(&[]).await;
}

#[tokio::test]
async fn an_operator_trusts_the_audit_on_postgres() {
    an_operator_trusts_the_audit(&["--postgres", &new_database()]).await;
}
