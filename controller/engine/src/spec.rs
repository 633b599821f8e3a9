//! An experiment as the engine knows it: validated, with every default filled in.
//!
//! Built by [`crate::document`] only. Shares are in basis points (1/10,000), the lattice of [`TOTAL_WEIGHT`].

use serde::{Deserialize, Serialize};
use weir_core::plan::{FailureRules, Header, Match, Measure, RewardSource, Unit};

/// Weights of an experiment always sum to this: one step is 0.01%.
pub const TOTAL_WEIGHT: u32 = 10_000;

/// Most objectives and guardrails together: a version's budget is shared among them, and beyond a few each has too little left
/// to ever fire.
pub const MOST_LIMITS: usize = 16;
/// Largest ratio of a guardrail.
pub const MOST_RATIO: f64 = 100.0;

/// A validated experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Experiment {
    /// 1 to 63 lower-case letters, digits and dashes; unique in a controller.
    pub name: String,
    /// The service under experiment; groups experiments for people.
    pub service: String,
    /// Which requests take part.
    pub matching: Match,
    /// What is randomised.
    pub unit: Unit,
    /// 2 to 16, names unique.
    pub versions: Vec<Version>,
    /// Index of the baseline.
    pub baseline: usize,
    /// How weights move.
    pub strategy: Strategy,
    /// Absolute limits every version must keep. A canary has at least one.
    pub objectives: Vec<Objective>,
    /// Limits relative to the baseline that every candidate must keep.
    #[serde(default)]
    pub guardrails: Vec<Guardrail>,
    /// What to maximise or minimise. A bandit or an A/B test has one; so has whatever has several candidates.
    pub reward: Option<Reward>,
    /// Probability of error over the whole experiment.
    pub alpha: Alpha,
    /// Milliseconds after which a request that has not ended is a bad event.
    pub deadline_ms: u64,
    /// Milliseconds of one bin of assignment time.
    pub bin_ms: u64,
    /// Until when latency counts.
    pub measure: Measure,
    /// What makes a response a failure.
    pub failure: FailureRules,
    /// Header by which testers choose a version, unrecorded.
    pub override_header: Option<String>,
    /// Settled exposures that a version needs before it may win.
    pub min_exposures: u64,
    /// Milliseconds of running (not of pausing) after which [`Self::on_timeout`] happens.
    pub max_duration_ms: u64,
    /// What happens then.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Where a person must approve.
    #[serde(default)]
    pub approvals: Approvals,
    /// Of several experiments that match a request, the one with the highest priority has it. Within ±[`MOST_PRIORITY`].
    #[serde(default)]
    pub priority: i32,
}

/// Largest absolute value of a priority.
pub const MOST_PRIORITY: i32 = 1_000;

/// What happens when the longest duration has passed without enough evidence. Where telemetry cannot answer then, or exposures do not
/// follow the weights, it pauses in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnTimeout {
    /// It concludes as inconclusive, with all traffic on the baseline.
    #[default]
    RollBack,
    /// It pauses: weights stay until a person decides.
    Pause,
}

/// Where a person must approve. What protects (a roll-back, the breaker) never waits for anybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Approvals {
    /// The beginning: the experiment is pending until somebody starts it.
    pub start: bool,
    /// Every step of a canary's ladder, every move of a bandit's weights.
    pub step: bool,
    /// The promotion of the winner.
    pub promotion: bool,
}

/// One competing alternative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its name.
    pub name: String,
    /// Request headers that send a request to it.
    pub headers: Vec<Header>,
}

/// How weights move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Strategy {
    /// Traffic follows a rule over the probabilities of being best among the feasible.
    Bandit {
        /// The rule.
        #[serde(default)]
        rule: Rule,
        /// Least weight of every version that is not rolled back, in basis points.
        floor: u32,
        /// Most that one decision moves one version's weight, in basis points.
        max_step: u32,
        /// Milliseconds after which a count weighs half in the beliefs that steer (never in evidence); `None`: it never fades.
        #[serde(default)]
        half_life_ms: Option<u64>,
    },
    /// A ladder of weights for each candidate, climbed by evidence.
    Canary {
        /// Weight of each candidate per rung, in basis points, rising.
        steps: Vec<u32>,
    },
    /// A fixed split.
    Ab {
        /// Weight per version, summing to [`TOTAL_WEIGHT`].
        weights: Vec<u32>,
    },
}

/// By what a bandit's traffic goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// The probability of being the best of the feasible.
    #[default]
    Thompson,
    /// Half of the traffic by that, half by who would be best if that one were not there: the best is known sooner.
    TopTwo,
    /// Equal shares for all that are in.
    Uniform,
}

/// An absolute limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Unique within the experiment.
    pub name: String,
    /// What is limited.
    pub limit: Limit,
}

/// What an objective limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Limit {
    /// The share of exposures that end badly: failed, or not ended by the deadline.
    ErrorRate {
        /// Within (0, 1).
        max: f64,
    },
    /// A quantile of latency: P(latency > max) ≤ 1 − quantile. Failed and overdue exposures are slow.
    Latency {
        /// Within (0, 1).
        quantile: f64,
        /// Microseconds; at most the deadline.
        max_us: u64,
    },
}

/// A limit relative to the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guardrail {
    /// Unique within the experiment, objectives included.
    pub name: String,
    /// What is compared.
    pub bound: Bound,
}

/// What a guardrail bounds, for a candidate b against the baseline a.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Bound {
    /// Error rates: p_b ≤ ratio·p_a + margin. `ratio` > 1 or `margin` > 0, or equal versions could never be shown to keep it.
    ErrorRate {
        /// Within \[1, 100\].
        ratio: f64,
        /// Within \[0, 1).
        margin: f64,
    },
    /// Latency: P(T_b ≥ ratio·L) ≤ P(T_a ≥ L) at several L (scaled dominance).
    Latency {
        /// Within (1, 100\].
        ratio: f64,
    },
}

/// What to maximise or minimise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reward {
    /// Where it comes from.
    pub source: RewardSource,
    /// What of it counts.
    #[serde(default)]
    pub kind: RewardKind,
    /// Which way is better.
    pub direction: Direction,
}

/// What of a reward counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RewardKind {
    /// Whether there was one: a conversion.
    #[default]
    Binary,
    /// How large it was: an amount. Evidence about it is asymptotic.
    Real,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

/// Error budgets, each within (0, 0.5].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alpha {
    /// Per version: of rolling it back though it keeps its objectives.
    pub roll_back: f64,
    /// Of promoting a version that breaks a limit; and, apart, of promoting one although another that is in is better.
    pub promotion: f64,
}

impl Experiment {
    /// How many versions are not the baseline.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.versions.len().saturating_sub(1)
    }

    /// The name of a version; empty beyond the last.
    #[must_use]
    pub fn version_name(&self, version: usize) -> &str {
        self.versions.get(version).map_or("", |version| version.name.as_str())
    }

    /// How many gates a version has: its objectives, and for a candidate the guardrails.
    #[must_use]
    pub fn gates(&self, version: usize) -> usize {
        self.objectives.len() + if version == self.baseline { 0 } else { self.guardrails.len() }
    }

    /// The ratio of the guardrail by which sticky units are compared in latency: the first, for a unit's buckets are counted
    /// at one latency only. `None` without such a guardrail, and where each request is its own unit.
    #[must_use]
    pub fn unit_latency_ratio(&self) -> Option<f64> {
        let ratio = |guardrail: &Guardrail| match guardrail.bound {
            Bound::Latency { ratio } => Some(ratio),
            Bound::ErrorRate { .. } => None,
        };
        if self.requests_are_units() { None } else { self.guardrails.iter().find_map(ratio) }
    }

    /// After how many milliseconds a count weighs half in the beliefs that steer; `None`: never.
    #[must_use]
    pub const fn half_life_ms(&self) -> Option<u64> {
        match self.strategy {
            Strategy::Bandit { half_life_ms, .. } => half_life_ms,
            Strategy::Canary { .. } | Strategy::Ab { .. } => None,
        }
    }

    /// Whether new units are told apart: those that the filter gives a cookie. Each is drawn by weight, once, independently of all
    /// others, however often it comes back.
    #[must_use]
    pub const fn counts_new_units(&self) -> bool {
        matches!(self.unit, Unit::GeneratedCookie(_))
    }

    /// Whether evidence per request is valid: only where each request is its own unit.
    #[must_use]
    pub fn requests_are_units(&self) -> bool {
        self.unit == Unit::Request
    }
}
