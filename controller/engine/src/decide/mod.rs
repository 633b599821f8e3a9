//! What to do: evidence decides, policy moves the rest, doubt holds.
//!
//! `ladder` and `bandit` say which weights a strategy wants, `approval` lets a person have the last word, `breaking` is what
//! the breaker does, `edit` what a changed document means, `time` what it means that time passes, `reasons` says it in sentences. What people command is [`crate::command`]'s.

mod approval;
mod bandit;
mod breaking;
mod edit;
mod ladder;
mod reasons;
mod time;
mod winner;

pub(crate) use approval::no_longer;
pub(crate) use breaking::rolled_back;
pub use edit::{changes, edited};
pub(crate) use ladder::part as part_of_ladder;
pub(crate) use reasons::{broken, moves};
pub(crate) use time::set_right;
use time::went_back;

use crate::assess::{Assessment, VersionAssessment};
use crate::health::Health;
use crate::policy;
use crate::spec::{Experiment, Strategy};
use crate::state::{Cause, Epoch, Outcome, Phase, State, Step, Verdict};
use serde::{Deserialize, Serialize};

/// A new epoch begins after this many settled exposures in the current one …
const EPOCH_EXPOSURES: u64 = 5_000;
/// … or this share of all settled exposures, if that is more: an experiment has thousands of epochs at most, not millions.
const EPOCH_PART: u64 = 100;
/// … or this many milliseconds, if anything settled in them.
const EPOCH_MS: u64 = 3_600_000;

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Unix milliseconds.
    pub at: u64,
    /// What is done.
    pub action: Action,
    /// Why, in sentences for people.
    pub reasons: Vec<String>,
    /// The state from here on.
    pub state: State,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Nothing changes.
    Hold,
    /// Weights stay; a new epoch begins, so that evidence can start afresh and centres follow the data.
    Renew,
    /// Weights move.
    Shift,
    /// At least one version goes to zero on evidence (or by hand); the experiment concludes if none is left.
    RollBack,
    /// The experiment concludes with a winner.
    Promote,
    /// The experiment concludes without one.
    Conclude,
    /// The experiment begins.
    Start,
    /// The experiment pauses: weights stay.
    Pause,
    /// It goes on.
    Resume,
    /// A person must approve before it goes on; until then weights stay.
    Ask,
    /// The breaker pauses a version on counts that have not settled.
    Trip,
    /// The breaker lets a version go again.
    Release,
}

impl Action {
    /// Whether the plan changes.
    #[must_use]
    pub fn changes_the_plan(self) -> bool {
        !matches!(self, Self::Hold | Self::Ask | Self::Pause)
    }

    /// Whether it moves traffic, or begins, pauses, resumes or ends the experiment: what people want to remember.
    #[must_use]
    pub fn moves_traffic(self) -> bool {
        !matches!(self, Self::Hold | Self::Renew | Self::Ask)
    }
}

/// A decision in the making.
pub(super) struct Look<'a> {
    experiment: &'a Experiment,
    assessment: &'a Assessment,
    now: u64,
    /// The state to be.
    next: State,
    reasons: Vec<String>,
}

/// Decides. `now` in Unix milliseconds. The order is the order of what matters: what is broken goes first, then a person's
/// pause, then what telemetry cannot answer for, then the breaker, the winner, time, and weights last.
#[must_use]
pub fn decide(experiment: &Experiment, state: &State, assessment: &Assessment, health: &Health, now: u64) -> Decision {
    let still = |reason: &str| Decision {
        at: now,
        action: Action::Hold,
        reasons: vec![reason.to_owned()],
        state: state.clone(),
    };
    match state.phase {
        Phase::Concluded { .. } => return still("It has concluded."),
        Phase::Pending => {
            return still("It waits to be started: all traffic goes to the baseline, nothing is counted.");
        }
        Phase::Running | Phase::Paused { .. } => {}
    }
    let mut next = remember(state, assessment);
    set_right(&mut next, health);
    let mut look = Look { experiment, assessment, now, next, reasons: Vec::new() };
    let action = look.act(health);
    let Look { next, reasons, .. } = look;
    Decision { at: now, action, reasons, state: next }
}

/// What telemetry, or the clock, cannot answer for, a sentence each; empty when weights may move.
pub(crate) fn faults(state: &State, health: &Health, now: u64) -> Vec<String> {
    let mut faults = health.faults();
    if went_back(state, now) {
        faults.push("the clock went back".to_owned());
    }
    faults
}

impl Look<'_> {
    fn act(&mut self, health: &Health) -> Action {
        if let Some(action) = self.roll_back() {
            return action;
        }
        if let Phase::Paused { cause, .. } = self.next.phase {
            self.reasons.push(reasons::paused(self.experiment, cause));
            return self.renew();
        }
        let faults = faults(&self.next, health, self.now);
        if self.next.sample_ratio_broken {
            // Nothing that was proposed is warranted any more.
            self.next.awaited = None;
        }
        if !faults.is_empty() {
            self.reasons.push(format!("Weights stay: {}. Lost telemetry is not evidence.", faults.join("; ")));
            if self.next.sample_ratio_broken {
                self.reasons.push(reasons::incomparable(self.experiment, &self.next));
            }
            // A clock that stepped measures no duration, and begins no epoch.
            if went_back(&self.next, self.now) || health.clock_stepped() {
                return Action::Hold;
            }
            return self.time_out_blind().unwrap_or_else(|| self.renew());
        }
        self.next.blind_since = None;
        if self.next.sample_ratio_broken {
            return self.hold_incomparable();
        }
        if let Some(action) = self.trip_or_release() {
            return action;
        }
        if let Some(winner) = winner::winner(self.experiment, &self.next, self.assessment) {
            return self.promote(winner);
        }
        if let Some(action) = self.time_out() {
            return action;
        }
        self.shift()
    }

    fn roll_back(&mut self) -> Option<Action> {
        let fell = reasons::fallen(&mut self.next, self.assessment);
        let nobody = nobody_is_left(self.experiment, &self.next);
        if fell.is_empty() && !nobody {
            return None;
        }
        self.reasons = fell;
        self.next.awaited = None;
        let baseline = self.experiment.baseline;
        if nobody {
            let name = self.experiment.version_name(baseline);
            self.reasons.push(format!("No candidate is left: all traffic goes to {name}."));
            conclude(&mut self.next, Outcome::RolledBack, baseline, self.now);
            return Some(Action::RollBack);
        }
        let weights = breaking::rolled_back(self.experiment, &mut self.next);
        self.begin_epoch(weights);
        Some(Action::RollBack)
    }

    fn promote(&mut self, winner: usize) -> Action {
        let reason = reasons::promotion(self.experiment, self.assessment, winner);
        self.reasons.push(reason);
        if self.experiment.approvals.promotion {
            return self.ask(Step::Promotion { version: winner });
        }
        conclude(&mut self.next, Outcome::Promoted, winner, self.now);
        Action::Promote
    }

    /// While exposures do not follow the weights, and that alone is wrong: doubt may still take traffic away, and time still runs out.
    /// Neither claims anything about a version. What the breaker holds it does not let go: counts that settle cannot clear it.
    fn hold_incomparable(&mut self) -> Action {
        if self.trip() {
            let weights = standing_weights(self.experiment, &self.next);
            self.begin_epoch(weights);
            return Action::Trip;
        }
        self.time_out().unwrap_or_else(|| {
            self.reasons.push(reasons::incomparable(self.experiment, &self.next));
            self.renew()
        })
    }

    fn shift(&mut self) -> Action {
        let wanted = match &self.experiment.strategy {
            Strategy::Ab { weights } => self.split(weights),
            Strategy::Bandit { .. } => bandit::step(self),
            Strategy::Canary { steps } => ladder::climb(self, steps),
        };
        match wanted.filter(|(weights, _)| weights.as_slice() != self.next.weights()) {
            // What an edit left to be approved is, also where it did away with approvals.
            Some((weights, rung)) if self.experiment.approvals.step || self.next.split.is_some() => {
                return self.ask(Step::Weights { weights, rung });
            }
            Some((weights, rung)) => {
                self.next.rung = rung;
                self.next.split = None;
                self.next.awaited = None;
                self.begin_epoch(weights);
                return Action::Shift;
            }
            // A bandit's proposal stands until its epoch ends.
            None if self.is_bandit() && self.next.awaited.is_some() => {
                self.reasons.push("A move of the weights waits for approval.".to_owned());
            }
            // What was proposed is wanted no longer.
            None => self.next.awaited = None,
        }
        let missing = reasons::missing(self.experiment, &self.next, self.assessment);
        self.reasons.extend(missing);
        self.renew()
    }

    /// A new epoch with the same weights if the last has lasted long enough.
    fn renew(&mut self) -> Action {
        if !is_due(&self.next, self.assessment, self.now) {
            return Action::Hold;
        }
        if self.is_bandit()
            && self.next.awaited.as_ref().is_some_and(|awaited| matches!(awaited.step, Step::Weights { .. }))
        {
            // Proposed anew, from what is known by now.
            self.next.awaited = None;
        }
        self.begin_epoch(self.next.weights().to_vec());
        Action::Renew
    }

    fn is_bandit(&self) -> bool {
        matches!(self.experiment.strategy, Strategy::Bandit { .. })
    }

    fn begin_epoch(&mut self, weights: Vec<u32>) {
        begin_epoch(&mut self.next, weights, self.assessment, self.now);
    }
}

/// What the next look needs to know of this one: what fired stays fired, what closed stays closed. Every look that anybody acts on
/// must be remembered.
#[must_use]
pub fn remember(state: &State, assessment: &Assessment) -> State {
    let mut next = state.clone();
    fire(&mut next, assessment);
    if let Some(carry) = &assessment.carry {
        next.units.clone_from(&carry.units);
        next.frozen.clone_from(&carry.frozen);
    }
    next
}

/// The part of [`remember`] that fires.
pub(crate) fn fire(next: &mut State, assessment: &Assessment) {
    for (version, assessed) in assessment.versions.iter().enumerate() {
        for (row, gate) in next.latched.iter_mut().zip(&assessed.gates) {
            if let Some(verdict) = row.get_mut(version) {
                *verdict = gate.verdict.max(*verdict);
            }
        }
    }
    next.sample_ratio_broken |= assessment.sample_ratio.is_some_and(|test| test.broken);
}

/// Whether an epoch has lasted long enough that the next begins although weights stay: after 5,000 settled exposures (or 1% of
/// all, if that is more), or an hour with any.
#[must_use]
pub fn is_due(state: &State, assessment: &Assessment, now: u64) -> bool {
    let (here, total) = (assessment.settled_in_epoch, assessment.settled_exposures);
    let age = now.saturating_sub(state.epoch().map_or(now, |epoch| epoch.began_at));
    here >= EPOCH_EXPOSURES.max(total / EPOCH_PART) || (age >= EPOCH_MS && here > 0)
}

/// Begins an epoch with these weights (per version, summing to [`crate::spec::TOTAL_WEIGHT`]), its centre and its latencies taken
/// from what had settled before it. Weights may depend on anything that was known by then.
pub fn begin_epoch(next: &mut State, weights: Vec<u32>, assessment: &Assessment, now: u64) {
    let Some(last) = next.epoch() else { return };
    let latency_grid =
        assessment.carry.as_ref().map_or_else(|| last.latency_grid.clone(), |carry| carry.latency_grid.clone());
    let epoch = last.epoch.saturating_add(1);
    // Never before the one it follows, whatever the clock says.
    let began_at = now.max(last.began_at);
    next.epochs.push(Epoch { epoch, began_at, weights, centre: assessment.pooled_reward_rate, latency_grid });
}

/// Pauses; the time it has run is kept.
pub(crate) fn pause(next: &mut State, cause: Cause, now: u64) {
    next.ran_ms = next.ran(now);
    next.phase = Phase::Paused { since: now, cause };
    next.awaited = None;
    next.blind_since = None;
}

/// The weights that the strategy has now, by itself: a canary's at its rung, an A/B test's split, a bandit's as they are; without
/// the versions that are out, and with those that the breaker holds at their least.
#[must_use]
pub fn standing_weights(experiment: &Experiment, next: &State) -> Vec<u32> {
    match &experiment.strategy {
        Strategy::Canary { steps } => {
            let closed: Vec<bool> = (0..next.out.len()).map(|v| next.is_out(v) || next.is_tripped(v)).collect();
            policy::canary_weights(experiment, steps.get(next.rung).copied().unwrap_or(0), &closed)
        }
        // Those of an edit that waits for approval are not in force yet.
        Strategy::Ab { weights } => breaking::lowered(experiment, next, next.split.as_ref().unwrap_or(weights)),
        Strategy::Bandit { .. } => breaking::lowered(experiment, next, next.weights()),
    }
}

/// Whether the evidence is there that a version breaks its limits.
pub(crate) fn is_violated(version: &VersionAssessment) -> bool {
    version.log_e_roll_back >= version.roll_back_at
        || version.gates.iter().any(|gate| gate.verdict == Verdict::Violated)
}

/// Whether no candidate is in any more.
pub(crate) fn nobody_is_left(experiment: &Experiment, state: &State) -> bool {
    state.out.iter().enumerate().all(|(version, out)| *out || version == experiment.baseline)
}

/// Concludes.
pub(crate) fn conclude(next: &mut State, outcome: Outcome, version: usize, now: u64) {
    next.ran_ms = next.ran(now);
    next.awaited = None;
    next.blind_since = None;
    next.trips.iter_mut().for_each(|trip| trip.open = false);
    next.phase = Phase::Concluded { outcome, version, at: now };
}
