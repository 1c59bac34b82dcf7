//! Security factors: what proves an account. A verified factor gives a security token, which is consumed when a
//! permission token is minted with it.

mod change_password;
mod credentials;
pub(crate) mod routes;
mod security_token;
mod store;

#[cfg(test)]
pub(crate) use change_password::change_password;
#[cfg(test)]
pub(crate) use credentials::verify_credentials;
pub(crate) use security_token::{SecurityProof, consume, read_proofs};
pub(crate) use store::{delete_dead, find_accounts_proven};
