//! Where an experiment stands, and what was observed: the engine's inputs beside the experiment itself.
//!
//! Both are plain data that the ledger stores; only [`crate::decide`] makes a new state.

use crate::spec::{Experiment, Strategy, TOTAL_WEIGHT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_core::report::Counts;
use weir_stats::units::Closing;

/// Where an experiment stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Pending, running, paused, or concluded and how.
    pub phase: Phase,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Every epoch so far, oldest first; the last is in force. Never empty.
    pub epochs: Vec<Epoch>,
    /// Per version: whether it was rolled back. The baseline: whether it breaks an objective, which bars it from winning.
    pub out: Vec<bool>,
    /// Per gate (the objectives, then the guardrails) and version, the verdicts that fired: a gate that has fired stays fired.
    pub latched: Vec<Vec<Verdict>>,
    /// Whether exposures were found not to follow the weights (card E); stays so, for what was counted meanwhile is spoilt. From then on
    /// weights stay but for the breaker, nobody is promoted, and no guardrail finds a violation: an objective, which compares with nobody,
    /// still may.
    #[serde(default)]
    pub sample_ratio_broken: bool,
    /// Variances at which evidence about real rewards is tightest (card H), each fixed when its pair first had enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<Frozen>,
    /// First events per unit bucket (card F); empty where each request is its own unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<PairUnits>,
    /// Rung of a canary's ladder, from 0.
    pub rung: usize,
    /// An A/B test's weights while an edit of them waits for approval; `None`: those of the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Vec<u32>>,
    /// Milliseconds it ran before it was paused last: time in a pause does not count towards the longest duration.
    #[serde(default)]
    pub ran_ms: u64,
    /// Since when it runs, in Unix milliseconds; `None`: since it started.
    #[serde(default)]
    pub running_since: Option<u64>,
    /// Since when, the longest duration being over, telemetry cannot answer, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind_since: Option<u64>,
    /// Which step of the controller's clock was last taken out of the time it ran: when it was seen, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_step_at: Option<u64>,
    /// What waits for a person's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Proposal>,
    /// What the breaker did, the last per version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trips: Vec<Trip>,
}

/// What a decision would do if a person approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Since when it waits, in Unix milliseconds.
    pub since: u64,
    /// What it is.
    pub step: Step,
}

/// What may wait for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Step {
    /// Other weights.
    Weights {
        /// Per version, summing to [`TOTAL_WEIGHT`].
        weights: Vec<u32>,
        /// The rung of a canary's ladder that they belong to.
        rung: usize,
    },
    /// The winner's promotion.
    Promotion {
        /// By index.
        version: usize,
    },
}

/// The breaker paused a version on counts that had not settled: no claim and no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trip {
    /// The version, by index.
    pub version: usize,
    /// Unix milliseconds; moved on by a step forward of the controller's clock, so that its age is what has really passed.
    pub at: u64,
    /// The epoch that was in force: its counts and those of earlier ones are the doubt, and never trip the breaker again.
    pub epoch: u32,
    /// Whether the version still waits for them to settle.
    pub open: bool,
}

/// The variance of a pair's reward difference, as it was when the pair first had enough rewards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// The version of the pair that comes first in the experiment's order.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// V* of card H.
    pub variance: f64,
}

/// First events per unit bucket of a pair of versions, per kind of event that some evidence is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairUnits {
    /// The version of the pair that the other is compared with: the baseline, or the first in the experiment's order.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// The epoch from which on first events of the pair count no more, for good: with it units of other versions joined the two in
    /// other shares than their weights', so that who is left without an event is no longer alike in both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// Bad events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Closing>,
    /// Slow exposures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Closing>,
    /// Rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewarded: Option<Closing>,
}

/// Whether an experiment is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "phase")]
pub enum Phase {
    /// It waits for a person to start it: all of its traffic goes to the baseline, nothing is recorded.
    Pending,
    /// Weights move, evidence grows.
    Running,
    /// Weights stay, evidence grows; only evidence of a violation still moves traffic.
    Paused {
        /// Unix milliseconds.
        since: u64,
        /// Why.
        cause: Cause,
    },
    /// All traffic goes to the outcome until the experiment is deleted.
    Concluded {
        /// How it ended.
        outcome: Outcome,
        /// The version that has the traffic, by index.
        version: usize,
        /// Unix milliseconds.
        at: u64,
    },
}

/// Why an experiment is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A person asked for it.
    Asked,
    /// A person set the weights by hand; they stay until it is resumed.
    Weights,
    /// The longest duration has passed, and it is left to a person what then: the experiment says so, or telemetry could not answer.
    Timeout,
}

/// How an experiment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// One version is the best of the feasible.
    Promoted,
    /// No candidate is left.
    RolledBack,
    /// Time ran out.
    Inconclusive,
    /// A person stopped it.
    Stopped,
}

/// A stretch of constant weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Epoch {
    /// 1, 2, 3, …
    pub epoch: u32,
    /// Unix milliseconds.
    pub began_at: u64,
    /// Per version, relative; those of an experiment that runs sum to [`crate::spec::TOTAL_WEIGHT`].
    pub weights: Vec<u32>,
    /// The pooled reward rate known when the epoch began, within (0, 1): the centre `y₀` of card G.
    pub centre: f64,
    /// Latencies L, in microseconds, at which candidates are compared with the baseline in this epoch (card C): quantiles
    /// [`LATENCY_QUANTILES`] of the baseline, known when the epoch began.
    #[serde(default = "first_latency_grid")]
    pub latency_grid: Vec<u64>,
}

/// At which quantiles of the baseline's latency candidates are compared with it.
pub const LATENCY_QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];
/// Which of them sticky units are compared at: their buckets are counted at one latency only.
pub const UNIT_LATENCY: usize = 2;

/// The grid before anything is known of the baseline: latencies that a violation may show at, in microseconds.
pub const FIRST_LATENCY_GRID: [u64; 4] = [50_000, 250_000, 1_000_000, 5_000_000];

/// The centre before any reward is known: any constant is valid (card G), and one half favours nobody.
pub const FIRST_CENTRE: f64 = 0.5;

fn first_latency_grid() -> Vec<u64> {
    FIRST_LATENCY_GRID.to_vec()
}

impl Epoch {
    /// The propensity of a version, 0 to 1.
    #[must_use]
    pub fn propensity(&self, version: usize) -> f64 {
        let (weight, total) = self.share(version);
        #[expect(clippy::cast_precision_loss, reason = "a few weights of 32 bits are exact")]
        if total == 0 { 0.0 } else { weight as f64 / total as f64 }
    }

    /// The weight of a version in basis points, rounded.
    #[must_use]
    pub fn basis_points(&self, version: usize) -> u32 {
        let (weight, total) = self.share(version);
        let rounded = (weight * u64::from(TOTAL_WEIGHT) + total / 2).checked_div(total).unwrap_or(0);
        u32::try_from(rounded).unwrap_or(TOTAL_WEIGHT)
    }

    fn share(&self, version: usize) -> (u64, u64) {
        let weight = self.weights.get(version).copied().unwrap_or(0);
        (u64::from(weight), self.weights.iter().map(|weight| u64::from(*weight)).sum())
    }
}

/// What a gate says of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Neither claim has enough evidence.
    #[default]
    NotEnoughEvidence,
    /// The limit is kept.
    Met,
    /// The limit is broken. Overrides *met*.
    Violated,
}

/// What was observed, per epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Observations<C = Counts> {
    /// By epoch number. An epoch without observations may be missing.
    pub epochs: BTreeMap<u32, EpochCounts<C>>,
}

/// What was observed in one epoch, per version in the experiment's order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochCounts<C = Counts> {
    /// Counts of settled bins: the only ones that evidence uses.
    pub settled: Vec<C>,
    /// Counts of bins that are not settled yet: shown to people, never evidence.
    pub unsettled: Vec<C>,
}

impl State {
    /// The state of an experiment that begins now.
    #[must_use]
    pub fn begin(experiment: &Experiment, now: u64) -> Self {
        let versions = experiment.versions.len();
        Self {
            phase: if experiment.approvals.start { Phase::Pending } else { Phase::Running },
            started_at: now,
            epochs: vec![Epoch {
                epoch: 1,
                began_at: now,
                weights: initial_weights(experiment),
                centre: FIRST_CENTRE,
                latency_grid: first_latency_grid(),
            }],
            out: vec![false; versions],
            latched: vec![
                vec![Verdict::default(); versions];
                experiment.objectives.len() + experiment.guardrails.len()
            ],
            sample_ratio_broken: false,
            frozen: Vec::new(),
            units: crate::sticky::pairs(experiment),
            rung: 0,
            split: None,
            ran_ms: 0,
            running_since: None,
            blind_since: None,
            clock_step_at: None,
            awaited: None,
            trips: Vec::new(),
        }
    }

    /// The epoch in force.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// The weights in force, per version; empty only for a state that was not made by [`State::begin`].
    #[must_use]
    pub fn weights(&self) -> &[u32] {
        self.epoch().map_or(&[], |epoch| epoch.weights.as_slice())
    }

    /// Whether a version was rolled back (or, for the baseline, barred from winning).
    #[must_use]
    pub fn is_out(&self, version: usize) -> bool {
        self.out.get(version).copied().unwrap_or(false)
    }

    /// Whether weights move by themselves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it is over: no decision is made any more.
    #[must_use]
    pub const fn is_concluded(&self) -> bool {
        matches!(self.phase, Phase::Concluded { .. })
    }

    /// Whether requests are assigned and counted: it runs or is paused.
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused { .. })
    }

    /// Whether the breaker holds a version.
    #[must_use]
    pub fn is_tripped(&self, version: usize) -> bool {
        self.trips.iter().any(|trip| trip.version == version && trip.open)
    }

    /// Milliseconds it has run until `now`, pauses left out.
    #[must_use]
    pub fn ran(&self, now: u64) -> u64 {
        let since = self.running_since.unwrap_or(self.started_at);
        self.ran_ms.saturating_add(if self.is_running() { now.saturating_sub(since) } else { 0 })
    }

    /// The weights that filters carry out, per version in basis points: those of the epoch while it counts, all on the
    /// baseline before, all on the outcome after.
    #[must_use]
    pub fn weights_in_force(&self, experiment: &Experiment) -> Vec<u32> {
        let all_on = |chosen: usize| {
            (0..experiment.versions.len()).map(|v| if v == chosen { TOTAL_WEIGHT } else { 0 }).collect()
        };
        match self.phase {
            Phase::Pending => all_on(experiment.baseline),
            Phase::Running | Phase::Paused { .. } => self.weights().to_vec(),
            Phase::Concluded { version, .. } => all_on(version),
        }
    }
}

fn initial_weights(experiment: &Experiment) -> Vec<u32> {
    let versions = experiment.versions.len();
    match &experiment.strategy {
        Strategy::Bandit { .. } => crate::policy::equal_weights(versions, experiment.baseline),
        Strategy::Ab { weights } => weights.clone(),
        Strategy::Canary { steps } => {
            crate::policy::canary_weights(experiment, steps.first().copied().unwrap_or(0), &vec![false; versions])
        }
    }
}
