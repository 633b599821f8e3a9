//! `/v1/experiments/{name}/journal` and `/explanation`: what happened, to be computed again, and to be read.

use super::{bad_query, named, unknown};
use crate::explain::{Explanation, explain};
use crate::keeper::Command;
use crate::ledger::JournalRow;
use crate::server::App;
use crate::server::openapi::{BadQuery, Missing};
use crate::server::page;
use crate::server::problem::Problem;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Entries in one answer, unless asked otherwise.
const ENTRIES: u32 = 200;
/// Most bytes in one answer, unless the first is larger.
const MAX_ENTRY_BYTES: usize = 4 << 20;
/// Most entries that a story is told from.
const STORY_ENTRIES: u32 = 500;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JournalQuery {
    /// The number of the last entry that the caller has.
    #[serde(default)]
    after: u64,
    /// Most entries in the answer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A page of a journal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalPage {
    entries: Vec<JournalRow>,
    /// What to ask for next: entries after this. The same as was asked for when there are none yet.
    next: u64,
}

/// The journal's entries after a number, in order.
#[utoipa::path(
    get, operation_id = "listJournal",
    path = "/v1/experiments/{name}/journal",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), JournalQuery),
    responses((status = 200, description = "Entries.", body = JournalPage), BadQuery, Missing),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn journal(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<JournalQuery>, QueryRejection>,
) -> Result<Json<JournalPage>, Problem> {
    let name = named(name)?;
    let Query(JournalQuery { after, limit }) = query.map_err(|rejection| bad_query(&rejection))?;
    // Beyond that the ledger has no numbers.
    let beyond = after.min(u64::from(u32::MAX));
    let limit = page::limit(limit, ENTRIES)?;
    let turn = app.reader.turn().await?;
    let id = app.keeper.ask(|reply| Command::Find(name.clone(), reply)).await?.ok_or_else(|| unknown(&name))?;
    let entries = turn.read(move |ledger| ledger.journal(&id, beyond, limit, MAX_ENTRY_BYTES)).await?;
    let next = entries.last().map_or(after, |row| row.number);
    Ok(Json(JournalPage { entries, next }))
}

/// The story of an experiment, in words.
#[utoipa::path(
    get, operation_id = "explainExperiment",
    path = "/v1/experiments/{name}/explanation",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name.")),
    responses((status = 200, description = "The story.", body = Explanation), Missing),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn explanation(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Explanation>, Problem> {
    let name = named(name)?;
    let turn = app.reader.turn().await?;
    let basis = app.keeper.ask(|reply| Command::Explain(name.clone(), reply)).await?;
    let basis = basis.ok_or_else(|| unknown(&name))?;
    let told = turn.read(move |ledger| Ok(explain(&basis, &ledger.story(&basis.id, STORY_ENTRIES)?))).await?;
    Ok(Json(told))
}
