//! What administrators look at, and whatever they are refused, stands in the audit before they are told; what they change is written
//! down by the change itself.

use crate::app::App;
use crate::audit::Entry;
use crate::failure::Failure;
use crate::http::acting::Acting;
use crate::http::error::{ApiError, reason_of};
use crate::http::operation::Act;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// Around every operation of the administration. Who is not known yet is no administrator, and leaves no entry.
pub(crate) async fn written_down(
    State((app, act)): State<(Arc<App>, Act)>,
    route: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let acting = Acting::default();
    request.extensions_mut().insert(acting.clone());
    let subject = shown(route.as_str(), request.uri().path());
    let response = next.run(request).await;
    let Some(actor) = acting.actor() else { return response };
    let entry = match response.status() {
        status if status.is_client_error() => Entry::refused("admin", reason_of(&response)),
        status if status.is_success() && act == Act::Read => Entry::done("admin.read"),
        _ => return response,
    };
    let entry = entry.merchant(&actor.merchant).actor(&actor.name).subject(subject);
    let (now, random) = (app.clock.now(), app.entropy.bytes());
    match app.audit.write_alone(&app.db, entry, &actor.caller, now, random).await {
        Ok(()) => response,
        Err(error) => ApiError::from(Failure::from(error)).into_response(),
    }
}

/// A path as it stands in the audit: with the ids that it holds, and nothing else of what somebody typed, which may be a person's name.
fn shown(route: &str, path: &str) -> String {
    let segments = route.split('/').zip(path.split('/'));
    let segments =
        segments.map(|(named, typed)| if named.starts_with('{') && !is_id(typed) { "-" } else { typed });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether a text has the form of the ids that this system gives.
fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_that_is_typed_stands_in_the_audit() {
        let id = "8f14e45f-ceea-467f-a0e6-2f3c9d1b7a55";
        for (route, path, stands) in [
            ("/admin/v1/audit", "/admin/v1/audit".to_owned(), "/admin/v1/audit".to_owned()),
            (
                "/admin/v1/accounts/{account}",
                format!("/admin/v1/accounts/{id}"),
                format!("/admin/v1/accounts/{id}"),
            ),
            (
                "/admin/v1/accounts/{account}",
                "/admin/v1/accounts/a@b.test".to_owned(),
                "/admin/v1/accounts/-".to_owned(),
            ),
            (
                "/admin/v1/accounts/{account}/rights",
                "/admin/v1/accounts/alice/rights".to_owned(),
                "/admin/v1/accounts/-/rights".to_owned(),
            ),
        ] {
            assert_eq!(shown(route, &path), stands);
        }
    }
}
