//! `/v1/services`: what experiments are about, and how each has evolved.

use super::bad_query;
use crate::ledger::{Ledger, LedgerError, ServiceRow};
use crate::server::App;
use crate::server::openapi::{BadQuery, Missing};
use crate::server::page::{self, PageQuery};
use crate::server::problem::Problem;
use crate::trend::{Trend, begun_before, csv, trend};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Concluded experiments in one answer, at most and unless asked otherwise: each is read whole.
const MOST_PAST: u32 = 200;
/// Services in one answer, unless asked otherwise: each is short.
const SERVICES: u32 = page::MOST;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendQuery {
    /// As JSON, or a row per version and metric.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Most in the answer.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
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
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The latest of a service's past, or what was before that.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrendPage {
    #[serde(flatten)]
    trend: Trend,
    /// The cursor of the page of what was before; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
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
    params(PageQuery),
    responses((status = 200, description = "Services, by name.", body = ServiceList), BadQuery),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<ServiceList>, Problem> {
    let Query(PageQuery { limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit(limit, SERVICES)?;
    let after = page::place('s', cursor.as_deref())?;
    // One more says whether there is another page.
    let read = app.reader.turn().await?.read(move |ledger| ledger.services(after.as_deref(), limit + 1));
    let mut services = read.await?;
    let next = page::cut(&mut services, limit, |last| page::cursor('s', &last.service));
    let service =
        |ServiceRow { service, experiments, concluded }: ServiceRow| Service { service, experiments, concluded };
    Ok(Json(ServiceList { services: services.into_iter().map(service).collect(), next }))
}

/// A page of a service's trend, and whether there is another before it.
fn page_of(
    ledger: &Ledger,
    service: &str,
    before: Option<&(u64, String)>,
    limit: u32,
) -> Result<(Trend, bool), LedgerError> {
    // One more says whether there is another page.
    let mut page = ledger.past(service, before, limit + 1)?;
    let more = page::is_full(page.len(), limit + 1);
    if !more {
        return Ok((trend(service, &page), more));
    }
    page.remove(0);
    // What served when one of these began may have been left by one of long before: others ran beside it.
    let mut all = Vec::new();
    for at in begun_before(&page) {
        all.extend(ledger.past(service, Some(&(at.saturating_add(1), String::new())), 1)?);
    }
    let first = page.first().map(|row| row.id.clone());
    all.append(&mut page);
    let mut trend = trend(service, &all);
    let earlier = trend.experiments.iter().take_while(|past| Some(&past.id) != first.as_ref()).count();
    trend.experiments.drain(..earlier);
    Ok((trend, more))
}

/// A service's concluded experiments in the order in which they ended, the latest 200, as JSON or as a table; none for a service that nobody knows.
#[utoipa::path(
    get, operation_id = "getTrend",
    path = "/v1/services/{service}/trend",
    tag = "services",
    params(("service" = String, Path, description = "The service, as documents name it."), TrendQuery),
    responses(
        (status = 200, description = "What was.", content((TrendPage = "application/json"), (String = "text/csv"))),
        BadQuery, Missing
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get_trend(
    State(app): State<App>,
    service: Result<Path<String>, PathRejection>,
    query: Result<Query<TrendQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(service) = service.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "That is not a service's name."))?;
    let Query(TrendQuery { format, limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit_to(limit, MOST_PAST, MOST_PAST)?;
    let before = page::place('p', cursor.as_deref())?.map(|place| page::read::<(u64, String)>(&place)).transpose()?;
    let turn = app.reader.turn().await?;
    let (trend, more) = turn.read(move |ledger| page_of(ledger, &service, before.as_ref(), limit)).await?;
    let first = trend.experiments.first().filter(|_| more);
    let next = first.map(|first| page::write('p', &(first.concluded_at, &first.id)));
    Ok(match format {
        Format::Json => Json(TrendPage { trend, next }).into_response(),
        Format::Csv => {
            let headers = [
                (CONTENT_TYPE, "text/csv; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"trend.csv\""),
            ];
            (headers, csv(&trend)).into_response()
        }
    })
}
