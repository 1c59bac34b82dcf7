//! `GET /v1/edge/events`: the feed, for registered edges.

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::incoming::Incoming;
use crate::revocations::batch::{Poll, next_batch};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use margrave_shared::error::ErrorCode;
use margrave_shared::form::Form;
use std::sync::Arc;

/// A long poll: `epoch`, `after` and `wait_s` in the query; the answer is a `secevent+jwt`.
pub(crate) async fn events(State(app): State<Arc<App>>, incoming: Incoming) -> Result<Response, ApiError> {
    let edge = incoming.caller.edge.as_ref().ok_or(ApiError::new(ErrorCode::EdgeRequired))?;
    let query = Form::parse(incoming.uri.query().unwrap_or("").as_bytes())
        .map_err(|_| ApiError::new(ErrorCode::InvalidRequest))?;
    let number = |name| match query.get(name) {
        None => Ok(0),
        Some(text) => text.parse::<u64>().map_err(|_| ApiError::new(ErrorCode::InvalidRequest)),
    };
    let poll = Poll {
        epoch: query.get("epoch").unwrap_or("").to_owned(),
        after: i64::try_from(number("after")?).unwrap_or(i64::MAX),
        wait_s: number("wait_s")?,
    };
    let batch = next_batch(&app, edge, &poll).await?;
    Ok(([(header::CONTENT_TYPE, "application/secevent+jwt")], batch).into_response())
}
