//! `margrave doctor` and `margrave admin reset`: what an operator types when something is wrong.

use crate::http::{basic, get, post_form};
use crate::system::{System, up};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

impl System {
    /// Where the outbox takes mail.
    fn mail_port(&self) -> u64 {
        let ports = std::fs::read_to_string(self.issuer_log().with_file_name("ports.json")).unwrap();
        serde_json::from_str::<Value>(&ports).unwrap()["mail"].as_u64().unwrap()
    }

    /// The mails that somebody was sent, as soon as there are so many.
    async fn mails_of(&self, address: &str, count: usize) -> Vec<Value> {
        let sent = async {
            loop {
                let outbox = get(self.fact("outbox"), &[]).await.expect(200).json();
                let theirs = outbox.as_array().unwrap().iter().filter(|mail| mail["to"][0] == address);
                let theirs: Vec<Value> = theirs.cloned().collect();
                if theirs.len() >= count {
                    return theirs;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sent).await.expect("the mail comes")
    }
}

/// What the doctor finds with other settings: its exit and its words.
async fn doctor(system: &System, environment: &[(&str, &str)]) -> (bool, Value) {
    let mut command = Command::new(system.program());
    command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
    let output = command.envs(environment.iter().copied()).args(["--json", "doctor"]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.success(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// The verdict and the mend of a check.
fn check<'a>(answer: &'a Value, name: &str) -> (&'a str, &'a str) {
    let checks = answer["checks"].as_array().unwrap();
    let found =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {answer}"));
    (found["verdict"].as_str().unwrap(), found["mend"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_the_mend() {
    let system = up(&[]).await;
    // So that the audit has an end.
    system.command(&["audit", "head"]).await;
    let (well, answer) = doctor(&system, &[]).await;
    assert!(well, "{answer}");
    for name in ["public_url", "master key", "database", "clock", "schema", "signing keys", "audit", "edge"] {
        assert_eq!(check(&answer, name), ("ok", ""), "{name}");
    }
    assert_eq!(answer["settings"]["session.idle_s"], 1800);
    let secrets = system.issuer_environment();
    let master_key = &secrets.iter().find(|(name, _)| *name == "MARGRAVE_MASTER_KEY").unwrap().1;
    assert!(!answer.to_string().contains(master_key.as_str()));

    let other_key = "d".repeat(42) + "A";
    let folder = std::env::temp_dir().join(format!("margrave-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key_file = folder.join("master.key");
    std::fs::write(&key_file, master_key).unwrap();
    let empty = format!("sqlite:{}", folder.join("empty.db").display());
    for (environment, name, mend) in [
        (("MARGRAVE_MASTER_KEY", other_key.as_str()), "signing keys", "master key"),
        (("MARGRAVE_MASTER_KEY", other_key.as_str()), "audit", "audit verify"),
        (("MARGRAVE_MASTER_KEY_FILE", key_file.to_str().unwrap()), "master key", "chmod 640"),
        (("MARGRAVE_PUBLIC_URL", "http://login.example.org/auth"), "public_url", "TLS"),
        (("MARGRAVE_DATABASE_URL", empty.as_str()), "database", "database_url"),
        (("MARGRAVE_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/x"), "database", "database_url"),
    ] {
        let (well, answer) = doctor(&system, &[environment]).await;
        let (verdict, said) = check(&answer, name);
        assert!(!well && verdict == "problem" && said.contains(mend), "{environment:?}: {answer}");
        assert!(!answer.to_string().contains("hunter2"), "a password is not printed");
    }
    // Mail: none, a server that is not there, and one that is; and what it is told.
    assert_eq!(check(&doctor(&system, &[]).await.1, "mail").0, "warning");
    let port = system.mail_port();
    let mail = |url: String| {
        [
            ("MARGRAVE_MAIL__SMTP_URL", url),
            ("MARGRAVE_MAIL__FROM", "margrave@demo.test".to_owned()),
            ("MARGRAVE_MAIL__OPERATORS", "[\"me@demo.test\"]".to_owned()),
        ]
    };
    for (url, expected) in [
        ("smtp://me:hunter2@127.0.0.1:1".to_owned(), "problem"),
        // It takes nobody's password.
        (format!("smtp://me:hunter2@127.0.0.1:{port}"), "problem"),
        (format!("smtp://127.0.0.1:{port}"), "ok"),
    ] {
        let environment = mail(url);
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (_, answer) = doctor(&system, &environment).await;
        assert_eq!(check(&answer, "mail").0, expected, "{answer}");
        assert!(!answer.to_string().contains("hunter2"), "a password is not printed");
        if expected == "ok" {
            system.command_with(&["mail", "test", "somebody@demo.test"], &environment).await;
            let mail = system.mails_of("somebody@demo.test", 1).await.remove(0);
            assert_eq!(mail["subject"], "Margrave: a test");
        }
    }
    // What is new and was never started is well, and asking makes nothing.
    let new = [("MARGRAVE_DATABASE_URL", empty.as_str())];
    system.command_with(&["migrate"], &new).await;
    for _ in 0..2 {
        let (well, answer) = doctor(&system, &new).await;
        assert!(well && check(&answer, "keys") == ("ok", ""), "{answer}");
    }
    std::fs::remove_dir_all(folder).unwrap();

    // A change of the master key that is on its way, from either end of it.
    let next = [("MARGRAVE_NEXT_MASTER_KEY", other_key.as_str())];
    let (well, answer) = doctor(&system, &next).await;
    let (verdict, said) = check(&answer, "master key change");
    assert!(well && verdict == "warning" && said.contains("rotate-master"), "{answer}");
    system.command_with(&["keys", "rotate-master"], &next).await;
    let (well, answer) = doctor(&system, &next).await;
    let (verdict, said) = check(&answer, "master key change");
    assert!(well && verdict == "warning" && said.contains("take `next_master_key_file` away"), "{answer}");

    system.signal("edge_pid", "-STOP");
    let (well, answer) = doctor(&system, &next).await;
    assert!(!well && check(&answer, "edge").0 == "problem", "{answer}");
    system.signal("edge_pid", "-CONT");
}

#[tokio::test]
async fn who_has_a_shell_gets_into_the_administration_again() {
    let system = up(&[]).await;
    let old = format!("Bearer {}", system.admin_token().await);
    let list = system.issuer("/admin/v1/merchants");
    get(&list, &[("authorization", &old)]).await.expect(200);
    let reset =
        system.command(&["admin", "reset", "--reason", "the key was stolen", "--revoke-others"]).await;
    let authorization = basic(reset["key_id"].as_str().unwrap(), reset["secret"].as_str().unwrap());
    let form = [("grant_type", "client_credentials")];
    let token = post_form(&system.issuer("/oauth/token"), &[("authorization", &authorization)], &form).await;
    let new = format!("Bearer {}", token.expect(200).text("access_token"));
    get(&list, &[("authorization", &new)]).await.expect(200);
    get(&list, &[("authorization", &old)]).await.expect(401);
    let audit = system.issuer("/admin/v1/audit?act=admin.reset");
    let found = get(&audit, &[("authorization", &new)]).await.expect(200).json();
    assert!(found["entries"][0]["subject"].as_str().unwrap().contains("the key was stolen"));
    // The shell knew of no mail server; the issuer tells whoever runs the system.
    let mail = system.mails_of("operators@demo.test", 1).await.remove(0);
    let text = mail["text"].as_str().unwrap();
    assert!(
        text.contains("the key was stolen") && text.contains(reset["key_id"].as_str().unwrap()),
        "{text}"
    );
    assert!(!text.contains(reset["secret"].as_str().unwrap()));
}
