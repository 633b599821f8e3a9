//! What is believed and what is evident.

use crate::spec::{Alpha, Experiment};
use crate::state::{Observations, State, Verdict};
use serde::{Deserialize, Serialize};

/// What is believed and what is evident of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// Per version, in the experiment's order.
    pub versions: Vec<VersionAssessment>,
    /// Belief: probability that no version keeps its objectives.
    pub probability_none_feasible: Option<f64>,
    /// Evidence: the version that is the best of the feasible, by name, if the evidence suffices.
    pub winner: Option<String>,
    /// The budgets the verdicts used.
    pub alpha: Alpha,
    /// Settled exposures of all versions.
    pub settled_exposures: u64,
    /// Share of settled exposures in epochs that the beliefs could use (all compared versions had weight).
    pub coverage: f64,
    /// What people should know before they trust the numbers.
    pub warnings: Vec<String>,
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
    /// Error rate: bad events per exposure.
    pub error_rate: Option<Estimate>,
    /// Median latency of what did not fail, milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of latency of what did not fail, milliseconds.
    pub latency_p99_ms: Option<f64>,
    /// Reward rate: rewarded exposures per exposure.
    pub reward_rate: Option<Estimate>,
    /// Belief: probability that its reward beats the baseline's. None for the baseline or without a reward.
    pub probability_beats_baseline: Option<f64>,
    /// Belief: probability that it has the best reward. None without a reward.
    pub probability_best: Option<f64>,
    /// Belief: probability that it has the best reward among those that keep their objectives.
    pub probability_best_and_feasible: Option<f64>,
    /// Belief: probability that it keeps its objectives.
    pub probability_feasible: f64,
    /// Evidence on each objective.
    pub objectives: Vec<Gate>,
    /// Evidence that some other version has a better reward (card J): natural log of the e-value. None without a reward.
    pub log_e_beaten: Option<f64>,
    /// Evidence: whether it may still be the best (card J).
    pub may_be_best: bool,
}

/// Exposures and outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Exposures.
    pub assigned: u64,
    /// Ended by the deadline with an outcome.
    pub completed: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Ended by the client.
    pub aborted: u64,
    /// Not ended by the deadline (settled), or still in flight (live).
    pub overdue: u64,
    /// Rewarded.
    pub rewarded: u64,
}

/// A rate with the range in which it most likely lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Events per exposure, as counted.
    pub observed: f64,
    /// Lower end of the 95% credible interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// Evidence on one objective of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The objective's name.
    pub objective: String,
    /// What the evidence says; latched.
    pub verdict: Verdict,
    /// Natural log of the e-value against "the limit is kept".
    pub log_e_violated: f64,
    /// It fires at this.
    pub violated_at: f64,
    /// Natural log of the e-value against "the limit is broken".
    pub log_e_met: f64,
    /// It fires at this.
    pub met_at: f64,
}

/// Assesses an experiment.
#[must_use]
pub fn assess(experiment: &Experiment, state: &State, observations: &Observations) -> Assessment {
    let _ = (state, observations);
    Assessment {
        versions: Vec::new(),
        probability_none_feasible: None,
        winner: None,
        alpha: experiment.alpha,
        settled_exposures: 0,
        coverage: 0.0,
        warnings: Vec::new(),
    }
}
