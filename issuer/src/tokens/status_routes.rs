//! `GET /v1/status-lists` and `GET /v1/status-lists/{epoch}/{list}`: for verifiers that do not follow the feed.

use super::status::{living_lists, status_list};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::path::Path;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use serde_json::json;
use std::sync::Arc;

/// A list. Also while the setting is off: tokens that name it may still live.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path((epoch, list)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let number = list.parse::<i64>().ok().filter(|number| *number >= 0 && number.to_string() == list);
    let number = number.ok_or(ApiError::new(ErrorCode::NotFound))?;
    let made = status_list(&app, &epoch, number).await?.ok_or(ApiError::new(ErrorCode::NotFound))?;
    let headers = [
        (header::CONTENT_TYPE, "application/statuslist+jwt".to_owned()),
        // As long as this process itself would hand it out: its `ttl` counts from when it is fetched.
        (header::CACHE_CONTROL, format!("public, max-age={}", made.left_s(app.clock.now()))),
        // Pages may verify too (§8.1); a list holds nobody's data.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
    ];
    Ok((headers, made.jwt.to_string()).into_response())
}

/// All lists that matter.
pub(crate) async fn all(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    if !app.token_config.status_lists {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    let lists = living_lists(&app).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=2"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, json!({ "status_lists": lists }).to_string()).into_response())
}
