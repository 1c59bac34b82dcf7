//! What a disk and a clock do to an issuer with a database of its own: full, not to be written, not any more, ten minutes off.

use crate::faults::{Body, Client, PASSWORD, is_proper};
use crate::http::Answer;
use crate::system::{FACTORS, System, free_address, up};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A file system that is soon full; taken away when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Self {
        let folder = std::env::temp_dir().join(format!("margrave-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mounted.unwrap().success(), "mounting a small file system needs root");
        Self(folder)
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        // Until nothing fits any more, to the last block.
        for block in ["64K", "4K"] {
            let _ = std::process::Command::new("dd")
                .args(["if=/dev/zero", &format!("bs={block}"), "oflag=append", "conv=notrunc"])
                .arg(format!("of={}", path.display()))
                .stderr(Stdio::null())
                .status();
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A preloaded library moves the clock, and a file says by how much.
fn faketime() -> String {
    let folder = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(Path::new(&folder).exists(), "install `faketime`, whose library moves the clock of one process");
    folder
}

/// An issuer with a database of its own, started with further variables.
async fn alone(system: &System, database: &Path, more: &[(&str, &str)]) -> (Child, String, Value) {
    let listen = free_address();
    let url = format!("http://{listen}");
    let database = format!("sqlite:{}", database.display());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(system.program());
        command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
        command.env("MARGRAVE_DATABASE_URL", &database).env("MARGRAVE_LISTEN", &listen);
        command.env("MARGRAVE_PUBLIC_URL", &url).env("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "100000");
        command
            .env("MARGRAVE_LIMITS__ACCOUNT_ATTEMPTS", "1000")
            .env("MARGRAVE_LIMITS__EXCHANGE_ATTEMPTS", "100000")
            .envs(more.iter().copied());
        command.args(arguments);
        command
    };
    let ask = async |arguments: &[&str]| -> Value {
        let output = command(&[&["--json"], arguments].concat()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut made = ask(&["admin", "create", "Alone", "--service", "svc=read,write,register"]).await;
    let merchant = made["merchant_id"].as_str().unwrap().to_owned();
    let key = ask(&["merchants", "add-key", &merchant, "--permissions", "read,write,register"]).await;
    let application = ask(&["applications", "create", &merchant, "App"]).await;
    made["key_id"] = key["key_id"].clone();
    made["secret"] = key["secret"].clone();
    made["client_id"] = application["client_id"].clone();
    let child = command(&["serve"])
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..100 {
        if reqwest::get(format!("{url}/readyz")).await.is_ok_and(|answer| answer.status() == 200) {
            return (child, url, made);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer does not get ready");
}

/// A bucket that was written by a clock that was ahead bars for as long as an attempt takes to come back, and no longer.
async fn wait_as_told(answer: &Answer) {
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait <= 2, "a clock that was set back bars for {wait} s");
    tokio::time::sleep(Duration::from_secs(wait)).await;
}

async fn patiently(client: &Client, url: &str, pairs: &[(&str, &str)]) -> Answer {
    for _ in 0..20 {
        let answer = client.post(url, None, Body::Form(pairs)).await.unwrap();
        if answer.status != 429 {
            return answer;
        }
        wait_as_told(&answer).await;
    }
    panic!("an exchange stays limited");
}

async fn key_token(client: &Client, url: &str, made: &Value) -> String {
    let basic = crate::http::basic(made["key_id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let pairs = [("grant_type", "client_credentials")];
    let answer = client.post(&format!("{url}/oauth/token"), Some(&basic), Body::Form(&pairs)).await.unwrap();
    answer.expect(200).text("access_token")
}

/// Somebody who proves who they are.
async fn prove(client: &Client, url: &str, made: &Value, login: &str) -> Answer {
    let body = json!({ "login": login, "password": PASSWORD, "merchant_id": made["merchant_id"] });
    client.post(&format!("{url}/v1/factors/credentials"), None, Body::Json(body)).await.unwrap()
}

async fn exchange(client: &Client, url: &str, pairs: &[(&str, &str)]) -> Answer {
    client.post(&format!("{url}/oauth/token"), None, Body::Form(pairs)).await.unwrap()
}

/// A login that goes well; gives its refresh token.
async fn log_in(client: &Client, url: &str, made: &Value, login: &str) -> String {
    let proven = prove(client, url, made, login).await.expect(200).text("security_token");
    let client_id = made["client_id"].as_str().unwrap();
    let pairs = [("grant_type", FACTORS), ("client_id", client_id), ("security_tokens", &proven)];
    exchange(client, url, &pairs).await.expect(200).text("refresh_token")
}

async fn refresh(client: &Client, url: &str, made: &Value, token: &str) -> Answer {
    let client_id = made["client_id"].as_str().unwrap();
    let pairs = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)];
    exchange(client, url, &pairs).await
}

/// The database's files.
fn files_of(database: &Path) -> [PathBuf; 2] {
    [database.to_owned(), database.with_extension("db-wal")]
}

/// Lets nobody write files any more, not even who has them open; or again.
fn set_immutable(files: &[PathBuf], is_immutable: bool) {
    let done =
        std::process::Command::new("chattr").arg(if is_immutable { "+i" } else { "-i" }).args(files).status();
    assert!(done.unwrap().success(), "this needs root, and a file system such as ext4");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_any_more_is_503_and_nothing_is_lost() {
    let system = up(&[]).await;
    let folder = std::env::temp_dir().join(format!("margrave-immutable-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let database = folder.join("issuer.db");
    let (_issuer, url, made) = alone(&system, &database, &[]).await;
    let client = Client::new();
    let token = format!("Bearer {}", key_token(&client, &url, &made).await);
    let make = async |username: &str| {
        let body = json!({ "username": username, "password": PASSWORD });
        client.post(&format!("{url}/v1/accounts"), Some(&token), Body::Json(body)).await.unwrap()
    };
    make("alice").await.expect(201);
    let session = log_in(&client, &url, &made, "alice").await;

    set_immutable(&files_of(&database), true);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(make("bob").await);
        answers.push(prove(&client, &url, &made, "alice").await);
        answers.push(refresh(&client, &url, &made, &session).await);
    }
    let looked = [
        reqwest::get(format!("{url}/healthz")).await.unwrap().status(),
        reqwest::get(format!("{url}/.well-known/jwks.json")).await.unwrap().status(),
    ];
    set_immutable(&files_of(&database), false);
    for answer in &answers {
        // An OAuth error has no code of ours.
        assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(looked, [200, 200]);

    // By itself, and with what there was: nothing of what was refused is half done.
    let mut made_at_last = make("bob").await;
    for _ in 0..50 {
        if made_at_last.status != 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        made_at_last = make("bob").await;
    }
    made_at_last.expect(201);
    refresh(&client, &url, &made, &session).await.expect(200);
    log_in(&client, &url, &made, "bob").await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_503_and_nothing_is_lost_when_there_is_room_again() {
    let system = up(&[]).await;
    let disk = SmallDisk::mount();
    let (_issuer, url, made) = alone(&system, &disk.0.join("issuer.db"), &[]).await;
    let client = Client::new();
    let token = format!("Bearer {}", key_token(&client, &url, &made).await);
    let make = async |username: String| {
        let body = json!({ "username": username, "password": PASSWORD });
        client.post(&format!("{url}/v1/accounts"), Some(&token), Body::Json(body)).await.unwrap()
    };
    let mut accounts = Vec::new();
    for number in 0..3 {
        make(format!("before-{number}")).await.expect(201);
        accounts.push(format!("before-{number}"));
    }
    let mut session = log_in(&client, &url, &made, "before-0").await;
    let filler = disk.fill();
    let mut refused = 0;
    for number in 0..200 {
        let answer = make(format!("full-{number}")).await;
        assert!(is_proper(&answer), "{} {}", answer.status, answer.body);
        if answer.status == 201 {
            accounts.push(format!("full-{number}"));
        } else {
            assert_eq!((answer.status, answer.code().as_str()), (503, "state_unavailable"));
            refused += 1;
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk is not full");
    for _ in 0..5 {
        let proven = prove(&client, &url, &made, "before-1").await;
        assert!(is_proper(&proven), "{} {}", proven.status, proven.body);
        let answer = refresh(&client, &url, &made, &session).await;
        assert!(is_proper(&answer), "{} {}", answer.status, answer.body);
        if answer.status == 200 {
            session = answer.text("refresh_token");
        }
    }
    // What needs no row is served all the same.
    for path in ["/healthz", "/.well-known/jwks.json"] {
        assert_eq!(reqwest::get(format!("{url}{path}")).await.unwrap().status(), 200, "{path}");
    }
    std::fs::remove_file(filler).unwrap();
    let mut is_back = false;
    for number in 0..50 {
        let answer = make(format!("after-{number}")).await;
        if answer.status == 201 {
            accounts.push(format!("after-{number}"));
            is_back = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_back, "it does not come back by itself");
    for username in accounts {
        prove(&client, &url, &made, &username).await.expect(200);
    }
    refresh(&client, &url, &made, &session).await.expect(200);
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_said_at_the_start() {
    let system = up(&[]).await;
    let folder = std::env::temp_dir().join(format!("margrave-readonly-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let database = folder.join("issuer.db");
    drop(alone(&system, &database, &[]).await);
    // Root may write what nobody may; what is mounted so not even root.
    let bind = |options: &str| {
        let done =
            std::process::Command::new("mount").args(["-o", options]).arg(&folder).arg(&folder).status();
        assert!(done.unwrap().success(), "mounting needs root");
    };
    bind("bind");
    bind("remount,bind,ro");
    let mut command = Command::new(system.program());
    command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
    command.env("MARGRAVE_DATABASE_URL", format!("sqlite:{}", database.display()));
    let output = command.env("MARGRAVE_LISTEN", free_address()).arg("serve").output();
    let output = tokio::time::timeout(Duration::from_secs(20), output).await;
    let _ = std::process::Command::new("umount").arg("-l").arg(&folder).status();
    let _ = std::fs::remove_dir_all(&folder);
    let output = output.expect("it goes on without a database").unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("margrave: the database") && said.contains("readonly"), "{said}");
}

#[tokio::test]
async fn a_clock_that_jumps_ten_minutes_locks_nobody_out_and_lets_nothing_count_twice() {
    let faketime = faketime();
    let system = up(&[]).await;
    let folder = std::env::temp_dir().join(format!("margrave-clock-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("offset");
    std::fs::write(&file, "+0").unwrap();
    let faked = [
        ("LD_PRELOAD", faketime.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // What waits goes on waiting: it is the clock on the wall that jumps.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let (_issuer, url, made) = alone(&system, &folder.join("issuer.db"), &faked).await;
    let client = Client::new();
    let token = format!("Bearer {}", key_token(&client, &url, &made).await);
    let body = json!({ "username": "alice", "password": PASSWORD });
    client.post(&format!("{url}/v1/accounts"), Some(&token), Body::Json(body)).await.unwrap().expect(201);
    let exchange = format!("{url}/oauth/token");
    let client_id = made["client_id"].as_str().unwrap();
    let prove = async || {
        let body = json!({ "login": "alice", "password": PASSWORD, "merchant_id": made["merchant_id"] });
        let url = format!("{url}/v1/factors/credentials");
        for _ in 0..20 {
            let answer = client.post(&url, None, Body::Json(body.clone())).await.unwrap();
            if answer.status != 429 {
                return answer.expect(200).text("security_token");
            }
            wait_as_told(&answer).await;
        }
        panic!("a login stays limited");
    };
    let log_in = async |proven: &str| {
        let pairs = [("grant_type", FACTORS), ("client_id", client_id), ("security_tokens", proven)];
        patiently(&client, &exchange, &pairs).await
    };
    let refresh = async |token: &str| {
        let pairs = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)];
        patiently(&client, &exchange, &pairs).await
    };
    let first = prove().await;
    let session = log_in(&first).await.expect(200).text("refresh_token");
    let mut sessions = vec![session.clone()];
    let mut current = session;
    for jump in ["+600", "+0", "-600", "+0"] {
        std::fs::write(&file, jump).unwrap();
        // A second, in which a process reads its keys anew.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(reqwest::get(format!("{url}/readyz")).await.unwrap().status(), 200, "{jump}");
        // A session of before goes on, a new login works, and so does a token that it gives.
        let answer = refresh(&current).await;
        assert_eq!(answer.status, 200, "{jump}: {}", answer.body);
        current = answer.text("refresh_token");
        let answer = log_in(&prove().await).await.expect(200);
        let issued = crate::system::claims(&answer.text("access_token"))["iat"].as_i64().unwrap();
        let moved: i64 = jump.trim_start_matches('+').parse().unwrap();
        let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        assert!((issued - wall - moved).abs() < 60, "{jump}: the issuer's clock does not say so");
        let access = format!("Bearer {}", answer.text("access_token"));
        let me = reqwest::Client::new().get(format!("{url}/v1/me")).header("authorization", &access);
        assert_eq!(me.send().await.unwrap().status(), 200, "{jump}");
        sessions.push(answer.text("refresh_token"));
        // What was spent or used stays so, whatever time it is.
        log_in(&first).await.expect(400);
    }
    for session in &sessions[1..] {
        refresh(session).await.expect(200);
    }
    refresh(&sessions[0]).await.expect(400);
    let _ = std::fs::remove_dir_all(&folder);
}
