//! Metadata of the authorization server (RFC 8414) and of the OpenID provider.

use super::token::GRANT_TYPES;
use crate::app::App;
use serde_json::{Value, json};

/// The metadata document. `issuer` is the public URL exactly (RFC 8414 §3.3), and what does not exist is not named.
pub(super) fn metadata(app: &App) -> Value {
    let base = &app.public_url;
    let mut metadata = json!({
        "issuer": base,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "token_endpoint": format!("{base}/oauth/token"),
        "revocation_endpoint": format!("{base}/oauth/revoke"),
        "introspection_endpoint": format!("{base}/oauth/introspect"),
        "grant_types_supported": GRANT_TYPES,
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "subject_types_supported": ["public"],
    });
    if let Some(members) = metadata.as_object_mut().filter(|_| app.token_config.status_lists) {
        let lists = format!("{base}/v1/status-lists");
        members.insert("status_list_aggregation_endpoint".to_owned(), lists.into());
    }
    metadata
}
