//! Reading request bodies: so much and no more, so long and no longer.

use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
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

/// What a body of JSON says. `what` it is, in a word.
///
/// # Errors
/// 400 when it is not JSON, 422 when it says something else.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            return Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}."));
        }
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("The {what} cannot be read: {error}."))
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A client that sends nothing and does not go away.
    struct Silence;

    impl hyper::body::Body for Silence {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    async fn status(body: Body, limit: usize) -> u16 {
        axum::response::IntoResponse::into_response(read(body, limit).await.unwrap_err()).status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        assert_eq!(status(Body::new(Silence), 10).await, 408);
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        assert_eq!(read(Body::from("0123456789"), 10).await.unwrap().len(), 10);
        assert_eq!(status(Body::from("0123456789x"), 10).await, 413);
        assert_eq!(status(Body::from("x".repeat(10_000)), 10).await, 413);
    }
}
