//! What systemd does for the tests that restart something under load.

/// Does what systemd does: holds a socket (a path, `address:port`, or `-` for none), runs the first command before each start, and starts the rest anew
/// whenever it ends, with its id in `<name>.pid`.
pub(crate) const SUPERVISOR: &str = r#"
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
pub(crate) const RESTART: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
pid=$(cat "$1.pid")
kill -TERM "$pid"
while [ "$(cat "$1.pid")" = "$pid" ]; do sleep 0.01; done
"#;
