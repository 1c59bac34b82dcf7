//! What every route shares: errors, who is calling, how bodies are read, and what every answer carries.

pub(crate) mod acting;
pub(crate) mod answer;
pub(crate) mod attempt;
pub(crate) mod bearer;
pub(crate) mod context;
pub(crate) mod draining;
pub(crate) mod error;
pub(crate) mod incoming;
pub(crate) mod layers;
pub(crate) mod openapi;
pub(crate) mod operation;
pub(crate) mod path;
pub(crate) mod peer;
#[cfg(test)]
pub(crate) mod promised;
pub(crate) mod to_edge;
