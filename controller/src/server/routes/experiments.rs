//! `/v1/experiments`: applying documents, showing and deleting experiments.

use super::commands::check_length;
use super::{actor, bad_query, named, unknown};
use crate::apply::Conflict;
use crate::keeper::{Applied, ApplyError, Change, Command, ExperimentView};
use crate::ledger::DecisionRow;
use crate::server::gate::Note;
use crate::server::openapi::{BadQuery, Conflict as Conflicting, Invalid, Missing, TooLarge};
use crate::server::problem::{Detail, Problem};
use crate::server::{App, body};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_engine::document;

/// Largest body of documents, in bytes.
const MAX_DOCUMENT: usize = 1 << 18;
/// Decisions in one answer, unless asked otherwise.
const DECISIONS: u32 = 50;
/// Most decisions in one answer.
const MAX_DECISIONS: u32 = 1_000;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApplyQuery {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionsQuery {
    /// Most decisions in the answer.
    limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Why; kept in the journal.
    reason: Option<String>,
}

/// What became of the documents, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppliedList {
    experiments: Vec<Applied>,
}

/// Experiments, by priority and then oldest first: the order in which they match a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExperimentList {
    experiments: Vec<ExperimentView>,
}

/// Decisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionList {
    decisions: Vec<DecisionRow>,
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    name: String,
    id: String,
}

/// Create or change experiments: all documents of the body, or none.
#[utoipa::path(
    post, operation_id = "applyExperiments",
    path = "/v1/experiments",
    tag = "experiments",
    params(ApplyQuery),
    request_body(content((String = "application/yaml"), (serde_json::Value = "application/json")), description = "One or more documents, YAML or JSON, at most 256 KiB."),
    responses(
        (status = 200, description = "Nothing was created; what was changed, or would be.", body = AppliedList),
        (status = 201, description = "At least one experiment was created.", body = AppliedList),
        BadQuery, Conflicting, TooLarge, Invalid
    ),
    security(("token" = ["operator"]))
)]
pub(crate) async fn apply(
    State(app): State<App>,
    query: Result<Query<ApplyQuery>, QueryRejection>,
    request: Request,
) -> Result<(StatusCode, Json<AppliedList>), Problem> {
    let Query(ApplyQuery { dry_run }) = query.map_err(|rejection| bad_query(&rejection))?;
    let (note, by) = (Note::on(request.extensions()), actor(&request));
    let bytes = body::read(request.into_body(), MAX_DOCUMENT).await?;
    let document = std::str::from_utf8(&bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body is not UTF-8 text."))?
        .to_owned();
    let experiments = document::read(&document).map_err(|problems| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The document is not valid.").with(problems.into_iter().map(
            |problem| Detail {
                line: Some(problem.line),
                column: Some(problem.column),
                path: problem.path,
                message: problem.message,
            },
        ))
    })?;
    let applied = app.keeper.ask(|reply| Command::Apply { document, experiments, dry_run, by, reply }).await??;
    let told = applied.iter().map(|applied| format!("{} {}", applied.name, applied.result.name()));
    note.say(told.collect::<Vec<_>>().join(", "));
    let created = !dry_run && applied.iter().any(|applied| applied.result == Change::Created);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(AppliedList { experiments: applied })))
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        let detail = error.to_string();
        match error {
            ApplyError::Conflict { name, conflict } => {
                let path = match conflict {
                    Conflict::ChangesEvidence { field } => field,
                    Conflict::Refused(_) => "spec.strategy",
                    Conflict::Concluded => "metadata.name",
                };
                let message = format!("{name}: {conflict}");
                Self::new(StatusCode::CONFLICT, format!("{detail}.")).at(path, message)
            }
            ApplyError::Overlap(_) | ApplyError::StillRoutes(_) => {
                Self::new(StatusCode::CONFLICT, format!("{detail}.")).at("spec.match", detail)
            }
            ApplyError::Twice(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{detail}.")),
            ApplyError::Plan(invalid) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{detail}.")).at(invalid.path, invalid.problem)
            }
            ApplyError::Random => Self::passing(format!("{detail}.")),
        }
    }
}

/// Every experiment, without documents.
#[utoipa::path(
    get, operation_id = "listExperiments",
    path = "/v1/experiments",
    tag = "experiments",
    responses((status = 200, description = "Experiments.", body = ExperimentList), BadQuery),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<ExperimentList>, Problem> {
    Ok(Json(ExperimentList { experiments: app.keeper.ask(Command::List).await? }))
}

/// One experiment.
#[utoipa::path(
    get, operation_id = "getExperiment",
    path = "/v1/experiments/{name}",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name.")),
    responses((status = 200, description = "The experiment.", body = ExperimentView), Missing),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ExperimentView>, Problem> {
    let name = named(name)?;
    let view = app.keeper.ask(|reply| Command::Get(name.clone(), reply)).await?;
    view.map(|view| Json(*view)).ok_or_else(|| unknown(&name))
}

/// An experiment's latest decisions, newest first.
#[utoipa::path(
    get, operation_id = "listDecisions",
    path = "/v1/experiments/{name}/decisions",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), DecisionsQuery),
    responses((status = 200, description = "Decisions, each with the assessment it was made on.", body = DecisionList), BadQuery, Missing),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn decisions(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<DecisionsQuery>, QueryRejection>,
) -> Result<Json<DecisionList>, Problem> {
    let name = named(name)?;
    let Query(DecisionsQuery { limit }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = limit.unwrap_or(DECISIONS).min(MAX_DECISIONS);
    let turn = app.reader.turn().await?;
    let id = app.keeper.ask(|reply| Command::Find(name.clone(), reply)).await?.ok_or_else(|| unknown(&name))?;
    Ok(Json(DecisionList { decisions: turn.read(move |ledger| ledger.decisions(&id, limit)).await? }))
}

/// Delete an experiment; its id stays known.
#[utoipa::path(
    delete, operation_id = "deleteExperiment",
    path = "/v1/experiments/{name}",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), DeleteQuery),
    responses((status = 200, description = "It is deleted.", body = Deleted), BadQuery, Missing, Invalid),
    security(("token" = ["operator"]))
)]
pub(crate) async fn delete(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<DeleteQuery>, QueryRejection>,
    request: Request,
) -> Result<Json<Deleted>, Problem> {
    let name = named(name)?;
    let Query(DeleteQuery { reason }) = query.map_err(|rejection| bad_query(&rejection))?;
    let given = reason.is_some();
    let reason = reason.unwrap_or_default().trim().to_owned();
    if given && reason.is_empty() {
        let problem = "say why, or leave it out";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The reason is empty.").at("reason", problem));
    }
    check_length(&reason)?;
    let by = actor(&request);
    let deleted = app.keeper.ask(|reply| Command::Delete { name: name.clone(), by, reason, reply }).await?;
    deleted.map(|id| Json(Deleted { name: name.clone(), id })).ok_or_else(|| unknown(&name))
}
