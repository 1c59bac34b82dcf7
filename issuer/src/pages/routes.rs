//! `GET /reset`

use super::Page;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

static RESET: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("reset.html")));

/// Where a person sets a password with the link of a reset. The token stands in the fragment and is not sent.
pub(crate) async fn reset() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, RESET.policy.as_str()),
    ];
    (headers, RESET.html).into_response()
}
