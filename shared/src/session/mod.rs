//! Sessions: how long they live, what keeps them alive, and how refresh tokens rotate.

pub mod policy;
pub mod rotate;
pub mod state;

pub use policy::SessionPolicy;
pub use state::{Contact, Ending, SessionRow, SessionVerdict};
