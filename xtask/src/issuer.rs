//! The issuer's process, and its command line.

use crate::processes::Process;
use crate::secrets::Secrets;
use crate::{Outcome, workspace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How the issuer is run.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    program: PathBuf,
    environment: Vec<(String, String)>,
    url: String,
    log: PathBuf,
}

impl Issuer {
    /// An issuer on a port with its database in the state folder, or at a URL.
    pub(crate) fn new(
        profile: &str,
        state: &Path,
        port: u16,
        postgres: Option<&str>,
        secrets: &Secrets,
        settings: &[(String, String)],
    ) -> Outcome<Self> {
        let url = format!("http://127.0.0.1:{port}");
        let database =
            postgres.map_or_else(|| format!("sqlite:{}", state.join("issuer.db").display()), str::to_owned);
        let mut environment: Vec<(String, String)> = [
            ("MARGRAVE_LISTEN", format!("127.0.0.1:{port}")),
            ("MARGRAVE_PUBLIC_URL", url.clone()),
            ("MARGRAVE_DATABASE_URL", database),
            ("MARGRAVE_DIRECT", "true".to_owned()),
            ("MARGRAVE_MASTER_KEY", secrets.master_key.clone()),
            ("MARGRAVE_LOG", "warn".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(settings.iter().cloned());
        Ok(Self {
            program: workspace::program(profile, "margrave")?,
            environment,
            url,
            log: state.join("issuer.log"),
        })
    }

    /// The same, by another program.
    pub(crate) fn of_program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// The same, which sends mail to this port of the machine. What is set by the caller stays.
    pub(crate) fn with_mail(mut self, port: u16) -> Self {
        for (name, value) in [
            ("MARGRAVE_MAIL__SMTP_URL", format!("smtp://127.0.0.1:{port}")),
            ("MARGRAVE_MAIL__FROM", "Margrave <margrave@demo.test>".to_owned()),
            ("MARGRAVE_MAIL__OPERATORS", "[\"operators@demo.test\"]".to_owned()),
        ] {
            if self.environment.iter().all(|(known, _)| known != name) {
                self.environment.push((name.to_owned(), value));
            }
        }
        self
    }

    /// The issuer's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of the caller's own environment changes the demo.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MARGRAVE_")) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        command
    }

    /// Runs a command of `margrave` and gives its answer.
    pub(crate) async fn ask(&self, arguments: &[&str], input: Option<&str>) -> Outcome<Value> {
        let mut command = self.command();
        command
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let fail = |error: String| format!("`margrave {name}`: {error}");
        let mut child = command.spawn().map_err(|error| fail(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let text = format!("{}\n", input.unwrap_or(""));
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(|error| fail(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            // Settings are everybody's, not this command's.
            return Err(match said.strip_prefix("margrave: the configuration cannot be used:") {
                // Its settings come from here, by the environment.
                Some(problems) => format!(
                    "the issuer's settings cannot be used:{}",
                    problems.split("\n  - no file was read").next().unwrap_or(problems)
                ),
                None if said.starts_with("margrave: the database ") => {
                    said.trim_start_matches("margrave: ").to_owned()
                }
                None => fail(said),
            });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| fail(error.to_string()))
    }

    /// Starts serving and waits until it is ready.
    pub(crate) async fn start(&self) -> Outcome<Process> {
        let mut command = self.command();
        command.arg("serve");
        let mut process = Process::start("issuer", &mut command, &self.log)?;
        process.wait_for(&format!("{}/readyz", self.url), &self.log).await?;
        Ok(process)
    }
}
