//! `margrave accounts import`: people of another system, with the hashes that it has made.

use crate::system::up;
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

/// Made by Python: `bcrypt`, `hashlib.scrypt`, and PBKDF2 as Django writes it. All are of `correct horse`.
const PEOPLE: [(&str, &str); 3] = [
    ("ann", "$2b$05$QMmZC70Wt2IazG3uSjQSGe.HGeGpHq40ZHTGJ6CxofnhhD7fiJUke"),
    ("ben", "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$6g3umF+uVrJsObaTZhIbbTlgrvOEFcCItdwSjtPF67M"),
    ("cleo", "pbkdf2_sha256$2000$saltsalt$3LqAhBOX3HnV33VBYY0bu7QFCbUib0ie8/+Uvab/YX4="),
];

#[tokio::test]
async fn accounts_of_another_system_log_in_with_their_passwords() {
    let system = up(&[]).await;
    let file = std::env::temp_dir().join(format!("margrave-import-{}", std::process::id()));
    let merchant = system.fact("merchant_id");
    let import = async |text: &str| -> (bool, Value) {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(system.program());
        command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
        command.args(["--json", "accounts", "import", merchant, file.to_str().unwrap()]);
        let output = command.output().await.unwrap();
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let line = |name: &str, hash: &str| {
        serde_json::json!({ "username": name, "password_hash": hash }).to_string() + "\n"
    };
    let lines: String = PEOPLE.iter().map(|(name, hash)| line(name, hash)).collect();
    let (well, said) = import(&lines).await;
    assert!(well && said["made"] == 3, "{said}");
    // Again, with lines that cannot be taken: those are named by their numbers, and the others are there already.
    let bad = [
        line("dan", "5f4dcc3b5aa765d61d8327deb882cf99"),
        line("x:dan", PEOPLE[0].1),
        "{\"username\":\"eve\",\"password\":\"in the clear\"}\n".to_owned(),
        line(system.fact("username"), PEOPLE[0].1),
    ];
    let (well, said) = import(&(lines + &bad.concat())).await;
    assert!(!well);
    assert_eq!(
        (said["made"].as_i64(), said["there"].as_i64(), said["refused"].as_i64()),
        (Some(0), Some(4), Some(3))
    );
    let numbers: Vec<i64> =
        said["lines"].as_array().unwrap().iter().map(|l| l["line"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [4, 5, 6]);
    assert!(!said.to_string().contains("in the clear"), "{said}");

    let left = async || system.command(&["accounts", "end-import", merchant]).await["left"].as_i64().unwrap();
    assert_eq!(left().await, 3);
    for (name, _) in PEOPLE {
        system.attempt(name, "Correct horse").await.expect(401);
        // With the hash that came, and then with our own.
        for _ in 0..2 {
            system.log_in_as(name, "correct horse").await;
        }
        system.attempt(name, "wrong").await.expect(401);
    }
    assert_eq!(left().await, 0);
    system.log_in_as("ann", "correct horse").await;
    // Who has not come can be left without a password.
    let (well, _) = import(&line("dora", PEOPLE[1].1)).await;
    assert!(well);
    let taken = system.command(&["accounts", "end-import", merchant, "--take-away"]).await;
    assert_eq!(taken["left"], 0);
    system.attempt("dora", "correct horse").await.expect(401);
    std::fs::remove_file(&file).unwrap();
}
