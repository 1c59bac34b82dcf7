//! OAuth 2.0: the token endpoint, revocation, introspection and metadata.

mod introspect;
mod metadata;
mod revoke;
pub(crate) mod routes;
mod token;

#[cfg(test)]
pub(crate) use token::exchange;
