//! `/v1/experiments/{name}/distributions`: the curves behind the numbers, for pictures.

use super::{named, unknown};
use crate::keeper::Command;
use crate::server::App;
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use weir_engine::distributions::{Distributions, distributions};

/// Every version's curves.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DistributionList {
    name: String,
    /// Unix milliseconds.
    at: u64,
    /// In the experiment's order.
    versions: Vec<Distributions>,
}

/// 200 with the curves of what has settled; computes for milliseconds, so a turn of the long reads is taken.
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
