//! `/v1/services`: what experiments are about, and how each has evolved.

use super::bad_query;
use crate::server::App;
use crate::server::openapi::BadQuery;
use crate::server::problem::Problem;
use crate::trend::{Trend, csv, trend};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Most concluded experiments in one answer: the latest.
const MOST_PAST: usize = 200;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendQuery {
    /// As JSON, or a row per version and metric.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceList {
    services: Vec<Service>,
}

/// What there was of a service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Service {
    service: String,
    /// Experiments, the deleted too while the ledger has them.
    experiments: u64,
    /// Of these, concluded.
    concluded: u64,
}

/// Every service that experiments were about.
#[utoipa::path(
    get, operation_id = "listServices",
    path = "/v1/services",
    tag = "services",
    responses((status = 200, description = "Services, by name.", body = ServiceList)),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<ServiceList>, Problem> {
    let services = app.reader.turn().await?.read(crate::ledger::Ledger::services).await?;
    let service = |(service, experiments, concluded)| Service { service, experiments, concluded };
    Ok(Json(ServiceList { services: services.into_iter().map(service).collect() }))
}

/// A service's concluded experiments, the latest 200, as JSON or as a table; none for a service that nobody knows.
#[utoipa::path(
    get, operation_id = "getTrend",
    path = "/v1/services/{service}/trend",
    tag = "services",
    params(("service" = String, Path, description = "The service, as documents name it."), TrendQuery),
    responses(
        (status = 200, description = "What was.", content((Trend = "application/json"), (String = "text/csv"))),
        BadQuery
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get_trend(
    State(app): State<App>,
    service: Result<Path<String>, PathRejection>,
    query: Result<Query<TrendQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(service) = service.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "That is not a service's name."))?;
    let Query(TrendQuery { format }) = query.map_err(|rejection| bad_query(&rejection))?;
    let turn = app.reader.turn().await?;
    let told = turn.read(move |ledger| Ok(trend(&service, &ledger.past(&service, MOST_PAST)?))).await?;
    Ok(match format {
        Format::Json => Json(told).into_response(),
        Format::Csv => {
            let headers = [
                (CONTENT_TYPE, "text/csv; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"trend.csv\""),
            ];
            (headers, csv(&told)).into_response()
        }
    })
}
