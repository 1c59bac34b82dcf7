//! What systemd does for the tests that restart something under load.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Does what systemd does: holds a socket (a path, `address:port`, or `-` for none), runs the first command before each start, and starts the rest anew
/// whenever it ends, with its id in `<name>.pid`.
const SUPERVISOR: &str = r#"
use Socket; use POSIX ();
my ($folder, $name, $socket, $before, @command) = @ARGV;
$^F = 10;
if ($socket ne "-") {
  # Of the whole program, or it would be closed with its block.
  our $listener;
  if ($socket =~ /^([0-9.]+):([0-9]+)$/) {
    my ($address, $port) = ($1, $2);
    socket($listener, PF_INET, SOCK_STREAM, 0) or die $!;
    setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($listener, pack_sockaddr_in($port, inet_aton($address))) or die $!;
  } else {
    socket($listener, PF_UNIX, SOCK_STREAM, 0) or die $!;
    bind($listener, pack_sockaddr_un($socket)) or die $!;
  }
  listen($listener, 128) or die $!;
  POSIX::dup2(fileno($listener), 3) if fileno($listener) != 3;
}
while (1) {
  system($before) == 0 or die "$before: $?" if $before ne "";
  my $pid = fork();
  if (!$pid) {
    if ($socket ne "-") { $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; }
    exec(@command) or die $!;
  }
  open(my $file, ">", "$folder/$name.pid.new"); print $file $pid; close $file;
  rename("$folder/$name.pid.new", "$folder/$name.pid");
  waitpid($pid, 0);
}
"#;

/// Does what `systemctl restart` does.
const RESTART: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
pid=$(cat "$1.pid")
kill -TERM "$pid"
while [ "$(cat "$1.pid")" = "$pid" ]; do sleep 0.01; done
"#;

/// What it supervises, with files in a folder. Dropped, all of it is killed.
pub(crate) struct Supervisor {
    folder: PathBuf,
    children: Vec<Child>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // First who would start the others anew.
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pid") {
                let id = std::fs::read_to_string(entry.path()).unwrap();
                let _ = Command::new("kill").args(["-KILL", id.trim()]).status();
            }
        }
    }
}

impl Supervisor {
    pub(crate) fn new(folder: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("supervisor.pl"), SUPERVISOR).unwrap();
        std::fs::write(folder.join("restart"), RESTART).unwrap();
        std::fs::set_permissions(folder.join("restart"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder: folder.to_owned(), children: Vec::new() }
    }

    /// The program that restarts what it is given the name of.
    pub(crate) fn restart(&self) -> PathBuf {
        self.folder.join("restart")
    }

    /// Starts what `complete` makes of a command line: its program, arguments and environment. Waits until its socket takes connections.
    pub(crate) fn start(
        &mut self,
        name: &str,
        socket: &str,
        before: &str,
        complete: impl FnOnce(&mut Command),
    ) {
        let mut command = Command::new("perl");
        command.arg(self.folder.join("supervisor.pl")).arg(&self.folder).args([name, socket, before]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        complete(&mut command);
        // It would be taken for a setting.
        self.children.push(command.env_remove("MARGRAVE_XTASK").spawn().unwrap());
        // By then the socket is listened on: who comes before is refused by nobody's fault.
        let started = self.folder.join(format!("{name}.pid"));
        for _ in 0..1000 {
            if started.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{name} does not start");
    }
}
