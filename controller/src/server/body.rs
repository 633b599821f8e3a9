//! Reading request bodies: so much and no more, so long and no longer.

use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use std::time::Duration;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is too large is read on and thrown away up to so many times the limit, so that the client hears why.
const DISCARD: usize = 16;

/// The whole body.
///
/// # Errors
/// 413 when it is larger than `limit` bytes, 408 when it takes too long or breaks off.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(PATIENCE, read_all(body, limit))
        .await
        .unwrap_or_else(|_| Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive within 10 s.")))
}

async fn read_all(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        // Not 400: to a filter that would mean that the report can never be accepted.
        let frame = frame.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        total = total.saturating_add(data.len());
        if total <= limit {
            bytes.extend_from_slice(&data);
        } else if total > limit.saturating_mul(DISCARD) {
            break;
        }
    }
    if total > limit {
        let detail = format!("The body is larger than {limit} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(bytes.into())
}
