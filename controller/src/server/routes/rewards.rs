//! `POST /v1/experiments/{name}/rewards`: rewards, each with the token of the exposure that earned it.

use super::named;
use crate::keeper::{Command, RewardError, Rewarded};
use crate::server::openapi::{BadQuery, Conflict, Invalid, Missing, TooLarge};
use crate::server::problem::Problem;
use crate::server::{App, body};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use weir_core::reward::{LARGEST_REWARD, MAX_TOKEN};

/// Most rewards in one list.
const MAX_REWARDS: usize = 1_000;
/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 18;

/// One reward.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ReportedReward)]
struct Reward {
    /// The token of the exposure that earned it.
    #[schema(max_length = 128)]
    assignment: String,
    /// How much; not 0, and at most 1e15 in size.
    #[serde(default = "one")]
    reward: f64,
}

const fn one() -> f64 {
    1.0
}

/// Report rewards, each with the token of the exposure that earned it.
///
/// 200 with what became of them, once that is durable; 503: send the same list again later.
#[utoipa::path(
    post, operation_id = "reportRewards",
    path = "/v1/experiments/{name}/rewards",
    tag = "experiments",
    params(("name" = String, Path, description = "The experiment's name.")),
    request_body(content = Vec<Reward>, content_type = "application/json", description = "At most 1,000, in at most 256 KiB."),
    responses(
        (status = 200, description = "What became of them.", body = Rewarded),
        BadQuery, Missing, Conflict, TooLarge, Invalid
    ),
    security(("token" = ["service", "operator"]))
)]
pub(crate) async fn post(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Rewarded>, Problem> {
    let name = named(name)?;
    let bytes = body::read(request.into_body(), MAX_BODY).await?;
    let rewards = read(&bytes)?;
    Ok(Json(app.keeper.ask(|reply| Command::Rewards(name, rewards, reply)).await??))
}

fn read(bytes: &[u8]) -> Result<Vec<(String, f64)>, Problem> {
    let invalid = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let rewards: Vec<Reward> = serde_json::from_slice(bytes).map_err(|error| {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            return Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}."));
        }
        invalid(format!("The rewards cannot be read: {error}."))
    })?;
    if rewards.len() > MAX_REWARDS {
        return Err(invalid(format!("{} rewards; at most {MAX_REWARDS} in one list.", rewards.len())));
    }
    for (at, Reward { assignment, reward }) in rewards.iter().enumerate() {
        if *reward == 0.0 || reward.abs() > LARGEST_REWARD {
            let problem = "must be within 1e15 and not 0, which is no reward".to_owned();
            return Err(
                invalid("A reward is not valid; none is counted.".to_owned()).at(format!("[{at}].reward"), problem)
            );
        }
        if assignment.len() > MAX_TOKEN {
            let problem = format!("is longer than {MAX_TOKEN} bytes");
            return Err(
                invalid("A token is not valid; none is counted.".to_owned()).at(format!("[{at}].assignment"), problem)
            );
        }
    }
    Ok(rewards.into_iter().map(|Reward { assignment, reward }| (assignment, reward)).collect())
}

impl From<RewardError> for Problem {
    fn from(error: RewardError) -> Self {
        match error {
            RewardError::Unknown(name) => super::unknown(&name),
            RewardError::NotByApi(_) => Self::new(StatusCode::CONFLICT, format!("{error}.")),
            RewardError::Full(_) => Self::passing(format!("{error}.")),
        }
    }
}
