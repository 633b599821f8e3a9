//! What is believed and what is evident: the types of an assessment, and how it is put together.
//!
//! Beliefs inform people and steer weights; only evidence (e-values on settled counts) names a winner or a violation.

use crate::evidence;
use crate::spec::{Alpha, Direction, Experiment, Limit};
use crate::state::{EpochCounts, Observations, State, Verdict};
use serde::{Deserialize, Serialize};
use weir_core::report::Counts;
use weir_stats::belief::{self, Contender, Stratum};
use weir_stats::beta::Beta;

/// Mass of the intervals that people are shown.
const INTERVAL: f64 = 0.95;

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
    /// Settled exposures of the epoch in force.
    pub settled_in_epoch: u64,
    /// Pooled reward rate of all settled exposures, shrunk by half an event so that it lies within (0, 1): the next epoch's
    /// centre.
    pub pooled_reward_rate: f64,
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
    /// Settled exposures since the weights in force came: over all epochs at the end that have them.
    pub settled_at_these_weights: u64,
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
    /// Evidence that it breaks its objectives, over all of them: natural log of the mean e-value.
    pub log_e_roll_back: f64,
    /// It is rolled back at this.
    pub roll_back_at: f64,
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

/// One epoch as the engine uses it: what is in force, and the settled counts per version.
pub(crate) struct Stretch<'a> {
    pub(crate) epoch: &'a crate::state::Epoch,
    settled: Option<&'a EpochCounts>,
}

impl Stretch<'_> {
    /// Settled exposures, bad events and rewarded exposures of a version.
    pub(crate) fn settled(&self, version: usize) -> (u64, u64, u64) {
        self.settled
            .and_then(|counts| counts.settled.get(version))
            .map_or((0, 0, 0), |counts| (counts.assigned, counts.bad(), counts.rewarded))
    }

    fn exposures(&self, experiment: &Experiment) -> u64 {
        (0..experiment.versions.len()).map(|version| self.settled(version).0).sum()
    }
}

/// Assesses an experiment.
#[must_use]
pub fn assess(experiment: &Experiment, state: &State, observations: &Observations) -> Assessment {
    let mut warnings = Vec::new();
    let stretches = usable_stretches(experiment, state, observations, &mut warnings);
    let gates = evidence::gates(experiment, state, &stretches);
    let beaten = evidence::beaten(experiment, state, &stretches);
    let beliefs = Beliefs::of(experiment, state, &stretches);

    let mut versions = Vec::with_capacity(experiment.versions.len());
    for (index, version) in experiment.versions.iter().enumerate() {
        let objectives = gates.get(index).cloned().unwrap_or_default();
        let log_e_beaten = beaten.get(index).copied().flatten();
        let (settled, unsettled) = total(observations, index);
        let mut live = settled.clone();
        live.merge(&unsettled);
        let settled_tally = Tally::of(&settled);
        versions.push(VersionAssessment {
            name: version.name.clone(),
            baseline: index == experiment.baseline,
            weight: state.weights().get(index).copied().unwrap_or(0),
            out: state.is_out(index),
            settled: settled_tally,
            live: Tally::of(&live),
            settled_at_these_weights: stretches
                .iter()
                .rev()
                .take_while(|stretch| stretch.epoch.weights == state.weights())
                .map(|stretch| stretch.settled(index).0)
                .sum(),
            error_rate: estimate(settled.bad(), settled.assigned, beliefs.errors.get(index)),
            latency_p50_ms: quantile_ms(&settled, 0.5),
            latency_p99_ms: quantile_ms(&settled, 0.99),
            reward_rate: experiment
                .reward
                .as_ref()
                .and_then(|_| estimate(settled.rewarded, settled.assigned, beliefs.rewards.get(index))),
            probability_beats_baseline: beliefs.beats_baseline.get(index).copied().flatten(),
            probability_best: beliefs.best.get(index).copied(),
            probability_best_and_feasible: beliefs.best_and_feasible.get(index).copied(),
            probability_feasible: beliefs.feasible.get(index).copied().unwrap_or(1.0),
            log_e_roll_back: evidence::log_mean(objectives.iter().map(|gate| gate.log_e_violated)),
            roll_back_at: evidence::roll_back_at(experiment),
            objectives,
            log_e_beaten,
            may_be_best: !state.is_out(index)
                && log_e_beaten.is_none_or(|log_e| log_e < evidence::beaten_at(experiment)),
        });
    }
    if !experiment.requests_are_units() {
        warnings.push(
            "users are the unit here: evidence from single requests is not valid for them, so no verdict is given and \
             nobody is promoted or rolled back on evidence; the numbers below are belief"
                .to_owned(),
        );
    }
    let settled_exposures: u64 = versions.iter().map(|version| version.settled.assigned).sum();
    // Rewards beyond exposures cannot be: such counts are left out above, but they are still in the totals shown.
    let rewarded = versions.iter().map(|version| version.settled.rewarded).sum::<u64>().min(settled_exposures);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    Assessment {
        winner: evidence::winner(experiment, &versions).map(|index| experiment.version_name(index).to_owned()),
        probability_none_feasible: beliefs.none_feasible,
        alpha: experiment.alpha,
        settled_exposures,
        settled_in_epoch: stretches
            .last()
            .filter(|stretch| state.epoch() == Some(stretch.epoch))
            .map_or(0, |stretch| stretch.exposures(experiment)),
        pooled_reward_rate: (rewarded as f64 + 0.5) / (settled_exposures as f64 + 1.0),
        coverage: beliefs.coverage,
        versions,
        warnings,
    }
}

/// The epochs whose settled counts may be used; the others are named in a warning and left out **whole**, so that nothing is
/// lost for one version only.
fn usable_stretches<'a>(
    experiment: &Experiment,
    state: &'a State,
    observations: &'a Observations,
    warnings: &mut Vec<String>,
) -> Vec<Stretch<'a>> {
    let mut stretches = Vec::with_capacity(state.epochs.len());
    for epoch in &state.epochs {
        let counts = observations.epochs.get(&epoch.epoch);
        let broken = counts.is_some_and(|counts| {
            counts.settled.iter().enumerate().any(|(version, counts)| {
                counts.is_contradictory() || (counts.assigned > 0 && epoch.propensity(version) <= 0.0)
            })
        });
        if broken {
            warnings.push(format!(
                "epoch {} of {} is left out: its counts contradict each other or its weights; look at the proxies",
                epoch.epoch, experiment.name
            ));
        } else {
            stretches.push(Stretch { epoch, settled: counts });
        }
    }
    stretches
}

/// Settled and unsettled counts of a version over all epochs.
fn total(observations: &Observations, version: usize) -> (Counts, Counts) {
    let (mut settled, mut unsettled) = (Counts::default(), Counts::default());
    for counts in observations.epochs.values() {
        if let Some(counts) = counts.settled.get(version) {
            settled.merge(counts);
        }
        if let Some(counts) = counts.unsettled.get(version) {
            unsettled.merge(counts);
        }
    }
    (settled, unsettled)
}

impl Tally {
    fn of(counts: &Counts) -> Self {
        Self {
            assigned: counts.assigned,
            completed: counts.completed,
            failed: counts.failed,
            aborted: counts.aborted,
            overdue: counts.overdue(),
            rewarded: counts.rewarded,
        }
    }
}

fn estimate(events: u64, exposures: u64, posterior: Option<&Beta>) -> Option<Estimate> {
    if exposures == 0 {
        return None;
    }
    let (low, high) = posterior?.interval(INTERVAL);
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    Some(Estimate { observed: events as f64 / exposures as f64, low, high })
}

/// The middle of the bucket in which a quantile lies, in milliseconds.
fn quantile_ms(counts: &Counts, q: f64) -> Option<f64> {
    let (lower, upper) = counts.latency.quantile_edges(q)?;
    let upper = if upper == u64::MAX { lower } else { upper };
    #[expect(clippy::cast_precision_loss, reason = "below an hour of microseconds")]
    Some((lower as f64 + upper as f64) / 2_000.0)
}

/// Posteriors and what follows from them, per version.
struct Beliefs {
    errors: Vec<Beta>,
    rewards: Vec<Beta>,
    feasible: Vec<f64>,
    beats_baseline: Vec<Option<f64>>,
    best: Vec<f64>,
    best_and_feasible: Vec<f64>,
    none_feasible: Option<f64>,
    coverage: f64,
}

impl Beliefs {
    fn of(experiment: &Experiment, state: &State, stretches: &[Stretch<'_>]) -> Self {
        let count = experiment.versions.len();
        let compared: Vec<usize> = (0..count).filter(|version| !state.is_out(*version)).collect();
        // Epochs in which some compared version had no weight would compare different traffic.
        let common: Vec<&Stretch<'_>> = stretches
            .iter()
            .filter(|stretch| compared.iter().all(|version| stretch.epoch.propensity(*version) > 0.0))
            .collect();
        let all: Vec<&Stretch<'_>> = stretches.iter().collect();
        let mut beliefs = Self {
            errors: Vec::with_capacity(count),
            rewards: Vec::with_capacity(count),
            feasible: Vec::with_capacity(count),
            beats_baseline: vec![None; count],
            best: Vec::new(),
            best_and_feasible: Vec::new(),
            none_feasible: None,
            coverage: coverage(&common, &all, count),
        };
        for version in 0..count {
            let used = if state.is_out(version) { &all } else { &common };
            let errors = posterior(used, version, |(_, bad, _)| bad);
            beliefs.feasible.push(probability_feasible(experiment, &errors));
            beliefs.errors.push(errors);
            beliefs.rewards.push(posterior(used, version, |(_, _, rewarded)| rewarded));
        }
        if let Some(reward) = &experiment.reward {
            beliefs.rank(experiment, &compared, reward.direction == Direction::Maximize);
        }
        beliefs
    }

    fn rank(&mut self, experiment: &Experiment, compared: &[usize], maximize: bool) {
        let contenders: Vec<Contender> = compared
            .iter()
            .filter_map(|version| {
                let reward = self.rewards.get(*version).copied()?;
                Some(Contender { reward, feasible: self.feasible.get(*version).copied()? })
            })
            .collect();
        let ranking = belief::best_and_feasible(&contenders, maximize);
        self.best = vec![0.0; experiment.versions.len()];
        self.best_and_feasible = self.best.clone();
        for (at, version) in compared.iter().enumerate() {
            for (into, from) in
                [(&mut self.best, &ranking.best), (&mut self.best_and_feasible, &ranking.best_and_feasible)]
            {
                if let (Some(into), Some(from)) = (into.get_mut(*version), from.get(at)) {
                    *into = *from;
                }
            }
        }
        self.none_feasible = Some(ranking.none_feasible);
        let Some(baseline) = self.rewards.get(experiment.baseline).copied() else { return };
        for (version, (beats, reward)) in self.beats_baseline.iter_mut().zip(&self.rewards).enumerate() {
            if version != experiment.baseline {
                let above = belief::probability_greater(*reward, baseline);
                *beats = Some(if maximize { above } else { 1.0 - above });
            }
        }
    }
}

fn posterior(stretches: &[&Stretch<'_>], version: usize, events: impl Fn((u64, u64, u64)) -> u64) -> Beta {
    let strata: Vec<Stratum> = stretches
        .iter()
        .map(|stretch| {
            let counts = stretch.settled(version);
            Stratum { propensity: stretch.epoch.propensity(version), exposures: counts.0, events: events(counts) }
        })
        .collect();
    belief::standardised(&strata).posterior
}

fn probability_feasible(experiment: &Experiment, errors: &Beta) -> f64 {
    experiment
        .objectives
        .iter()
        .map(|objective| match objective.limit {
            Limit::ErrorRate { max } => errors.cdf(max),
            Limit::Latency { .. } => 1.0,
        })
        // Several limits on one rate are nested: the tightest says it all.
        .fold(1.0, f64::min)
}

fn coverage(common: &[&Stretch<'_>], all: &[&Stretch<'_>], versions: usize) -> f64 {
    let exposures = |stretches: &[&Stretch<'_>]| -> u64 {
        stretches.iter().flat_map(|stretch| (0..versions).map(|version| stretch.settled(version).0)).sum()
    };
    let (covered, total) = (exposures(common), exposures(all));
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    if total == 0 { 1.0 } else { covered as f64 / total as f64 }
}
