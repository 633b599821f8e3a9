//! `/v1/rehearsals`: an experiment in virtual time, before a request is at stake. Runs `weir-simulator` within bounds of time and memory, beside
//! the keeper; writes nothing.

use super::bad_query;
use crate::server::openapi::{BadQuery, Invalid, TooLarge};
use crate::server::problem::{Detail, Problem};
use crate::server::{App, body};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use weir_simulator::many::{Many, summary};
use weir_simulator::policy::{Name, Weir};
use weir_simulator::random::seed_of;
use weir_simulator::run::Ending;
use weir_simulator::{Run, Scenario, Watching, scenario, simulate_while};

/// Largest body, in bytes.
const MAX_SCENARIO: usize = 1 << 18;
/// Most further runs, however few are asked for by default.
const MAX_RUNS: u64 = 200;
/// How long a rehearsal computes. What is not done by then is said to be broken off.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for one's turn.
const QUEUE: Duration = Duration::from_secs(15);
/// Most users of a scenario, some tens of bytes each.
const MOST_USERS: u32 = 1_000_000;
/// One at a time: a rehearsal keeps one core busy, and leaves the others to the requests that are at stake.
static ROOM: Semaphore = Semaphore::const_new(1);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RehearsalQuery {
    /// How many runs to count outcomes of, beside the one that is told.
    #[serde(default)]
    runs: u64,
}

/// What came out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rehearsal {
    /// One run, with its decisions and points to draw, as `weir simulate --output json` has it.
    #[schema(value_type = Object)]
    run: Run,
    /// Whether time was over before that run was.
    broken_off: bool,
    /// Of further runs with other seeds, how often what happened: of as many as there was time for. Null where none was asked for or done.
    #[schema(value_type = Option<Object>)]
    many: Option<Many>,
}

/// Rehearses an experiment in virtual time: a scenario, as `weir simulate` takes it. Changes nothing.
#[utoipa::path(
    post, operation_id = "rehearse",
    path = "/v1/rehearsals",
    tag = "experiments",
    params(RehearsalQuery),
    request_body(content = String, content_type = "application/yaml", description = "A scenario, at most 256 KiB."),
    responses((status = 200, description = "What came out.", body = Rehearsal), BadQuery, TooLarge, Invalid),
    security(("token" = ["operator"]))
)]
pub(crate) async fn post(
    State(_): State<App>,
    query: Result<Query<RehearsalQuery>, QueryRejection>,
    request: Request,
) -> Result<Json<Rehearsal>, Problem> {
    let Query(RehearsalQuery { runs }) = query.map_err(|rejection| bad_query(&rejection))?;
    let bytes = body::read(request.into_body(), MAX_SCENARIO).await?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body is not UTF-8 text."))?;
    let scenario = scenario::read(text).map_err(|problems| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "This cannot be rehearsed.").with(problems.into_iter().map(
            |problem| Detail {
                line: Some(problem.line),
                column: Some(problem.column),
                path: problem.path,
                message: problem.message,
            },
        ))
    })?;
    if let Some(users) = scenario.users.as_ref().filter(|users| users.count > MOST_USERS) {
        let detail = format!(
            "{} users are more than the {MOST_USERS} that are rehearsed here: `weir simulate` takes any number.",
            users.count
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone()).at("users.count", detail));
    }
    let turn = tokio::time::timeout(QUEUE, ROOM.acquire()).await.ok().and_then(Result::ok);
    let turn = turn.ok_or_else(|| Problem::passing("Another rehearsal is under way: try again."))?;
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let flag = Arc::clone(&wanted.0);
    let done = tokio::task::spawn_blocking(move || {
        let rehearsal = rehearse(&scenario, runs.min(MAX_RUNS), PATIENCE, &flag);
        // Not before the work is done, whether or not anybody still waits for it.
        drop(turn);
        rehearsal
    });
    let failed = |_| {
        tracing::error!("a rehearsal panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The simulator failed on this; the controller's log says more.")
    };
    Ok(Json(done.await.map_err(failed)?))
}

/// True for as long as somebody waits: a client that hangs up ends the work.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn rehearse(scenario: &Scenario, runs: u64, patience: Duration, wanted: &AtomicBool) -> Rehearsal {
    let began = Instant::now();
    let go_on = || began.elapsed() < patience && wanted.load(Ordering::Relaxed);
    let run = simulate_while(scenario, &mut Weir::in_words(), scenario.seed, Watching::Everything, &go_on);
    let broken_off = is_broken_off(&run);
    let mut all = Vec::new();
    for number in 0..runs {
        let seed = seed_of(scenario.seed, number);
        let mut policy = Name::Weir.make(seed);
        let one = simulate_while(scenario, policy.as_mut(), seed, Watching::Outcome, &go_on);
        // Those that take long are the ones that are left out: only what is whole up to here is counted, and how many says so.
        if is_broken_off(&one) {
            break;
        }
        all.push(one);
    }
    let many = (!all.is_empty()).then(|| summary(scenario, Name::Weir.word().to_owned(), &all));
    Rehearsal { run, broken_off, many }
}

fn is_broken_off(run: &Run) -> bool {
    run.ending == Ending::Undecided && run.ended_at_ms < run.duration_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = include_str!("../../../../docs/scenarios/broken.yaml");

    fn scenario() -> Scenario {
        scenario::read(SCENARIO).unwrap()
    }

    #[test]
    fn a_rehearsal_is_the_simulator_s_own_run_and_counts_as_many_as_asked() {
        let scenario = scenario();
        let rehearsal = rehearse(&scenario, 3, Duration::from_secs(600), &AtomicBool::new(true));
        let own = simulate_while(&scenario, &mut Weir::in_words(), scenario.seed, Watching::Everything, &|| true);
        assert_eq!(rehearsal.run, own);
        assert!(!rehearsal.broken_off && rehearsal.run.ending == Ending::RolledBack);
        assert!(!rehearsal.run.points.is_empty());
        assert_eq!(rehearsal.many.unwrap().runs, 3);
    }

    #[test]
    fn whoever_hangs_up_or_asks_for_too_much_gets_no_more_than_there_was_time_for() {
        let scenario = scenario();
        for (patience, wanted) in [(Duration::ZERO, true), (Duration::from_secs(600), false)] {
            let rehearsal = rehearse(&scenario, 3, patience, &AtomicBool::new(wanted));
            assert!(rehearsal.broken_off && rehearsal.run.ended_at_ms == 0);
            assert!(rehearsal.many.is_none(), "a run that was broken off is no outcome");
        }
    }
}
