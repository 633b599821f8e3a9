//! `/v1/experiments/{name}/commands`: what people ask of an experiment. Translates, decides nothing.

use super::{actor, named};
use crate::keeper::{Command, OrderError, Wanted, WantedCommand};
use crate::ledger::Told;
use crate::server::condition::{condition, is_absent, unmet};
use crate::server::gate::Note;
use crate::server::openapi::{BadQuery, Conditional, Conflict, Invalid, Missing, TooLarge, Unmet};
use crate::server::problem::Problem;
use crate::server::{App, body};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_engine::command::Refusal;

/// Largest body of a command, in bytes.
const MAX_COMMAND: usize = 1 << 14;
/// Longest reason, in characters.
const MAX_REASON: usize = 1_000;

/// What stands beside the command itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside {
    reason: Option<String>,
}

/// A command, and why.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "what the two together look like: a description")]
pub(crate) struct WantedOrder {
    #[serde(flatten)]
    command: WantedCommand,
    /// Why, in 1 to 1,000 characters.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Do what a person asks of an experiment, at once.
///
/// 200 with the decision that it led to; 409 when it is refused, 422 when it cannot be meant.
#[utoipa::path(
    post, operation_id = "commandExperiment",
    path = "/v1/experiments/{name}/commands",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name."), Conditional),
    request_body(content = WantedOrder, content_type = "application/json"),
    responses(
        (status = 200, description = "The decision that it led to.", body = Told),
        BadQuery, Missing, Conflict, Unmet, TooLarge, Invalid
    ),
    security(("token" = ["operator"]))
)]
pub(crate) async fn post(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Told>, Problem> {
    let name = named(name)?;
    let wanted_of = condition(request.headers())?;
    let absent = is_absent(wanted_of.as_ref());
    let condition = wanted_of.map(|wanted| (name.clone(), wanted));
    let (note, by) = (Note::on(request.extensions()), actor(&request));
    let bytes = body::read(request.into_body(), MAX_COMMAND).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}.")))?;
    let (command, beside) = read(value)?;
    let reason = beside.reason.as_deref().unwrap_or_default().trim().to_owned();
    if reason.is_empty() {
        let problem = format!("say why, in 1 to {MAX_REASON} characters: it is kept, for whoever asks later");
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The command has no reason: say why, for it is kept.",
        )
        .at("reason", problem));
    }
    check_reason(&reason)?;
    note.say(format!("{}: {reason}", command.name()));
    let wanted = Wanted { name: name.clone(), command, by, reason };
    let done = app.keeper.ask_if(condition, |reply| Command::Order(Box::new(wanted), reply)).await?;
    Ok(Json(done.map_err(|there| unmet(&name, absent, there))??))
}

/// What a request asks for, for the audit log.
pub(in crate::server) fn asked(_: &Uri, body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let command = value.get("command")?.as_str()?;
    let reason = value.get("reason").and_then(Value::as_str).unwrap_or_default().trim();
    Some(if reason.is_empty() { command.to_owned() } else { format!("{command}: {reason}") })
}

/// Refuses a reason that is too long, or would write to a terminal what looks like more than a reason.
pub(super) fn check_reason(reason: &str) -> Result<(), Problem> {
    if reason.chars().any(char::is_control) {
        let detail = "The reason has control characters: say it in one line of text.".to_owned();
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone()).at("reason", detail));
    }
    let length = reason.chars().count();
    if length <= MAX_REASON {
        return Ok(());
    }
    let detail = format!("The reason has {length} characters: at most {MAX_REASON} are kept. Say it shorter.");
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone()).at("reason", detail))
}

/// The command, and what stands beside it in the same object.
fn read(mut value: Value) -> Result<(WantedCommand, Beside), Problem> {
    let unreadable = |error: serde_json::Error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("The command cannot be read: {error}."))
    };
    let beside = Beside::deserialize(&value).map_err(unreadable)?;
    if let Some(object) = value.as_object_mut() {
        object.remove("reason");
    }
    Ok((serde_json::from_value(value).map_err(unreadable)?, beside))
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let detail = format!("{}.", capitalized(&error.to_string()));
        match error {
            OrderError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, detail),
            OrderError::Version { .. } | OrderError::Refused(Refusal::NoVersion { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone()).at("version", detail)
            }
            OrderError::Refused(Refusal::Weights { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone()).at("weights", detail)
            }
            OrderError::Refused(_) | OrderError::OtherAwaited { .. } => Self::new(StatusCode::CONFLICT, detail),
            OrderError::Engine => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        }
    }
}

/// A sentence of its own: names begin as they are written.
fn capitalized(text: &str) -> String {
    text.strip_prefix("there is").map_or_else(|| text.to_owned(), |rest| format!("There is{rest}"))
}
