//! Every route of the issuer on one screen; those of the administration stand in `admin/routes.rs`.

use crate::accounts::routes::{MadeAccount, Me, NewAccountBody};
use crate::admin::health::Version;
use crate::app::App;
use crate::http::answer::json;
use crate::http::attempt::through_an_edge;
use crate::http::bearer::authenticate;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::http::layers;
use crate::http::openapi::document;
use crate::http::operation::Access::{Client, Edge, Holder, Person, Token};
use crate::http::operation::{Operation, delete, get, post};
use crate::sessions::routes::OwnSessions;
use crate::{accounts, admin, devices, edges, factors, keys, oauth, pages, recovery, sessions, tokens};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use margrave_shared::error::ErrorCode as E;
use margrave_shared::wire::token::{SecurityTokenResponse, TokenResponse};
use serde_json::{Map, Value};
use std::sync::{Arc, LazyLock};

type Object = Map<String, Value>;

/// What everybody calls.
fn public() -> Vec<Operation> {
    vec![
        // Where secrets are tried, and tokens made.
        post("/oauth/token", "token", oauth::routes::token)
            .says("Exchange what proves somebody for tokens (RFC 6749).")
            .takes_form("grant_type", &["scope", "resource", "client_id", "security_tokens", "refresh_token"])
            .tried()
            .refuses(&[
                E::InvalidGrant,
                E::UnauthorizedClient,
                E::UnsupportedGrantType,
                E::InvalidScope,
                E::InvalidTarget,
                E::InsufficientFactors,
            ])
            .answers::<TokenResponse>(200),
        post("/oauth/revoke", "revokeToken", oauth::routes::revocation)
            .says("End a token (RFC 7009).")
            .takes_form("token", &["client_id"])
            .tried()
            .answers_as(200, ""),
        post("/oauth/introspect", "introspect", oauth::routes::introspection)
            .says("Say what a token is (RFC 7662).")
            .needs(Client)
            .takes_form("token", &[])
            .tried()
            .answers::<Object>(200),
        post("/v1/factors/credentials", "proveCredentials", factors::routes::credentials)
            .says("Prove an account by login and password.")
            .takes::<factors::routes::CredentialsBody>()
            .tried()
            .refuses(&[E::AuthenticationFailed])
            .answers::<SecurityTokenResponse>(200),
        post("/v1/password", "changePassword", factors::routes::password)
            .says("Change one's password. Every session of the account ends.")
            .needs(Person)
            .takes::<factors::routes::PasswordBody>()
            .tried()
            .refuses(&[E::AuthenticationFailed, E::InvalidPassword])
            .answers_as(204, ""),
        post("/v1/resets/confirm", "confirmReset", recovery::routes::confirm)
            .says("Set a password with the token of a reset. Every session of the account ends.")
            .takes::<recovery::routes::ConfirmBody>()
            .tried()
            .refuses(&[E::AuthenticationFailed, E::InvalidPassword])
            .answers_as(204, ""),
        // Keys and metadata.
        get("/.well-known/jwks.json", "keys", keys::routes::jwks)
            .says("The keys that check tokens (RFC 7517).")
            .tagged()
            .answers_as(200, "application/jwk-set+json")
            .answers_as(304, ""),
        get("/.well-known/oauth-authorization-server", "metadata", oauth::routes::metadata_document)
            .says("What this server does (RFC 8414).")
            .answers::<Object>(200),
        get("/.well-known/openid-configuration", "openidMetadata", oauth::routes::metadata_document)
            .says("The same where OpenID clients look.")
            .answers::<Object>(200),
        get("/v1/status-lists", "statusLists", tokens::status_routes::all)
            .says("Where the status lists are (draft-ietf-oauth-status-list).")
            .refuses(&[E::NotFound])
            .answers::<Object>(200),
        get("/v1/status-lists/{epoch}/{list}", "statusList", tokens::status_routes::list)
            .says("A status list.")
            .answers_as(200, "application/statuslist+jwt"),
        get("/openapi.json", "openapi", openapi).says("This document.").needs(Token).answers::<Object>(200),
        // People.
        post("/v1/accounts", "createAccount", accounts::routes::create)
            .says("Make an account.")
            .needs(Holder("register"))
            .takes::<NewAccountBody>()
            .refuses(&[E::UsernameTaken, E::LimitReached, E::InvalidUsername, E::InvalidPassword])
            .answers::<MadeAccount>(201),
        get("/v1/me", "me", accounts::routes::me).says("Who am I.").needs(Person).answers::<Me<'_>>(200),
        get("/v1/me/reset", "showOwnReset", recovery::routes::show)
            .says("Show the reset of one's account that an administrator has started: by it another password may be set.")
            .needs(Person)
            .refuses(&[E::NotFound])
            .answers::<recovery::Reset>(200),
        delete("/v1/me/reset", "refuseReset", recovery::routes::cancel)
            .says("Call off the reset of one's account that an administrator has started.")
            .needs(Person)
            .refuses(&[E::NotFound])
            .answers_as(204, ""),
        get("/v1/me/devices", "listOwnDevices", devices::routes::list)
            .says("List the devices that one has registered to be told something on.")
            .needs(Person)
            .answers::<devices::routes::Devices>(200),
        post("/v1/me/devices", "registerDevice", devices::routes::register)
            .says("Register a device for push, or say that it is still there. Nothing is sent to it yet.")
            .needs(Person)
            .takes::<devices::routes::NewDeviceBody>()
            .refuses(&[E::LimitReached, E::NotFound, E::TooManyAttempts])
            .answers::<devices::routes::RegisteredDevice>(201),
        delete("/v1/me/devices/{device}", "removeOwnDevice", devices::routes::remove)
            .says("Take a registered device away.")
            .needs(Person)
            .answers_as(204, ""),
        delete("/v1/devices", "forgetDevices", devices::routes::forget)
            .says("Make every device that was known a stranger, and take all registered ones away.")
            .needs(Person)
            .refuses(&[E::TooManyAttempts])
            .answers_as(204, ""),
        get("/v1/sessions", "listSessions", sessions::routes::list)
            .says("List one's sessions.")
            .needs(Person)
            .answers::<OwnSessions>(200),
        delete("/v1/sessions/{sid}", "endSession", sessions::routes::end)
            .says("End one of one's sessions; `current` is the one of the token.")
            .needs(Person)
            .answers_as(204, ""),
        post("/v1/logout", "logout", sessions::routes::logout)
            .says("End the session of the token.")
            .needs(Person)
            .answers_as(204, ""),
        // Pages.
        get("/reset", "resetPage", pages::routes::reset)
            .says("Where a person sets a password with the link of a reset.")
            .answers_as(200, "text/html; charset=utf-8"),
        // Edges.
        get("/v1/edge/events", "events", edges::events_route::events)
            .says("Wait for endings.")
            .needs(Edge)
            .query(&[
                ("epoch", "string", "The feed's epoch."),
                ("after", "integer", "The last number that is known."),
                ("wait_s", "integer", "How long to wait."),
            ])
            .answers_as(200, "application/secevent+jwt"),
        post("/v1/edge/reports", "report", sessions::routes::reports)
            .says("Tell what an edge has seen.")
            .needs(Edge)
            .takes::<Object>()
            .answers_as(204, ""),
        // Operation.
        get("/healthz", "healthz", admin::health::healthz)
            .says("The process runs.")
            .answers_as(200, "text/plain; charset=utf-8"),
        get("/readyz", "readyz", admin::health::readyz)
            .says("The process can serve.")
            .answers_as(200, "text/plain; charset=utf-8"),
        get("/api/version", "version", admin::health::version)
            .says("The program's version.")
            .needs(Token)
            .answers::<Version>(200),
        get("/api/Version", "versionAgain", admin::health::version)
            .says("The same.")
            .needs(Token)
            .answers::<Version>(200),
    ]
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Everything.
    All,
    /// Everything but the administration.
    Public,
    /// The administration alone.
    Administration,
}

/// The router of one listener.
pub(crate) fn router(app: Arc<App>, serves: Serves) -> Router {
    let mut operations = Vec::new();
    if serves != Serves::Administration {
        operations.extend(public());
    }
    if serves != Serves::Public {
        operations.extend(admin::routes::operations());
    }
    let mut router = Router::new();
    for operation in operations {
        let (path, is_tried, administers) =
            (operation.path.clone(), operation.is_tried(), operation.administers());
        #[cfg(test)]
        let promised = Arc::new(operation.promised());
        let mut route = operation.route();
        if is_tried {
            route = route.route_layer(from_fn_with_state(Arc::clone(&app), through_an_edge));
        }
        if let Some(act) = administers {
            route = route.route_layer(from_fn_with_state((Arc::clone(&app), act), admin::written_down));
        }
        #[cfg(test)]
        {
            let hold = move |request, next| crate::http::promised::hold(Arc::clone(&promised), request, next);
            route = route.route_layer(axum::middleware::from_fn(hold));
        }
        router = router.route(&path, route);
    }
    router
        .method_not_allowed_fallback(layers::method_not_allowed)
        .fallback(layers::not_found)
        .layer(from_fn_with_state(Arc::clone(&app), layers::around))
        .with_state(app)
}

/// The OpenAPI document of all routes. `docs/openapi.json` is this.
pub(crate) fn openapi_document() -> Value {
    let operations: Vec<Operation> = public().into_iter().chain(admin::routes::operations()).collect();
    document(&operations)
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi_document);

/// `GET /openapi.json`
async fn openapi(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    authenticate(&app, &incoming).await?;
    Ok(json(StatusCode::OK, &*DOCUMENT))
}

#[cfg(test)]
mod tests {
    use super::openapi_document;

    #[test]
    fn the_document_that_is_checked_in_is_this_one() {
        let written = include_str!("../../docs/openapi.json");
        let document = serde_json::to_string_pretty(&openapi_document()).unwrap() + "\n";
        assert!(
            written == document,
            "write it anew: cargo run -p margrave-issuer -- openapi > docs/openapi.json"
        );
    }
}
