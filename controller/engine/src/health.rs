//! What is known of telemetry at a look. An input of a decision, beside the counts: lost telemetry is never evidence, so
//! whatever is wrong here holds the weights and is said, and neither advances nor rolls back. [`Watch`] finds it out, in the controller
//! and in simulations alike.

use crate::spec::Experiment;
use serde::{Deserialize, Serialize};

/// Without any report for so many milliseconds nothing is known of what happens now.
pub const QUIET_MS: u64 = 30_000;
/// A clock that steps by so many milliseconds spoils bins and durations.
pub const STEP_MS: u64 = 5_000;
/// A worker that fell silent matters for so many milliseconds; then it is taken for gone (scaled down), and others speak.
pub const SILENCE_MS: u64 = 600_000;
/// That a clock was set, or that counts were dropped, matters for so many milliseconds.
pub const LATELY_MS: u64 = 120_000;
/// A worker is live when it reported within so many milliseconds: more than the longest interval between reports that a large fleet
/// is asked for.
pub const LIVE_MS: u64 = 120_000;
/// The longest interval between reports that a filter can be configured to, in milliseconds.
pub const MAX_GAP_MS: u64 = 60_000;
/// A worker with unfinished counts reports at its next interval, so it is silent after so many milliseconds …
const SILENT_MS: u64 = 15_000;
/// … or so many of its own intervals.
const SILENT_GAPS: u64 = 3;
/// A new plan is there after so many milliseconds: filters hold a poll open, and report it at their next interval.
const PLAN_MS: u64 = 15_000;
/// Of so many workers one may be silent, stale or behind, or have a clock of its own, without holding the weights.
const ONE_OF: u64 = 10;

/// What a controller knows of one worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heard {
    /// When it reported last, in Unix milliseconds.
    pub last_seen: u64,
    /// Milliseconds between its last two reports, [`MAX_GAP_MS`] at most; 0 where that is not known.
    pub gap_ms: u64,
    /// Whether bins of the experiment are open.
    pub unfinished: bool,
    /// Whether its last report said that its plan is stale.
    pub stale: bool,
    /// Whether its last report named another plan than the one in force.
    pub other_plan: bool,
    /// What its last report with counts of the experiment says of its clock: when that came, and by how many milliseconds it is off.
    pub clock: Option<(u64, u64)>,
}

/// What a controller knows beside its workers.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// Unix milliseconds.
    pub now: u64,
    /// Since when it is there: while it was away nobody could report.
    pub back_at: u64,
    /// When the plan in force was published; `None` where that is not known.
    pub published_at: Option<u64>,
    /// When its own clock was set last.
    pub own_step: Option<ClockStep>,
    /// The experiment, for the time that its bins take to settle.
    pub experiment: &'a Experiment,
}

impl Watch<'_> {
    /// Whether that is not long ago.
    #[must_use]
    pub const fn lately(&self, at: u64) -> bool {
        self.now.saturating_sub(at) < LATELY_MS
    }

    /// What is known of telemetry. `dropped`: when exposures were not recorded, and how many.
    #[must_use]
    pub fn health(
        &self,
        workers: impl IntoIterator<Item = Heard>,
        dropped: impl IntoIterator<Item = (u64, u64)>,
    ) -> Health {
        let mut health = Health::default();
        let mut newest = None;
        let mut off = Vec::new();
        for worker in workers {
            let seen = worker.last_seen.max(self.back_at);
            newest = newest.max(Some(seen));
            let age = self.now.saturating_sub(seen);
            let gaps = worker.gap_ms.saturating_mul(SILENT_GAPS);
            // A bin is unfinished until it is over and its deadline has passed.
            let settle = self.experiment.deadline_ms.saturating_add(self.experiment.bin_ms);
            let patience = SILENT_MS.max(gaps).saturating_add(settle);
            if worker.unfinished && age >= patience {
                health.silent += u64::from(age < SILENCE_MS.saturating_add(patience));
            } else if self.now.saturating_sub(worker.last_seen) < LIVE_MS {
                let due = self.published_at.map(|at| at.saturating_add(PLAN_MS.max(gaps)));
                // It should have the plan in force by now, and has said since that it has another.
                let behind = worker.other_plan && due.is_some_and(|due| self.now >= due && worker.last_seen >= due);
                health.live += 1;
                health.stale += u64::from(worker.stale);
                health.behind += u64::from(behind);
                off.extend(worker.clock.filter(|(at, _)| self.lately(*at)).map(|(_, off)| off));
            }
        }
        health.newest_report_ms = newest.map(|seen| self.now.saturating_sub(seen));
        health.dropped = dropped.into_iter().filter(|(at, _)| self.lately(*at)).map(|(_, count)| count).sum();
        health.own_step = self.own_step.filter(|step| self.lately(step.at));
        // One proxy with a clock of its own spoils its own bins alone; a tenth of them does not stay among themselves.
        off.sort_unstable_by(|a, b| b.cmp(a));
        let tenth = off.len() / usize::try_from(ONE_OF).unwrap_or(usize::MAX);
        health.clocks_off_ms = off.get(tenth).copied().unwrap_or(0);
        health
    }
}

/// What is known of telemetry. The default is that nothing is known to be wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Workers that report.
    pub live: u64,
    /// Workers that stopped reporting within the last [`SILENCE_MS`] while bins of this experiment were open: what they had not
    /// settled is left out whole.
    pub silent: u64,
    /// Live workers that say that their plan is stale: they send everything to the baseline, unrecorded.
    pub stale: u64,
    /// Live workers that still use another plan than the one in force, longer than a new plan takes to arrive.
    pub behind: u64,
    /// Milliseconds since the newest report of any worker; `None` where that is not known.
    pub newest_report_ms: Option<u64>,
    /// Exposures that workers lately routed but did not record: for want of room, or because a report was refused and with it what was not final.
    pub dropped: u64,
    /// The last step of the controller's own clock, if it was lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_step: Option<ClockStep>,
    /// A tenth of the workers' clocks are off the controller's by so many milliseconds or more, either way.
    pub clocks_off_ms: u64,
    /// The largest step of a clock (the controller's, or a worker's against it), in milliseconds, either way: in journals from before
    /// the two above were told apart, and only there.
    #[serde(skip_serializing_if = "is_none")]
    pub clock_step_ms: u64,
}

/// Somebody set the controller's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockStep {
    /// When it was seen, in Unix milliseconds by the clock as it is since.
    pub at: u64,
    /// How many milliseconds forward; negative: back.
    pub forward_ms: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none(milliseconds: &u64) -> bool {
    *milliseconds == 0
}

impl Health {
    /// What is wrong, a sentence each; empty when weights may move.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let all = self.live.saturating_add(self.silent);
        // A fleet always has somebody coming and going; a tenth of it does not.
        let many = |some: u64, of: u64| some > 0 && some.saturating_mul(ONE_OF) >= of;
        if let Some(age) = self.newest_report_ms.filter(|age| *age >= QUIET_MS) {
            faults.push(format!("no proxy has reported for {} s", age / 1_000));
        }
        if many(self.silent, all) {
            faults.push(format!("{} of {all} workers fell silent with unfinished counts", self.silent));
        }
        if many(self.stale, self.live) {
            faults.push(format!(
                "{} of {} workers have a stale plan and send everything to the baseline",
                self.stale, self.live
            ));
        }
        if many(self.behind, self.live) {
            faults.push(format!("{} of {} workers still use an older plan", self.behind, self.live));
        }
        if self.dropped > 0 {
            faults.push(format!(
                "{} exposures were not recorded lately (a worker had no room, or its counts were refused)",
                self.dropped
            ));
        }
        if let Some(ClockStep { forward_ms, .. }) = self.own_step.filter(ClockStep::matters) {
            let way = if forward_ms < 0 { "back" } else { "forward" };
            faults.push(format!("the controller's clock was set {way} by {} s", forward_ms.unsigned_abs() / 1_000));
        }
        if self.clocks_off_ms >= STEP_MS {
            faults.push(format!("a tenth of the workers' clocks are off by {} s or more", self.clocks_off_ms / 1_000));
        }
        if self.clock_step_ms >= STEP_MS {
            faults.push(format!("a clock stepped by {} s", self.clock_step_ms / 1_000));
        }
        faults
    }

    /// Whether time itself cannot be trusted: then nothing ends for want of time either. Clocks of workers date bins, they measure no
    /// duration.
    #[must_use]
    pub fn clock_stepped(&self) -> bool {
        self.clock_step_ms >= STEP_MS || self.own_step.as_ref().is_some_and(ClockStep::matters)
    }
}

impl ClockStep {
    /// Whether it is too large for what was measured across it.
    fn matters(&self) -> bool {
        self.forward_ms.unsigned_abs() >= STEP_MS
    }
}
