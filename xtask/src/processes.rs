//! Child processes: started, waited for until they answer, and stopped with us.

use crate::Outcome;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A running child; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts a program with its output in a log file.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Outcome<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.map_err(|error| format!("{} cannot be written: {error}", log.display()))?;
        let other = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(file))
            .stderr(Stdio::from(other))
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the {name} does not start: {error}"))?;
        Ok(Self { name, child })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until a URL answers with 200; fails when the process ends before.
    pub(crate) async fn wait_for(&mut self, url: &str, log: &Path) -> Outcome<()> {
        let client = reqwest::Client::new();
        for _ in 0..600 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!(
                    "the {} ended with {status} before it answered. Its last words, from {}:\n{}",
                    self.name,
                    log.display(),
                    tail(log)
                ));
            }
            // An edge with wrong settings goes on running, and refuses.
            if let Some(problem) = complaint(log) {
                return Err(format!("the {}: {problem}", self.name));
            }
            let answer = client.get(url).timeout(Duration::from_secs(5)).send().await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!(
            "the {} does not answer at {url}. Its last words, from {}:\n{}",
            self.name,
            log.display(),
            tail(log)
        ))
    }

    /// Waits until the process ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("the {} ended with {status}", self.name),
            Err(error) => format!("the {} cannot be watched: {error}", self.name),
        }
    }

    /// Asks the process to stop, and kills it if it does not.
    pub(crate) async fn stop(mut self) {
        #[cfg(unix)]
        if let Some(id) = self.child.id() {
            // `kill` is in every Unix, and asking needs no unsafe code this way.
            let _ = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await;
            if tokio::time::timeout(Duration::from_secs(9), self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}

/// What the edge says in its log of settings that it cannot use.
fn complaint(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("the configuration cannot be used: "))?;
    Some(line.get(line.find("the configuration")?..)?.to_owned())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
}

/// Waits for Ctrl-C or a request to stop.
pub(crate) async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
