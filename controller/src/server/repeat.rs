//! `Idempotency-Key`: a write that is sent again is answered again, and not done again.

use super::body;
use super::gate::Gate;
use super::problem::{Problem, Said};
use crate::access::{self, KeptAnswer, digest};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// By which a client says that a write is the same.
pub(super) const KEY: &str = "idempotency-key";
/// By which an answer says that it was given before.
const REPLAYED: &str = "idempotency-replayed";
/// Longest key, in bytes.
const MAX_KEY: usize = 128;
/// Largest body of a write, in bytes: that of a route's own limit comes after.
const MAX_BODY: usize = 1 << 18;
/// Largest answer that is kept, in bytes.
const MAX_ANSWER: usize = 1 << 18;

/// Writes with a key that are under way, by whom.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<(String, String)>>>);

/// One of them, until it is dropped.
struct Turn(UnderWay, (String, String));

impl UnderWay {
    fn begin(&self, who: &str, key: &str) -> Option<Turn> {
        let of = (who.to_owned(), key.to_owned());
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of.clone());
        fresh.then(|| Turn(self.clone(), of))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Does what a request asks for, or answers as before if it was done. `shown_once`: its answer is nobody's to keep.
pub(super) async fn once(gate: &Gate, who: String, shown_once: bool, request: Request, next: Next) -> Response {
    match try_once(gate, who, shown_once, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn try_once(
    gate: &Gate,
    who: String,
    shown_once: bool,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let mut keys = request.headers().get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(next.run(request).await) };
    let (key, one) = (key.to_str().unwrap_or_default().to_owned(), keys.next().is_none());
    if !one || !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = format!(
            "The headers cannot be read: `Idempotency-Key` is there once, with 1 to {MAX_KEY} visible ASCII characters."
        );
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let Some(_turn) = gate.under_way.begin(&who, &key) else {
        let detail = "A request with this `Idempotency-Key` is under way: send it again later.";
        // By `Retry-After` whoever asks again for a lost answer knows this from a refusal.
        return Err(Problem::new(StatusCode::CONFLICT, detail).after(1));
    };
    let (head, request_body) = request.into_parts();
    let bytes = body::read(request_body, MAX_BODY).await?;
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let mut whole = format!("{}\n{target}\n", head.method).into_bytes();
    for name in [IF_MATCH, IF_NONE_MATCH] {
        whole.extend_from_slice(head.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default());
        whole.push(b'\n');
    }
    whole.extend_from_slice(&bytes);
    let (fingerprint, now) = (digest(&whole), gate.clock.now());
    let (by, named) = (who.clone(), key.clone());
    let kept = access::apart(&gate.access, move |access| access.answer(&by, &named, now)).await?;
    if let Some(kept) = kept {
        if kept.fingerprint != fingerprint {
            let detail =
                "This `Idempotency-Key` came with another request: a new request has a new key. Nothing has changed.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        return again(kept);
    }
    let response = next.run(Request::from_parts(head, Body::from(bytes))).await;
    // What passes, or was the controller's fault, may be tried again.
    if response.status().is_server_error() || response.status() == StatusCode::REQUEST_TIMEOUT {
        return Ok(response);
    }
    let (head, response_body) = response.into_parts();
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The answer broke off.");
    let body = to_bytes(response_body, usize::MAX).await.map_err(failed)?;
    let keeps = body.len() <= MAX_ANSWER && !(shown_once && head.status.is_success());
    let answer = KeptAnswer {
        fingerprint,
        status: head.status.as_u16(),
        kind: head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned(),
        body: keeps.then(|| body.to_vec()),
    };
    let stored = access::apart(&gate.access, move |access| access.keep_answer(&who, &key, now, &answer)).await;
    if let Err(error) = stored {
        // It was done, and its answer is better than none.
        tracing::error!(%error, "an answer is not kept: the same request would be done again");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// An answer that was given before.
fn again(kept: KeptAnswer) -> Result<Response, Problem> {
    let Some(body) = kept.body else {
        let detail = "This request was done before, and its answer is not kept, for it is shown once or is long: look what there is now.";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    response.extensions_mut().insert(Said("answered as before".to_owned()));
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&kept.kind) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_requests_with_one_key_the_second_waits_its_turn() {
        let under_way = UnderWay::default();
        let first = under_way.begin("ada", "1").unwrap();
        assert!(under_way.begin("ada", "1").is_none() && under_way.begin("eve", "1").is_some());
        drop(first);
        assert!(under_way.begin("ada", "1").is_some());
    }
}
