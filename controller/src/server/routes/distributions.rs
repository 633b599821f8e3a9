//! `/v1/experiments/{name}/distributions`: the curves behind the numbers, for pictures.

use super::{named, unknown};
use crate::keeper::Command;
use crate::server::App;
use crate::server::openapi::{Missing, wire};
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use weir_engine::distributions::{Distributions, distributions};

/// Every version's curves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DistributionList {
    name: String,
    /// Unix milliseconds.
    at: u64,
    /// In the experiment's order.
    #[schema(value_type = Vec<wire::Distributions>)]
    versions: Vec<Distributions>,
}

/// The curves behind the numbers: each belief's density, and the latencies counted, of what has settled.
// Computes for milliseconds, so a turn of the long reads is taken.
#[utoipa::path(
    get, operation_id = "getDistributions",
    path = "/v1/experiments/{name}/distributions",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name.")),
    responses((status = 200, description = "Every version's curves.", body = DistributionList), Missing),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<DistributionList>, Problem> {
    let name = named(name)?;
    let turn = app.reader.turn().await?;
    let basis = app.keeper.ask(|reply| Command::Explain(name.clone(), reply)).await?;
    let basis = basis.ok_or_else(|| unknown(&name))?;
    let versions = turn
        .read(move |_| Ok((basis.now, distributions(&basis.experiment, &basis.state, &basis.observations))))
        .await?;
    Ok(Json(DistributionList { name, at: versions.0, versions: versions.1 }))
}
