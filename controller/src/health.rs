//! What the mirror knows of telemetry, as the engine asks for it. Reads, changes nothing: what is wrong here holds weights.

use crate::mirror::{Mirror, Worker};
use weir_engine::health::{Health, SILENCE_MS};
use weir_engine::spec::Experiment;

/// A worker with unfinished counts reports at its next interval, so it is silent after so many milliseconds …
const SILENT_MS: u64 = 15_000;
/// … or so many of its own intervals.
const SILENT_GAPS: u64 = 3;
/// A new plan is there after so many milliseconds: filters hold a poll open, and report it at their next interval.
const PLAN_MS: u64 = 15_000;
/// What was dropped, and that a clock stepped, matters for so many milliseconds.
pub(crate) const LATELY_MS: u64 = 120_000;
/// Of so many workers one may have a clock of its own.
const ONE_OF: usize = 10;

/// What is known of telemetry for one experiment.
pub(crate) fn health(mirror: &Mirror, id: &str, experiment: &Experiment, now: u64) -> Health {
    let mut health = Health::default();
    let mut newest = None;
    let mut ahead = Vec::new();
    for worker in mirror.workers() {
        // While the controller was away nobody could report.
        let seen = worker.last_seen.max(mirror.loaded_at);
        newest = newest.max(Some(seen));
        let age = now.saturating_sub(seen);
        let unfinished = worker.body.experiments.get(id).is_some_and(|open| !open.cells.is_empty());
        // A bin is unfinished until it is over and its deadline has passed.
        let patience = SILENT_MS.max(worker.said.gap.saturating_mul(SILENT_GAPS));
        let patience = patience.saturating_add(experiment.deadline_ms).saturating_add(experiment.bin_ms);
        if unfinished && age >= patience {
            health.silent += u64::from(age < SILENCE_MS.saturating_add(patience));
        } else if worker.is_live(now) {
            health.live += 1;
            health.stale += u64::from(worker.said.stale);
            health.behind += u64::from(is_behind(mirror, worker, now));
            ahead.push(worker.body.latest_bin.saturating_sub(now));
        }
    }
    health.newest_report_ms = newest.map(|seen| now.saturating_sub(seen));
    let lately = |at: u64| now.saturating_sub(at) < LATELY_MS;
    health.dropped = mirror.dropped.iter().filter(|(at, _)| lately(*at)).map(|(_, count)| count).sum();
    let own = mirror.stepped.filter(|(at, _)| lately(*at)).map_or(0, |(_, step)| step);
    // One proxy with a clock of its own spoils its own bins alone; a tenth of them does not stay among themselves.
    ahead.sort_unstable_by(|a, b| b.cmp(a));
    let theirs = ahead.get(ahead.len() / ONE_OF).copied().unwrap_or(0);
    health.clock_step_ms = own.max(theirs);
    health
}

/// Whether a worker should have the plan in force by now, and has another.
fn is_behind(mirror: &Mirror, worker: &Worker, now: u64) -> bool {
    let Some((at, revision)) = &mirror.published else { return false };
    let due = at.saturating_add(PLAN_MS.max(worker.said.gap.saturating_mul(SILENT_GAPS)));
    !worker.said.plan.is_empty() && worker.said.plan != *revision && now >= due && worker.last_seen >= due
}
