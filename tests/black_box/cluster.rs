//! A PostgreSQL server that a test may kill.

use crate::system::free_address;
use std::path::PathBuf;
use std::process::Stdio;

/// A PostgreSQL server of the test's own, to be killed.
pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    address: String,
}

impl Cluster {
    pub(crate) fn start() -> Self {
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

    pub(crate) fn up(&self) {
        let port = self.address.rsplit(':').next().unwrap();
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=");
        let (bin, data, log) =
            (self.bin.display(), self.data(), self.folder.join("log").display().to_string());
        self.run(&format!("{bin}/pg_ctl -D {data} -l {log} -w -o '{options}' start"));
    }

    /// As a power cut does: nothing is written any more.
    pub(crate) fn kill(&self) {
        self.run(&format!("{}/pg_ctl -D {} -m immediate stop", self.bin.display(), self.data()));
    }

    pub(crate) fn url(&self) -> String {
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
