//! A throw-away PostgreSQL for the tests.

use crate::tools::{capture, run};
use crate::{Outcome, ports, secrets};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A running server; dropped, it stops, and its files go.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    bin: PathBuf,
    as_other: bool,
    /// Its URL.
    pub(crate) url: String,
}

impl Server {
    /// Makes a cluster in a new folder and starts it. PostgreSQL refuses to run as root, so then another user runs it.
    pub(crate) async fn start() -> Outcome<Self> {
        let bin = find_bin().ok_or(
            "PostgreSQL is not installed. Install it (Debian: `apt-get install postgresql`, macOS: `brew install \
             postgresql`), or set TEST_POSTGRES_URL to a server where databases may be made",
        )?;
        let as_other = capture(Command::new("id").arg("-u")).await.is_ok_and(|id| id.trim() == "0");
        let port = ports::choose("test database", None, None)?;
        let name = format!("margrave-postgres-{}", secrets::random::<6>()?);
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let server = Self {
            bin,
            as_other,
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            folder: folder.clone(),
        };
        if as_other {
            run(Command::new("chown").arg("postgres").arg(&folder), "chown").await?;
        }
        let data = folder.join("data");
        let data = data.to_string_lossy();
        server
            .command("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .await?;
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off \
             -c max_connections=400"
        );
        let log = folder.join("log");
        server
            .command("pg_ctl", &["-D", &data, "-l", &log.to_string_lossy(), "-o", &options, "-w", "start"])
            .await?;
        Ok(server)
    }

    /// Makes a database; gives its URL.
    pub(crate) async fn create(&self, name: &str) -> Outcome<String> {
        let create = format!("CREATE DATABASE {name}");
        run(Command::new("psql").args(["-q", "-d", &self.url, "-c", &create]), "psql").await?;
        let (server, _) = self.url.rsplit_once('/').unwrap_or((&self.url, ""));
        Ok(format!("{server}/{name}"))
    }

    async fn command(&self, program: &str, arguments: &[&str]) -> Outcome<()> {
        let mut command = Command::from(self.program(program));
        capture(command.args(arguments))
            .await
            .map(|_| ())
            .map_err(|error| format!("`{program}` of PostgreSQL failed: {error}"))
    }

    /// One of PostgreSQL's programs, run by whom it takes.
    fn program(&self, name: &str) -> std::process::Command {
        let path = self.bin.join(name);
        let mut command = if self.as_other {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
            command
        } else {
            std::process::Command::new(path)
        };
        command.current_dir(&self.folder).stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        let stop = stop.arg("-D").arg(self.folder.join("data")).args(["-m", "immediate", "-w", "stop"]);
        let _ = stop.output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder of `initdb`: on the path, or where Debian puts it.
fn find_bin() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).find(|folder| folder.join("initdb").exists()));
    on_path.or_else(|| {
        let versions = std::fs::read_dir(Path::new("/usr/lib/postgresql")).ok()?;
        let mut bins: Vec<PathBuf> = versions
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .filter(|bin| bin.join("initdb").exists())
            .collect();
        bins.sort();
        bins.pop()
    })
}
