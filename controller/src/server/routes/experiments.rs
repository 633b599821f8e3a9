//! `/v1/experiments`: applying documents, showing and deleting experiments.

use super::commands::check_reason;
use super::{actor, bad_query, named, unknown};
use crate::apply::Conflict;
use crate::keeper::{Applied, ApplyError, Change, Command, ExperimentView};
use crate::ledger::DecisionRow;
use crate::server::condition::{condition, is_absent, unmet};
use crate::server::gate::Note;
use crate::server::openapi::{BadQuery, Conditional, Conflict as Conflicting, Invalid, Missing, TooLarge, Unmet};
use crate::server::page::{self, PageQuery};
use crate::server::problem::{Detail, Problem};
use crate::server::{App, body};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::ETAG;
use axum::http::{HeaderName, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_engine::document;

/// Largest body of documents, in bytes.
const MAX_DOCUMENT: usize = 1 << 18;
/// Decisions in one answer, unless asked otherwise.
const DECISIONS: u32 = 50;
/// Experiments in one answer, unless asked otherwise.
const EXPERIMENTS: u32 = 100;

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
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Decisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionList {
    decisions: Vec<DecisionRow>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
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
    params(ApplyQuery, Conditional),
    request_body(
        content((String = "application/yaml"), (serde_json::Value = "application/json")),
        description = "One or more documents, YAML or JSON, at most 256 KiB."
    ),
    responses(
        (status = 200, description = "Nothing was created; what was changed, or would be.", body = AppliedList),
        (status = 201, description = "At least one experiment was created.", body = AppliedList),
        BadQuery, Conflicting, Unmet, TooLarge, Invalid
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
    let wanted = condition(request.headers())?;
    let absent = is_absent(wanted.as_ref());
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
    let (names, condition) = match (experiments.as_slice(), wanted) {
        ([one], Some(wanted)) => (one.name.clone(), Some((one.name.clone(), wanted))),
        (_, None) => (String::new(), None),
        _ => {
            let detail = "`If-Match` and `If-None-Match` are about one experiment: send one document.";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let apply = |reply| Command::Apply { document, experiments, dry_run, by, reply };
    let applied = app.keeper.ask_if(condition, apply).await?.map_err(|there| unmet(&names, absent, there))??;
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
    params(PageQuery),
    responses((status = 200, description = "Experiments.", body = ExperimentList), BadQuery),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<ExperimentList>, Problem> {
    let Query(PageQuery { limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit(limit, EXPERIMENTS)?;
    let after =
        page::place('e', cursor.as_deref())?.map(|place| page::read::<(i64, u64, String)>(&place)).transpose()?;
    let mut experiments = app.keeper.ask(Command::List).await?;
    if let Some((priority, created, id)) = &after {
        // Where it was, whether or not it still is.
        experiments.retain(|view| view.place() > (*priority, *created, id));
    }
    let next = page::cut(&mut experiments, limit, |last| page::write('e', &last.place()));
    Ok(Json(ExperimentList { experiments, next }))
}

/// One experiment.
#[utoipa::path(
    get, operation_id = "getExperiment",
    path = "/v1/experiments/{name}",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name.")),
    responses(
        (
            status = 200,
            description = "The experiment. Its `ETag` changes with the document, the phase, the weights, who is out and what \
                           waits for approval, not with what is counted.",
            body = ExperimentView,
            headers(("ETag" = String, description = "What `If-Match` takes."))
        ),
        Missing
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn get(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<([(HeaderName, String); 1], Json<ExperimentView>), Problem> {
    let name = named(name)?;
    let view = app.keeper.ask(|reply| Command::Get(name.clone(), reply)).await?.ok_or_else(|| unknown(&name))?;
    Ok(([(ETAG, view.tag().to_owned())], Json(*view)))
}

/// An experiment's latest decisions, newest first.
#[utoipa::path(
    get, operation_id = "listDecisions",
    path = "/v1/experiments/{name}/decisions",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), PageQuery),
    responses(
        (status = 200, description = "Decisions, each with the assessment it was made on.", body = DecisionList),
        BadQuery, Missing
    ),
    security(("token" = ["viewer", "operator"]))
)]
pub(crate) async fn decisions(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<DecisionList>, Problem> {
    let name = named(name)?;
    let Query(PageQuery { limit, cursor }) = query.map_err(|rejection| bad_query(&rejection))?;
    let limit = page::limit(limit, DECISIONS)?;
    let before = page::number('d', cursor.as_deref())?;
    let turn = app.reader.turn().await?;
    let id = app.keeper.ask(|reply| Command::Find(name.clone(), reply)).await?.ok_or_else(|| unknown(&name))?;
    let decisions = turn.read(move |ledger| ledger.decisions_before(&id, before, limit)).await?;
    let last = decisions.last().map(|row| row.number);
    let next =
        last.filter(|_| page::is_full(decisions.len(), limit)).map(|number| page::cursor('d', &number.to_string()));
    Ok(Json(DecisionList { decisions, next }))
}

/// Why somebody asks for a deletion, for the audit log.
pub(in crate::server) fn asked(uri: &Uri, _: &[u8]) -> Option<String> {
    Query::<DeleteQuery>::try_from_uri(uri).ok()?.0.reason.map(|reason| reason.trim().to_owned())
}

/// Delete an experiment; its id stays known.
#[utoipa::path(
    delete, operation_id = "deleteExperiment",
    path = "/v1/experiments/{name}",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), DeleteQuery, Conditional),
    responses((status = 200, description = "It is deleted.", body = Deleted), BadQuery, Missing, Unmet, Invalid),
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
    check_reason(&reason)?;
    Note::on(request.extensions()).say(reason.clone());
    let by = actor(&request);
    let wanted = condition(request.headers())?;
    let absent = is_absent(wanted.as_ref());
    let condition = wanted.map(|wanted| (name.clone(), wanted));
    let delete = |reply| Command::Delete { name: name.clone(), by, reason, reply };
    let deleted = app.keeper.ask_if(condition, delete).await?.map_err(|there| unmet(&name, absent, there))?;
    deleted.map(|id| Json(Deleted { name: name.clone(), id })).ok_or_else(|| unknown(&name))
}
