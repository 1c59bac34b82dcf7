//! What an operator's worst day does to the centre: an issuer killed, PostgreSQL killed, a full disk, a clock that jumps. Whatever was
//! acknowledged is there afterwards, nothing that counts once counts twice, answers meanwhile are 503 with `Retry-After`, and nobody has to
//! lend a hand.

use crate::http::Answer;
use crate::supervisor::{RESTART, SUPERVISOR};
use crate::system::{FACTORS, System, free_address, new_database, up, up_with};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};

/// A client whose calls may fail.
#[derive(Clone)]
struct Client(reqwest::Client);

impl Client {
    fn new() -> Self {
        Self(reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap())
    }

    /// Nothing where no answer came.
    async fn post(&self, url: &str, token: Option<&str>, body: Body<'_>) -> Option<Answer> {
        let mut request = self.0.post(url);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        request = match body {
            Body::Json(value) => request.header("content-type", "application/json").body(value.to_string()),
            Body::Form(pairs) => request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(crate::http::form(pairs)),
        };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        Some(Answer { status, headers, body: answer.text().await.ok()? })
    }
}

enum Body<'a> {
    Json(Value),
    Form(&'a [(&'a str, &'a str)]),
}

/// What people may be told while something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Patience {
    /// To come again; nothing at all only by the issuer at this URL, which is killed.
    Some(String),
    /// Neither: whatever happens is nothing to them.
    None,
}

impl Patience {
    /// Whether an answer, or none, will do; what is no success is left then.
    fn suffices(&self, issuer: &str, answer: Option<&Answer>) -> bool {
        match (self, answer) {
            (Self::Some(killed), None) => killed == issuer,
            (Self::Some(_), Some(answer)) => is_proper(answer),
            (Self::None, answer) => answer.is_some_and(|answer| answer.status < 300),
        }
    }
}

/// Nothing but success, a verdict, or a word to come again.
fn is_proper(answer: &Answer) -> bool {
    answer.status < 500 || (answer.status == 503 && answer.header("retry-after").is_some())
}

/// What people had been told when it was over.
#[derive(Default)]
struct Told {
    /// Accounts that were made: their usernames.
    accounts: Vec<String>,
    /// Security tokens that were exchanged.
    spent: Vec<String>,
    /// The last refresh token of each session, where nothing is in doubt.
    sessions: Vec<String>,
    /// Refresh tokens that were used.
    used: Vec<String>,
    /// How often they were sent away with 503.
    sent_away: usize,
}

/// One person after another: makes an account, logs in, refreshes; whatever fails in doubt is left.
async fn live(
    client: Client,
    issuers: Vec<String>,
    facts: Arc<Facts>,
    worker: usize,
    (stop, served): (Arc<AtomicBool>, Arc<AtomicUsize>),
    patience: Patience,
) -> Told {
    let judge = |issuer: &str, answer: &Option<Answer>, told: &mut Told| {
        assert!(patience.suffices(issuer, answer.as_ref()), "worker {worker} got {answer:?} at {issuer}");
        told.sent_away += usize::from(answer.as_ref().is_some_and(|answer| answer.status == 503));
    };
    let mut told = Told::default();
    for turn in 0.. {
        if stop.load(Ordering::Acquire) {
            return told;
        }
        let issuer = &issuers[(worker + turn) % issuers.len()];
        let username = format!("w{worker}-{turn}");
        let token = format!("Bearer {}", facts.key_token);
        let body = json!({ "username": username, "password": PASSWORD });
        let made = client.post(&format!("{issuer}/v1/accounts"), Some(&token), Body::Json(body)).await;
        judge(issuer, &made, &mut told);
        let Some(made) = made else { continue };
        if made.status != 201 {
            continue;
        }
        told.accounts.push(username.clone());
        let body = json!({ "login": username, "password": PASSWORD, "merchant_id": facts.merchant_id });
        let proven = client.post(&format!("{issuer}/v1/factors/credentials"), None, Body::Json(body)).await;
        judge(issuer, &proven, &mut told);
        let Some(proven) = proven else { continue };
        if proven.status != 200 {
            continue;
        }
        let proven = proven.text("security_token");
        let pairs = [("grant_type", FACTORS), ("client_id", &facts.client_id), ("security_tokens", &proven)];
        let exchange = format!("{issuer}/oauth/token");
        let answer = client.post(&exchange, None, Body::Form(&pairs)).await;
        judge(issuer, &answer, &mut told);
        let Some(answer) = answer else { continue };
        if answer.status != 200 {
            continue;
        }
        served.fetch_add(1, Ordering::Relaxed);
        told.spent.push(proven);
        let mut refresh = answer.text("refresh_token");
        let mut is_sure = true;
        for step in 0..4 {
            let issuer = &issuers[(worker + turn + step) % issuers.len()];
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&format!("{issuer}/oauth/token"), None, Body::Form(&pairs)).await;
            judge(issuer, &answer, &mut told);
            match answer {
                Some(answer) if answer.status == 200 => {
                    told.used.push(refresh);
                    refresh = answer.text("refresh_token");
                }
                Some(answer) => {
                    assert_eq!(answer.status, 503, "a live token is refused: {}", answer.body);
                    // A 503 may come after the commit was lost on the way: in doubt.
                    is_sure = false;
                    break;
                }
                None => {
                    is_sure = false;
                    break;
                }
            }
        }
        if is_sure {
            told.sessions.push(refresh);
        }
    }
    told
}

const PASSWORD: &str = "a rather long password";

struct Facts {
    merchant_id: String,
    client_id: String,
    key_token: String,
}

async fn facts(system: &System) -> Arc<Facts> {
    Arc::new(Facts {
        merchant_id: system.fact("merchant_id").to_owned(),
        client_id: system.fact("client_id").to_owned(),
        key_token: system.key_token().await,
    })
}

/// Everything that people were told holds.
async fn holds(client: &Client, issuer: &str, facts: &Facts, told: Vec<Told>) {
    let exchange = format!("{issuer}/oauth/token");
    let (mut accounts, mut sessions) = (0, 0);
    for told in told {
        for username in told.accounts {
            let body = json!({ "login": username, "password": PASSWORD, "merchant_id": facts.merchant_id });
            let url = format!("{issuer}/v1/factors/credentials");
            let answer = client.post(&url, None, Body::Json(body)).await.unwrap();
            assert_eq!(answer.status, 200, "{username} was made and is not there: {}", answer.body);
            accounts += 1;
        }
        for proven in told.spent {
            let pairs =
                [("grant_type", FACTORS), ("client_id", &facts.client_id), ("security_tokens", &proven)];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 400, "a spent security token counts again");
        }
        for refresh in told.sessions {
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 200, "an acknowledged session is lost: {}", answer.body);
            sessions += 1;
        }
        // Last: it ends the session it belongs to.
        for refresh in told.used {
            let pairs = [
                ("grant_type", "refresh_token"),
                ("client_id", facts.client_id.as_str()),
                ("refresh_token", &refresh),
            ];
            let answer = client.post(&exchange, None, Body::Form(&pairs)).await.unwrap();
            assert_eq!(answer.status, 400, "a used refresh token counts again");
        }
    }
    assert!(accounts > 5 && sessions > 5, "{accounts} accounts, {sessions} sessions: too little was done");
}

/// Waits until logins go through again, by themselves.
async fn recovered(served: &AtomicUsize) {
    let before = served.load(Ordering::Relaxed);
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if served.load(Ordering::Relaxed) >= before + 12 {
            return;
        }
    }
    panic!("nothing is served any more");
}

/// A PostgreSQL server of the test's own, to be killed.
struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    address: String,
}

impl Cluster {
    fn start() -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut bins: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
        bins.sort();
        let bin = bins.pop().expect("PostgreSQL's programs");
        let folder = std::env::temp_dir().join(format!("margrave-cluster-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let cluster = Self { folder, bin, address: free_address() };
        if is_root() {
            let owned = std::process::Command::new("chown").arg("postgres").arg(&cluster.folder).status();
            assert!(owned.unwrap().success());
        }
        let data = cluster.data();
        cluster.run(&format!("{}/initdb -D {data} -A trust -U postgres", cluster.bin.display()));
        cluster.up();
        cluster
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// Runs as a user that PostgreSQL takes: it refuses root.
    fn run(&self, command: &str) {
        let mut shell = if is_root() {
            let mut shell = std::process::Command::new("su");
            shell.args(["postgres", "-s", "/bin/sh", "-c", command]);
            shell
        } else {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", command]);
            shell
        };
        let done =
            shell.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "{command}");
    }

    fn up(&self) {
        let port = self.address.rsplit(':').next().unwrap();
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=");
        let (bin, data, log) =
            (self.bin.display(), self.data(), self.folder.join("log").display().to_string());
        self.run(&format!("{bin}/pg_ctl -D {data} -l {log} -w -o '{options}' start"));
    }

    /// As a power cut does: nothing is written any more.
    fn kill(&self) {
        self.run(&format!("{}/pg_ctl -D {} -m immediate stop", self.bin.display(), self.data()));
    }

    fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let command = format!("{}/pg_ctl -D {} -m immediate stop", self.bin.display(), self.data());
        let mut shell = std::process::Command::new("su");
        shell.args(["postgres", "-s", "/bin/sh", "-c", &command]);
        if !is_root() {
            shell = std::process::Command::new("sh");
            shell.args(["-c", &command]);
        }
        let _ = shell.current_dir("/tmp").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_and_their_postgresql_are_killed_under_load_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::start();
    let settings = ["edge.limits.address_attempts=100000", "edge.limits.account_attempts=1000"];
    let system = up_with(&settings, &["--postgres", &cluster.url()]).await;
    let environment =
        [("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "100000"), ("MARGRAVE_LIMITS__EXCHANGE_ATTEMPTS", "100000")];
    let (mut second, second_url) = system.another_issuer(&environment).await;
    let (_third, third_url) = system.another_issuer(&environment).await;
    let (client, facts) = (Client::new(), facts(&system).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let issuers = vec![second_url, third_url.clone()];
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let signs = (Arc::clone(&stop), Arc::clone(&served));
            {
                let patience = Patience::Some(issuers[0].clone());
                tokio::spawn(live(
                    client.clone(),
                    issuers.clone(),
                    Arc::clone(&facts),
                    worker,
                    signs,
                    patience,
                ))
            }
        })
        .collect();
    recovered(&served).await;
    second.kill().await.unwrap();
    recovered(&served).await;
    cluster.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.up();
    recovered(&served).await;
    stop.store(true, Ordering::Release);
    let mut told = Vec::new();
    for worker in workers {
        told.push(worker.await.unwrap());
    }
    let sent_away: usize = told.iter().map(|told| told.sent_away).sum();
    assert!(sent_away > 0, "nobody noticed that the database was away");
    holds(&client, &third_url, &facts, told).await;
    let verified = system.command(&["audit", "verify"]).await;
    assert_eq!(verified["ok"], true, "{verified}");
}

/// Two issuers whose sockets are held while they restart, as systemd holds them.
#[tokio::test(flavor = "multi_thread")]
async fn two_issuers_are_restarted_one_after_another_and_nobody_is_refused() {
    let settings = ["edge.limits.address_attempts=100000", "edge.limits.account_attempts=1000"];
    let system = up_with(&settings, &["--postgres", &new_database()]).await;
    let folder = std::env::temp_dir().join(format!("margrave-pair-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("supervisor.pl", SUPERVISOR), ("restart", RESTART)] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut supervisors = Vec::new();
    let mut urls = Vec::new();
    for name in ["a", "b"] {
        let address = free_address();
        let mut command = Command::new("perl");
        command.env_remove("MARGRAVE_XTASK").envs(system.issuer_environment()).stdin(Stdio::null());
        command.env("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "100000");
        command.env("MARGRAVE_LIMITS__EXCHANGE_ATTEMPTS", "100000");
        command.arg(folder.join("supervisor.pl")).arg(&folder).args([name, &address, ""]);
        command
            .arg(system.program())
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        supervisors.push(command.spawn().unwrap());
        urls.push(format!("http://{address}"));
    }
    let (client, facts) = (Client::new(), facts(&system).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let signs = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(live(
                client.clone(),
                urls.clone(),
                Arc::clone(&facts),
                worker,
                signs,
                Patience::None,
            ))
        })
        .collect();
    recovered(&served).await;
    for name in ["a", "b", "a", "b"] {
        let restarted = Command::new("sh").arg(folder.join("restart")).arg(name).status().await.unwrap();
        assert!(restarted.success());
        recovered(&served).await;
    }
    stop.store(true, Ordering::Release);
    let mut told = Vec::new();
    for worker in workers {
        told.push(worker.await.unwrap());
    }
    holds(&client, &urls[0], &facts, told).await;
    for mut supervisor in supervisors {
        supervisor.kill().await.unwrap();
    }
    for name in ["a", "b"] {
        let id = std::fs::read_to_string(folder.join(format!("{name}.pid"))).unwrap();
        let _ = Command::new("kill").args(["-KILL", id.trim()]).status().await;
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

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
    let child =
        command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
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
        let body = json!({ "login": username, "password": PASSWORD, "merchant_id": made["merchant_id"] });
        let url = format!("{url}/v1/factors/credentials");
        client.post(&url, None, Body::Json(body)).await.unwrap().expect(200);
    }
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
