//! Durable Objects: load a row, ask the shared rule, store the row.

pub(crate) mod account;
pub(crate) mod feed;
pub(crate) mod limiter;

use std::cell::Cell;
use worker::{State, Url};

/// The parameters of an object's call.
fn parameters(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// One parameter's text.
fn text<'a>(parameters: &'a [(String, String)], name: &str) -> worker::Result<&'a str> {
    parameters
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
        .ok_or_else(|| worker::Error::RustError(format!("`{name}` is missing")))
}

/// One parameter's number.
fn number(parameters: &[(String, String)], name: &str) -> worker::Result<i64> {
    text(parameters, name)?.parse().map_err(|_| worker::Error::RustError(format!("`{name}` is no number")))
}

/// Makes an object's tables before its first statement. Should it fail, the call fails and the next one tries again.
struct Schema {
    statements: &'static [&'static str],
    made: Cell<bool>,
}

impl Schema {
    const fn new(statements: &'static [&'static str]) -> Self {
        Self { statements, made: Cell::new(false) }
    }

    fn ensure(&self, state: &State) -> worker::Result<()> {
        if !self.made.get() {
            let sql = state.storage().sql();
            for statement in self.statements {
                sql.exec(statement, None)?;
            }
            self.made.set(true);
        }
        Ok(())
    }
}

/// A column's text of an instant: numbers go beyond what JavaScript holds exactly, and texts of one width sort as they do.
fn sorted(at: i64) -> String {
    format!("{:020}", at.max(0))
}

/// An answer in JSON.
fn answer(value: &impl serde::Serialize) -> worker::Result<worker::Response> {
    worker::Response::from_json(value)
}
