//! `GET /v1/plan`: the plan, as soon as it is another than the caller's.

use super::bad_query;
use crate::server::App;
use crate::server::auth::{Caller, Role};
use crate::server::openapi::{BadQuery, wire};
use crate::server::problem::Problem;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;
use weir_core::duration::parse_milliseconds;

/// Longest wait: a third of the time after which a filter takes its plan for stale, by default.
const MAX_WAIT: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlanQuery {
    /// The caller's plan; none: whatever there is.
    revision: Option<String>,
    /// As in `20s`; none: answer at once.
    wait: Option<String>,
}

/// The plan, as soon as it is another than the caller's.
///
/// 200 with a plan other than `revision`, or 304 when there is none within `wait`.
#[utoipa::path(
    get, operation_id = "getPlan",
    path = "/v1/plan",
    tag = "filters",
    params(PlanQuery),
    responses(
        (status = 200, description = "The plan; its secrets only for proxies.", body = wire::Plan),
        (status = 304, description = "None other than `revision` within `wait`."),
        BadQuery
    ),
    security(("token" = ["proxy", "viewer", "operator"]))
)]
pub(crate) async fn get(
    State(mut app): State<App>,
    query: Result<Query<PlanQuery>, QueryRejection>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| bad_query(&rejection))?;
    let wait = match &query.wait {
        None => Duration::ZERO,
        Some(text) => Duration::from_millis(parse_milliseconds(text).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "The query cannot be read.").at("wait", error.to_string())
        })?),
    };
    // What makes tokens is for those who make them.
    let proxy = caller.role.is_none_or(|role| role == Role::Proxy);
    let plan = tokio::select! {
        biased;
        plan = app.plan.other_than(query.revision.as_deref(), wait.min(MAX_WAIT)) => plan,
        _ = app.stop.wait_for(|stop| *stop) => None,
    };
    // Time has passed: whose token has been revoked meanwhile learns nothing new.
    if plan.is_some() && !app.auth.is_open() && app.auth.caller(&headers).is_err() {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "This token is not known any more."));
    }
    Ok(match plan {
        Some(plan) => {
            ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], plan.json_for(proxy).to_vec())
                .into_response()
        }
        None => StatusCode::NOT_MODIFIED.into_response(),
    })
}
