//! `POST /v1/reports`: counts of one worker, acknowledged once they are durable.

use crate::ingest::Reason;
use crate::keeper::Command;
use crate::server::openapi::{BadQuery, Invalid, TooLarge, wire};
use crate::server::problem::Problem;
use crate::server::{App, body};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::time::Instant;
use weir_core::report::{Acknowledgement, MAX_REPORT_BYTES, Report};

/// Count a report of one worker.
///
/// 200 with an acknowledgement. 400, 413 and 422 say that the report will never be accepted.
#[utoipa::path(
    post, operation_id = "sendReport",
    path = "/v1/reports",
    tag = "filters",
    request_body(content = wire::Report, content_type = "application/json", description = "At most 1 MiB."),
    responses((status = 200, description = "It is on disk.", body = wire::Acknowledgement), BadQuery, TooLarge, Invalid),
    security(("token" = ["proxy"]))
)]
pub(crate) async fn post(
    State(app): State<App>,
    request: axum::extract::Request,
) -> Result<Json<Acknowledgement>, Problem> {
    let began = Instant::now();
    let Ok(_permit) = app.reports.acquire().await else {
        return Err(Problem::passing("The controller is shutting down."));
    };
    let bytes =
        body::read(request.into_body(), MAX_REPORT_BYTES).await.inspect_err(|_| app.metrics.report_unusable("body"))?;
    let report = Report::from_json(&bytes).map_err(|invalid| {
        app.metrics.report_unusable("invalid");
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            return Problem::new(StatusCode::BAD_REQUEST, format!("The report is not JSON: {error}."));
        }
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("The report is not valid: {invalid}."))
            .at(invalid.path, invalid.problem)
    })?;
    let answer = app.keeper.ask(|reply| Command::Report(Box::new(report), reply)).await?;
    app.metrics.ingest_seconds.observe(began.elapsed().as_secs_f64());
    answer.map(Json).map_err(|refused| {
        let detail = format!("The report is refused: {refused}.");
        match refused.reason {
            Reason::Full => Problem::passing(detail),
            _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
        }
        .at(refused.path, refused.problem)
    })
}
