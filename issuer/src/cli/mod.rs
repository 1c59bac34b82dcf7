//! The command line: what an operator does from a shell.

mod accounts;
mod admin;
mod applications;
mod audit;
mod backup;
mod doctor;
mod edges;
mod keys;
mod listener;
mod mail;
mod merchants;
mod operator;
mod roles;
mod serve;

use crate::app::App;
use crate::clock::Clock;
use crate::config::{BadConfig, Config};
use crate::failure::Failure;
use crate::router::openapi_document;
use crate::storage::{Db, StorageError, migrate};
use crate::telemetry;
use clap::{Parser, Subcommand};
use margrave_shared::secret::SecretText;
use serde::de::DeserializeOwned;
use std::io::{BufRead as _, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The issuer of Margrave.
#[derive(Debug, Parser)]
#[command(name = "margrave", disable_help_subcommand = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, short, global = true, env = "MARGRAVE_CONFIG")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    Serve,
    /// Say what the settings come to, and whether what they need is there. Changes nothing.
    Doctor,
    /// Write the OpenAPI document of all routes.
    Openapi,
    /// Bring the database up to date.
    Migrate,
    /// Write everything that the database holds into a new file, while issuers go on.
    Backup {
        /// The file.
        file: PathBuf,
    },
    /// Fill a new, empty database from a backup, of either kind of database.
    Restore {
        /// The file.
        file: PathBuf,
    },
    /// The platform's own merchant and its administrators.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Merchants and their keys.
    #[command(subcommand)]
    Merchants(merchants::Command),
    /// Roles of a merchant.
    #[command(subcommand)]
    Roles(roles::Command),
    /// Applications of a merchant.
    #[command(subcommand)]
    Applications(applications::Command),
    /// Accounts of a merchant.
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// Signing keys and the master key.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Edges.
    #[command(subcommand, alias = "edge")]
    Edges(edges::Command),
    /// The audit and its chain.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Mail.
    #[command(subcommand)]
    Mail(mail::Command),
}

/// What ends a command with a message.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] BadConfig),
    #[error("{}", explain(.0))]
    Failure(#[from] Failure),
    #[error("{0}")]
    Text(String),
}

impl From<StorageError> for CommandError {
    fn from(error: StorageError) -> Self {
        Self::Failure(error.into())
    }
}

fn explain(failure: &Failure) -> String {
    match failure {
        Failure::Denied(denial) => denial.detail.clone().unwrap_or_else(|| denial.code.title().to_owned()),
        Failure::Internal(text) => (*text).to_owned(),
        other => other.to_string(),
    }
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(&arguments));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            result
        }
        Err(error) => Err(CommandError::Text(format!("the runtime does not start: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: &Arguments) -> Result<(), CommandError> {
    // Making keys is what comes before there is a configuration.
    if let Command::Keys(command) = &arguments.command
        && keys::make(command, Output { json: arguments.json })
    {
        return Ok(());
    }
    if let Command::Openapi = &arguments.command {
        let document = serde_json::to_string_pretty(&openapi_document()).unwrap_or_default();
        say(&document);
        return Ok(());
    }
    let config = Config::load(arguments.config.as_deref(), std::env::vars())?;
    let output = Output { json: arguments.json };
    match &arguments.command {
        Command::Serve => serve::run(&config).await,
        Command::Migrate => {
            migrate(&open(&config).await?).await?;
            output.print("the database is up to date", &serde_json::json!({ "migrated": true }));
            Ok(())
        }
        Command::Openapi => Ok(()),
        Command::Doctor => doctor::run(&config, &Clock::System, output).await,
        Command::Backup { file } => backup::make(&config, file, output).await,
        Command::Restore { file } => backup::restore_from(&config, file, output).await,
        Command::Admin(command) => admin::run(command, &build(&config).await?, output).await,
        Command::Merchants(command) => merchants::run(command, &build(&config).await?, output).await,
        Command::Roles(command) => roles::run(command, &build(&config).await?, output).await,
        Command::Applications(command) => applications::run(command, &build(&config).await?, output).await,
        Command::Accounts(command) => accounts::run(command, &build(&config).await?, output).await,
        Command::Keys(command) => keys::run(command, &config, &build(&config).await?, output).await,
        Command::Edges(command) => edges::run(command, &build(&config).await?, output).await,
        Command::Mail(command) => mail::run(command, &config, output).await,
        Command::Audit(command) => audit::run(command, &build(&config).await?, output).await,
    }
}

async fn open(config: &Config) -> Result<Db, CommandError> {
    Db::open(&config.database_url, config.database_connections).await.map_err(|error| {
        let why = match &error {
            StorageError::Unavailable(inner) | StorageError::Driver(inner) => inner.to_string(),
            other => other.to_string(),
        };
        CommandError::Text(format!(
            "the database {} cannot be opened: {why}. Is `database_url` right, and does it run?",
            without_password(&config.database_url)
        ))
    })
}

async fn build(config: &Config) -> Result<App, CommandError> {
    telemetry::start_for_a_command();
    let db = open(config).await?;
    Ok(App::build(config, &config.master_keys()?, db, Clock::System).await?)
}

/// A database URL as it may stand in a message.
fn without_password(url: &str) -> String {
    // Parameters may hold one as well.
    let url = url.split('?').next().unwrap_or(url);
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// How answers are printed.
#[derive(Debug, Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    fn print(self, text: &str, json: &serde_json::Value) {
        if self.json {
            say(&json.to_string());
        } else {
            say(text);
        }
    }
}

/// Reads JSON from a file, or from standard input where that is `-`. What is not known is told: it is misspelt.
fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, CommandError> {
    let fail = |why: String| CommandError::Text(format!("{}: {why}", file.display()));
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| fail(error.to_string()))?;
    let mut unknown = None;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let read = serde_ignored::deserialize(&mut deserializer, |path| unknown = Some(path.to_string()));
    match (read.and_then(|read| deserializer.end().map(|()| read)), unknown) {
        (Ok(read), None) => Ok(read),
        (Ok(_), Some(path)) => Err(fail(format!("`{path}` is not known"))),
        (Err(error), _) => Err(fail(error.to_string())),
    }
}

/// Reads a secret from standard input, a line: an argument would be seen by others.
fn read_secret(what: &str) -> Result<SecretText, CommandError> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| CommandError::Text(format!("{what} cannot be read: {error}")))?;
    Ok(SecretText::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Writes a line to standard output. Who reads no further (`| head`) ends the command, and that is no failure.
fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        std::process::exit(i32::from(error.kind() != ErrorKind::BrokenPipe));
    }
}

fn print_error(text: &str) {
    eprintln!("margrave: {text}");
}
