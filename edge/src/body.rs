//! Reading a bounded body.

use crate::budget::within;
use futures_util::StreamExt as _;
use margrave_shared::error::ErrorCode;
use std::time::Duration;
use worker::Request;

/// How long a body of a few kilobytes may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body of at most `max` bytes; the rest of a larger one is not read.
///
/// # Errors
/// `payload_too_large`, `invalid_request`.
pub(crate) async fn read(request: &mut Request, max: usize) -> Result<Vec<u8>, ErrorCode> {
    let declared = request.headers().get("content-length").ok().flatten();
    if declared.and_then(|text| text.parse::<usize>().ok()).is_some_and(|length| length > max) {
        return Err(ErrorCode::PayloadTooLarge);
    }
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let mut stream = request.stream().map_err(|_| ErrorCode::InvalidRequest)?;
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > max {
                return Ok(Err(ErrorCode::PayloadTooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Ok(body))
    };
    within(BODY_TIMEOUT, read).await.map_err(|_| ErrorCode::InvalidRequest)?
}
