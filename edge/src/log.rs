//! Structured logs: one JSON object a line. What may never be in them: secrets, tokens, logins, addresses.

use crate::clock;
use serde_json::{Map, Value};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// For the record.
    Info,
    /// Somebody should look, not at once.
    Warn,
    /// Something does not work.
    Error,
}

/// Writes a line.
pub(crate) fn write(level: Level, message: &str, fields: &[(&str, Value)]) {
    let name = match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let mut line = Map::new();
    line.insert("at_ms".to_owned(), clock::wall().0.into());
    line.insert("level".to_owned(), name.into());
    line.insert("message".to_owned(), message.into());
    line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let line = Value::Object(line).to_string();
    match level {
        Level::Info => worker::console_log!("{line}"),
        Level::Warn => worker::console_warn!("{line}"),
        Level::Error => worker::console_error!("{line}"),
    }
}

/// Somebody should look, not at once.
pub(crate) fn warn(message: &str) {
    write(Level::Warn, message, &[]);
}

/// Something does not work.
pub(crate) fn error(message: &str) {
    write(Level::Error, message, &[]);
}
