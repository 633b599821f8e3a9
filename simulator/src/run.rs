//! What happened in one run.

use serde::Serialize;
use weir_engine::cells::Tally;
use weir_engine::decide::Action;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// A version was promoted.
    Promoted,
    /// No candidate was left.
    RolledBack,
    /// It concluded without a winner.
    Inconclusive,
    /// It had not concluded when the time was over.
    Undecided,
}

impl Ending {
    /// As scenarios and tables name them.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("promoted", Self::Promoted),
        ("rolledBack", Self::RolledBack),
        ("inconclusive", Self::Inconclusive),
        ("undecided", Self::Undecided),
    ];
}

/// What happened in one run. Times are virtual milliseconds since its beginning.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The experiment's name.
    pub experiment: String,
    /// Who decided.
    pub policy: String,
    /// Of this run.
    pub seed: u64,
    /// How it ended.
    pub ending: Ending,
    /// Index of the version that has the traffic from then on; the baseline where it is undecided.
    pub version: usize,
    /// When it ended: at its conclusion, or when the time was over.
    pub ended_at_ms: u64,
    /// How long it could have taken.
    pub duration_ms: u64,
    /// Requests that came until it ended, recorded or not.
    pub requests: u64,
    /// Per version, in the experiment's order.
    pub versions: Vec<VersionRun>,
    /// Requests that met a version while that broke a limit of the experiment.
    pub met_bad: u64,
    /// The same, with the requests that are expected to meet it in the rest of the time.
    pub met_bad_in_all: f64,
    /// What was lost in all the time against the best version that keeps the limits: of the reward, or without one, bad events.
    pub regret: f64,
    /// Reports that were lost on their way.
    pub lost_reports: u64,
    /// Decisions that moved traffic or ended it, and those whose reasons changed.
    pub decisions: Vec<Logged>,
    /// What of the scenario begins later than it ended: this run says nothing about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
    /// Weights, beliefs and evidence over time; empty unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// What had been assessed when it ended, for people; empty unless points were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One version in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionRun {
    /// Its name.
    pub name: String,
    /// Whether it is the baseline.
    pub baseline: bool,
    /// Whether it is bad, as the scenario has it.
    pub bad: bool,
    /// Requests it got, recorded or not.
    pub requests: u64,
    /// What has settled.
    pub settled: Tally,
    /// Its weight at the end, in basis points.
    pub weight: u32,
    /// When it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_at_ms: Option<u64>,
    /// Requests of all versions until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_after: Option<u64>,
}

/// One decision, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    /// When.
    pub at_ms: u64,
    /// What was done.
    pub action: Action,
    /// Requests so far.
    pub requests: u64,
    /// Weights from then on, in basis points.
    pub weights: Vec<u32>,
    /// Why.
    pub reasons: Vec<String>,
}

/// One look, as it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When.
    pub at_ms: u64,
    /// Requests so far.
    pub requests: u64,
    /// Per version.
    pub versions: Vec<VersionPoint>,
}

/// One version at one look.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionPoint {
    /// In basis points.
    pub weight: u32,
    /// Belief: probability of being best among the feasible; without a reward, of keeping its limits.
    pub probability: Option<f64>,
    /// Belief: the error rate's interval.
    pub errors: Option<(f64, f64)>,
    /// Evidence that it breaks its limits, as a share of the logarithm that a roll-back needs.
    pub violated: f64,
    /// Evidence that it keeps them: that of the limit that lacks most, as a share of what *met* needs. `None` without a limit.
    pub met: Option<f64>,
    /// Evidence that another version is better, as a share of what *beaten* needs. `None` without a reward.
    pub beaten: Option<f64>,
}
