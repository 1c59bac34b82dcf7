//! Issuers that are restarted one after another while people log in: by themselves, with another master key, as another release. Nobody is
//! refused, and everything that people were told holds.

use crate::faults::{Client, Facts, Patience, Told, facts, holds, live, recovered};
use crate::supervisor::Supervisor;
use crate::system::{System, free_address, new_database, up_with};
use margrave_shared::secret::SecretKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Two issuers on one database, whose sockets are held while they restart as systemd holds them, with load on both.
struct Pair {
    folder: PathBuf,
    supervisor: Supervisor,
    urls: Vec<String>,
    client: Client,
    facts: Arc<Facts>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Told>>,
}

impl Pair {
    async fn start(system: &System) -> Self {
        Self::start_with(system, &system.program()).await
    }

    async fn start_with(system: &System, program: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("margrave-pair-{}", std::process::id()));
        let mut supervisor = Supervisor::new(&folder);
        std::fs::write(folder.join("secrets"), "").unwrap();
        std::os::unix::fs::symlink(program, folder.join("margrave")).unwrap();
        let mut urls = Vec::new();
        for name in ["a", "b"] {
            let address = free_address();
            supervisor.start(name, &address, "", |command| {
                // What it is started with is read at each start.
                let line = "cd $FOLDER; . ./secrets; exec ./margrave serve";
                command
                    .args(["/bin/sh", "-c", line])
                    .env("FOLDER", &folder)
                    .envs(system.issuer_environment());
                command.env("MARGRAVE_LIMITS__ADDRESS_ATTEMPTS", "100000");
                command.env("MARGRAVE_LIMITS__EXCHANGE_ATTEMPTS", "100000");
            });
            urls.push(format!("http://{address}"));
        }
        let (client, facts) = (Client::new(), facts(system).await);
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let work = |worker| {
            let signs = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(live(
                client.clone(),
                urls.clone(),
                Arc::clone(&facts),
                worker,
                signs,
                Patience::None,
            ))
        };
        let workers = (0..4).map(work).collect();
        recovered(&served).await;
        Self { folder, supervisor, urls, client, facts, stop, served, workers }
    }

    /// The next start is another program's.
    fn change_program(&self, program: &Path) {
        std::fs::remove_file(self.folder.join("margrave")).unwrap();
        std::os::unix::fs::symlink(program, self.folder.join("margrave")).unwrap();
    }

    async fn restart(&self, names: &[&str]) {
        for name in names {
            let restarted = Command::new(self.supervisor.restart()).arg(name).status().await.unwrap();
            assert!(restarted.success());
            recovered(&self.served).await;
        }
    }

    /// Ends the load; nobody was refused, and everything that people were told holds.
    async fn holds(self) {
        self.stop.store(true, Ordering::Release);
        let mut told = Vec::new();
        for worker in self.workers {
            told.push(worker.await.unwrap());
        }
        holds(&self.client, &self.urls[0], &self.facts, told).await;
        drop(self.supervisor);
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A system on PostgreSQL whose limits are nothing to one machine's load.
async fn spacious(options: &[&str]) -> System {
    let settings = ["edge.limits.address_attempts=100000", "edge.limits.account_attempts=1000"];
    let database = new_database();
    up_with(&settings, &[&["--postgres", &database], options].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_issuers_are_restarted_one_after_another_and_nobody_is_refused() {
    let system = spacious(&[]).await;
    let pair = Pair::start(&system).await;
    pair.restart(&["a", "b", "a", "b"]).await;
    pair.holds().await;
}

/// The number of the last migration that a system's database has seen.
fn schema(system: &System) -> i64 {
    let environment = system.issuer_environment();
    let url = &environment.iter().find(|(name, _)| *name == "MARGRAVE_DATABASE_URL").unwrap().1;
    let sql = "SELECT MAX(version) FROM _sqlx_migrations WHERE success";
    let output = std::process::Command::new("psql").args(["-At", url, "-c", sql]).output().expect("psql");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants the issuer of another release: `cargo xtask upgrade-from`"]
async fn issuers_of_another_release_move_to_this_one_and_nobody_is_refused() {
    let other = std::env::var("OTHER_RELEASE").expect("run `cargo xtask upgrade-from`");
    let system = spacious(&["--issuer-program", &other]).await;
    let before = schema(&system);
    let pair = Pair::start_with(&system, Path::new(&other)).await;
    // The first changes the schema under the second, and can still be taken back.
    pair.change_program(&system.program());
    pair.restart(&["a"]).await;
    pair.change_program(Path::new(&other));
    pair.restart(&["a"]).await;
    pair.change_program(&system.program());
    pair.restart(&["a", "b"]).await;
    eprintln!("the schema was {before} and is {}", schema(&system));
    let verified = system.command(&["audit", "verify"]).await;
    assert_eq!(verified["ok"], true, "{verified}");
    pair.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_changed_under_load_and_nobody_is_refused() {
    let system = spacious(&[]).await;
    let pair = Pair::start(&system).await;
    let secrets = pair.folder.join("secrets");
    let next = SecretKey::from_bytes([9; 32]).to_text().expose().to_owned();
    std::fs::write(&secrets, format!("export MARGRAVE_NEXT_MASTER_KEY={next}")).unwrap();
    pair.restart(&["a", "b"]).await;
    let rotated =
        system.command_with(&["keys", "rotate-master"], &[("MARGRAVE_NEXT_MASTER_KEY", &next)]).await;
    assert_eq!(rotated["rotated"], true);
    recovered(&pair.served).await;
    std::fs::write(&secrets, format!("export MARGRAVE_MASTER_KEY={next}")).unwrap();
    pair.restart(&["a", "b"]).await;
    let verified = system.command_with(&["audit", "verify"], &[("MARGRAVE_MASTER_KEY", &next)]).await;
    assert_eq!(verified["ok"], true, "{verified}");
    pair.holds().await;
}
