//! `/v1/events` and `/v1/experiments/{name}/events`: what happens, as server-sent events.

use super::{counted_as, named, unknown};
use crate::events::{Full, MAX_OF_ONE, Subscription};
use crate::keeper::Command;
use crate::server::App;
use crate::server::connections::Hangup;
use crate::server::openapi::{BadQuery, Missing};
use crate::server::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A sign of life when nothing happens: proxies close what is silent, and whoever has gone away is found out.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// What happens to every experiment, as server-sent events.
#[utoipa::path(
    get, operation_id = "listenToAll",
    path = "/v1/events",
    tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard.")),
    responses(
        (
            status = 200,
            description = "Events `ready`, `experiment`, `decision`, `assessment`; each with JSON.",
            body = String, content_type = "text/event-stream"
        ),
        BadQuery
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn all(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    listen(app, None, &request)
}

/// What happens to one experiment, as server-sent events; ends when it is deleted.
#[utoipa::path(
    get, operation_id = "listenToExperiment",
    path = "/v1/experiments/{name}/events",
    tag = "events",
    params(
        ("name" = String, Path, description = "The experiment's name."),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard.")
    ),
    responses(
        (
            status = 200,
            description = "Events `ready`, `experiment`, `decision`, `assessment`; each with JSON.",
            body = String, content_type = "text/event-stream"
        ),
        BadQuery, Missing
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn one(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let name = named(name)?;
    // Listens first: what happens in between is not missed.
    let response = listen(app.clone(), Some(name.clone()), &request)?;
    app.keeper.ask(|reply| Command::Find(name.clone(), reply)).await?.ok_or_else(|| unknown(&name))?;
    Ok(response)
}

/// Somebody who listens.
struct Listening {
    app: App,
    headers: HeaderMap,
    of_one: bool,
    subscription: Subscription,
    /// What is sent first, after which `ready` says that from here on nothing is missed.
    first: Option<String>,
    ready: Option<String>,
    over: bool,
}

fn listen(app: App, experiment: Option<String>, request: &Request) -> Result<Response, Problem> {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let hangup = request.extensions().get::<Hangup>().map(|hangup| Arc::clone(&hangup.0)).unwrap_or_default();
    let of_one = experiment.is_some();
    let subscription = app.events.subscribe(&counted_as(request), experiment, last, hangup).map_err(|full| match full {
        Full::All => {
            Problem::passing("As many listen as there is room for: try again later, or ask for what you need.").after(10)
        }
        Full::Own => {
            let detail = format!(
                "{MAX_OF_ONE} listen with this token, or from this address where there are none, and no more may: close some, or give each \
                 program a token of its own."
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(10)
        }
    })?;
    let ready = json!({ "missed": !subscription.complete });
    let ready = format!("id: {}\nevent: ready\ndata: {ready}\n\n", app.events.id(subscription.last));
    let headers = request.headers().clone();
    let first = Some(format!("retry: {RETRY_MS}\n\n"));
    let listening = Listening { app, headers, of_one, subscription, first, ready: Some(ready), over: false };
    let body = Body::from_stream(unfold(listening, next));
    // Not to be gathered by a proxy on the way.
    Ok(([(CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")], body).into_response())
}

/// What is sent next, and who listens on; nothing when it is over.
async fn next(mut listening: Listening) -> Option<(Result<Bytes, Infallible>, Listening)> {
    if let Some(first) = listening.first.take() {
        return Some((Ok(first.into()), listening));
    }
    // One by one, as it is read: what is remembered is not copied for each.
    if let Some(missed) = listening.subscription.missed.pop_front() {
        return Some((Ok(missed.text.clone()), listening));
    }
    if let Some(ready) = listening.ready.take() {
        return Some((Ok(ready.into()), listening));
    }
    if listening.over {
        return None;
    }
    let Listening { app, headers, subscription, .. } = &mut listening;
    let mut stop = app.stop.clone();
    let heard = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return None,
        heard = timeout(SIGN_OF_LIFE, subscription.events.recv()) => heard,
    };
    // A token may have been revoked, or have expired, or be the first that there is.
    if !app.auth.is_open() && app.auth.caller(headers).is_err() {
        return None;
    }
    let text = match heard {
        // Cut off, for not keeping up.
        Ok(None) => return None,
        Ok(Some(event)) => {
            listening.over = listening.of_one && event.is_last;
            event.text.clone()
        }
        Err(_) => Bytes::from_static(b":\n\n"),
    };
    Some((Ok(text), listening))
}
