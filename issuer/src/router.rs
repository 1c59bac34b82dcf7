//! Every route of the issuer on one screen.

use crate::app::App;
use crate::http::attempt::through_an_edge;
use crate::http::layers;
use crate::{accounts, admin, edges, factors, keys, oauth, sessions, tokens};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use std::sync::Arc;

/// The router of one issuer process.
pub(crate) fn router(app: Arc<App>) -> Router {
    // Where secrets are tried, and tokens made.
    let tried = Router::new()
        .route("/oauth/token", post(oauth::routes::token))
        .route("/oauth/revoke", post(oauth::routes::revocation))
        .route("/oauth/introspect", post(oauth::routes::introspection))
        .route("/v1/factors/credentials", post(factors::routes::credentials))
        .route("/v1/password", post(factors::routes::password))
        .route_layer(from_fn_with_state(Arc::clone(&app), through_an_edge));
    Router::new()
        .merge(tried)
        // Keys and metadata.
        .route("/.well-known/jwks.json", get(keys::routes::jwks))
        .route("/.well-known/oauth-authorization-server", get(oauth::routes::metadata_document))
        .route("/.well-known/openid-configuration", get(oauth::routes::metadata_document))
        .route("/v1/status-lists", get(tokens::status_routes::all))
        .route("/v1/status-lists/{epoch}/{list}", get(tokens::status_routes::list))
        // People.
        .route("/v1/accounts", post(accounts::routes::create))
        .route("/v1/me", get(accounts::routes::me))
        .route("/v1/devices", delete(accounts::routes::forget_devices))
        .route("/v1/sessions", get(sessions::routes::list))
        .route("/v1/sessions/{sid}", delete(sessions::routes::end))
        .route("/v1/logout", post(sessions::routes::logout))
        // Edges.
        .route("/v1/edge/events", get(edges::events_route::events))
        .route("/v1/edge/reports", post(sessions::routes::reports))
        // Administration.
        .nest("/admin/v1", admin::routes::router())
        // Operation.
        .route("/healthz", get(admin::health::healthz))
        .route("/readyz", get(admin::health::readyz))
        .route("/api/version", get(admin::health::version))
        .route("/api/Version", get(admin::health::version))
        .method_not_allowed_fallback(layers::method_not_allowed)
        .fallback(layers::not_found)
        .layer(from_fn_with_state(Arc::clone(&app), layers::around))
        .with_state(app)
}
