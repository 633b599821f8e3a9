//! `/healthz`, `/readyz`, `/metrics`: for whoever runs the controller.

use crate::keeper::Command;
use crate::server::App;
use crate::server::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};

/// The ledger is tried at most this often, however many ask.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Whether the process is up.
#[utoipa::path(
    get, operation_id = "alive",
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "It is.", body = str, content_type = "text/plain")),
    security(())
)]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the controller can serve.
///
/// 200: a plan is published (there is one from the start) and the ledger can be written.
#[utoipa::path(
    get, operation_id = "ready",
    path = "/readyz",
    tag = "operation",
    responses((status = 200, description = "It can.", body = str, content_type = "text/plain")),
    security(())
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    let mut probed = app.probed.lock().await;
    let writable = match *probed {
        Some((at, writable)) if at.elapsed() < PROBE_EVERY => writable,
        _ => {
            let writable = app.keeper.ask(Command::Probe).await.is_ok();
            *probed = Some((Instant::now(), writable));
            writable
        }
    };
    if writable && !*app.stop.borrow() {
        Ok("ready\n")
    } else {
        Err(Problem::passing("The ledger cannot be written, or the controller is shutting down."))
    }
}

/// The controller's own metrics, as OpenMetrics text.
#[utoipa::path(
    get, operation_id = "metrics",
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "Metrics.", body = str, content_type = "application/openmetrics-text")),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let text = app
        .metrics
        .text()
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written."))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
