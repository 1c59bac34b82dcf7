//! Administration: who may do what to whose things, and the routes. The acts themselves are their capabilities'.

mod account_routes;
mod application_routes;
mod asked;
mod audit_routes;
mod authorize;
mod device_routes;
mod disable_account;
mod disable_merchant;
mod edge_routes;
mod end_merchant_sessions;
mod erase_account;
mod export_account;
pub(crate) mod health;
mod key_routes;
mod merchant_routes;
mod organization_routes;
mod reset_routes;
mod role_routes;
pub(crate) mod routes;
mod signing_key_routes;
mod sso_routes;
mod written_down;

pub(crate) use disable_account::{
    disable_account, enable_account, end_account_sessions, reset_account_failures,
};
pub(crate) use disable_merchant::{disable_merchant, enable_merchant};
pub(crate) use end_merchant_sessions::end_merchant_sessions;
pub(crate) use erase_account::erase_account;
pub(crate) use export_account::export_account;
pub(crate) use written_down::written_down;
#[cfg(test)]
mod tests;
