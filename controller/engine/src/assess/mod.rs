//! What is believed and what is evident: the types of an assessment. `assessor` makes them look by look, `assembly` puts one together,
//! `rivals` says who is beaten and who has won, `seen` which counts show what is broken, `sentences` what people are told.
//!
//! Beliefs inform people and steer weights; only evidence (e-values on settled counts) names a winner or a violation.

mod assembly;
mod assessor;
mod rivals;
mod seen;
mod sentences;

pub use assessor::Assessor;
pub(crate) use assessor::believe;
pub use seen::{Seen, SeenWhat};

use crate::breaker::Doubt;
use crate::cells::{Cell, Tally};
use crate::gates::Gate;
use crate::metrics::{Metric, MetricName};
use crate::spec::{Alpha, Experiment};
use crate::state::{Frozen, Observations, PairUnits, State, Verdict};
use serde::{Deserialize, Serialize};

/// What follows where exposures do not follow the weights, while an experiment runs.
pub(crate) const SAMPLE_RATIO_ADVICE: &str = "nobody is promoted, weights stay unless the breaker pauses a version, and only an objective, \
                                             which compares with nobody, still rolls back; find the cause, then apply the experiment under a new name";

/// What is believed and what is evident of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// Per version, in the experiment's order.
    pub versions: Vec<VersionAssessment>,
    /// Belief: probability that no version keeps its limits.
    pub probability_none_feasible: Option<f64>,
    /// Evidence: the version that is the best of the feasible, by name, if the evidence suffices.
    pub winner: Option<String>,
    /// Who has won and why, or what a winner still waits for: a sentence for people.
    pub conclusion: String,
    /// The budgets the verdicts used.
    pub alpha: Alpha,
    /// Whether exposures follow the weights; `None` where that cannot be tested.
    pub sample_ratio: Option<SampleRatio>,
    /// Settled exposures of all versions.
    pub settled_exposures: u64,
    /// Settled exposures of the epoch in force.
    pub settled_in_epoch: u64,
    /// Pooled reward rate of all settled exposures, shrunk by half an event so that it lies within (0, 1): the next epoch's
    /// centre.
    pub pooled_reward_rate: f64,
    /// Share of settled exposures in epochs that the beliefs could use (all compared versions had weight).
    pub coverage: f64,
    /// What people should know before they trust the numbers.
    pub warnings: Vec<String>,
    /// What the next state keeps of this look; absent in an assessment that was stored and read again.
    #[serde(skip)]
    pub(crate) carry: Option<Carry>,
}

/// What the next state keeps of a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Carry {
    pub(crate) units: Vec<PairUnits>,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) latency_grid: Vec<u64>,
    /// Of more than two versions, evidence that one has a better reward than another.
    pub(crate) better: Vec<Better>,
}

/// Evidence that one version has a better reward than another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Better {
    pub(crate) version: usize,
    pub(crate) than: usize,
    /// Natural log of the e-value.
    pub(crate) log_e: f64,
}

/// The test that exposures follow the weights (card E).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleRatio {
    /// Natural log of the e-value that they do not.
    pub log_e_broken: f64,
    /// It is broken at this.
    pub broken_at: f64,
    /// Whether it is, now or at an earlier look. Nobody is promoted then.
    pub broken: bool,
}

/// What is believed and evident of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionAssessment {
    /// Its name.
    pub name: String,
    /// Whether it is the baseline.
    pub baseline: bool,
    /// Its weight in basis points.
    pub weight: u32,
    /// Whether it was rolled back (the baseline: whether it breaks an objective).
    pub out: bool,
    /// Exposures and outcomes in settled bins.
    pub settled: Tally,
    /// The same with what is not settled yet.
    pub live: Tally,
    /// Settled exposures since the weights in force came: over all epochs at the end that have them.
    pub settled_at_these_weights: u64,
    /// Observed, believed and compared, per metric. Absent is what was not measured.
    pub metrics: Vec<Metric>,
    /// Belief: probability that its reward beats the baseline's. None for the baseline or without a reward.
    pub probability_beats_baseline: Option<f64>,
    /// Belief: probability that it has the best reward. None without a reward.
    pub probability_best: Option<f64>,
    /// Belief: probability that it has the best reward among those that keep their limits.
    pub probability_best_and_feasible: Option<f64>,
    /// Belief: what is lost per exposure, on average, by settling for it: expected best reward less its own.
    pub expected_loss: Option<f64>,
    /// Belief: probability that it keeps its limits, as far as errors and latency were measured. None where nothing can be believed of
    /// any limit; then it counts as 1 in [`Self::probability_best_and_feasible`] and in decisions.
    pub probability_feasible: Option<f64>,
    /// Evidence on each objective, then on each guardrail.
    pub gates: Vec<Gate>,
    /// Evidence that it breaks its limits, over all of them: natural log of the mean e-value.
    pub log_e_roll_back: f64,
    /// It is rolled back at this.
    pub roll_back_at: f64,
    /// Counts that show what it breaks; absent while it breaks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Evidence that some other version has a better reward (card J): natural log of the e-value. None without a reward,
    /// or where no other version is in.
    pub log_e_beaten: Option<f64>,
    /// Evidence: whether it may still be the best (card J).
    pub may_be_best: bool,
    /// What counts that have not settled say against it; absent where the breaker does not look. No evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// How it stands: a sentence for people.
    pub why: String,
}

impl VersionAssessment {
    /// One of its metrics; `None` where that was not measured.
    #[must_use]
    pub fn metric(&self, name: MetricName) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Whether every gate that evidence covers is met; false without such a gate.
    #[must_use]
    pub fn meets_every_gate(&self) -> bool {
        let mut covered = self.gates.iter().filter(|gate| gate.covered).peekable();
        covered.peek().is_some() && covered.all(|gate| gate.verdict == Verdict::Met)
    }

    /// The limits that evidence covers and has not shown to be met, by name.
    pub(crate) fn unmet(&self) -> Vec<&str> {
        let unmet = self.gates.iter().filter(|gate| gate.covered && gate.verdict != Verdict::Met);
        unmet.map(|gate| gate.name.as_str()).collect()
    }
}

/// Assesses an experiment.
#[must_use]
pub fn assess<C: Cell>(experiment: &Experiment, state: &State, observations: &Observations<C>) -> Assessment {
    Assessor::default().assess(experiment, state, observations, Depth::Complete)
}

/// How much of an assessment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Evidence alone: no beliefs either, so that a bandit's weights would not move. For calibration.
    Evidence,
    /// What a decision needs: no metrics and nothing that is derived from them. For simulations.
    Decision,
    /// All of it.
    Complete,
}
