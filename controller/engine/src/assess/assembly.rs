//! One assessment, put together from what was folded, what is believed and what is open.

use super::rivals::{all_better, beaten, beats_all, winner};
use super::seen::seen;
use super::sentences::{conclusion, standing, warn};
use super::{Assessment, Carry, Depth, SampleRatio, VersionAssessment};
use crate::beliefs::Beliefs;
use crate::breaker;
use crate::cells::{Cell, Moments, Tally};
use crate::evidence::{Fold, RealRewards, Stretch, finite};
use crate::gates;
use crate::latencies::Latencies;
use crate::metrics::{self, Metric, MetricName};
use crate::spec::Experiment;
use crate::state::{FIRST_LATENCY_GRID, LATENCY_QUANTILES, Observations, PairUnits, State};

/// Latencies of the baseline that the next epoch's grid is taken from, at least.
const GRID_LATENCIES: u64 = 200;

/// What an assessment is put together from.
pub(super) struct Look<'a, C> {
    pub(super) experiment: &'a Experiment,
    pub(super) state: &'a State,
    pub(super) stretches: &'a [Stretch<'a, C>],
    pub(super) fold: &'a Fold,
}

pub(super) fn put_together<C: Cell>(
    look: &Look<'_, C>,
    observations: &Observations<C>,
    units: Vec<PairUnits>,
    mut warnings: Vec<String>,
    depth: Depth,
) -> Assessment {
    let Look { experiment, state, stretches, fold } = *look;
    let count = experiment.versions.len();
    let totals: Vec<Total> = (0..count).map(|version| Total::of(stretches, observations, version)).collect();
    let tallies: Vec<Tally> = totals.iter().map(|total| total.settled).collect();
    let beliefs = match depth {
        Depth::Evidence => Beliefs::none(count),
        Depth::Decision | Depth::Complete => Beliefs::of(experiment, state, stretches, depth),
    };
    let real = RealRewards::of(experiment, state, stretches);
    let metrics = match depth {
        Depth::Evidence | Depth::Decision => vec![Vec::new(); count],
        Depth::Complete => metrics::of(&metrics::Sources {
            experiment,
            tallies: &tallies,
            latencies: &totals.iter().map(|total| mean(&total.latency)).collect::<Vec<_>>(),
            rewards: &totals.iter().map(|total| total.reward.sum).collect::<Vec<_>>(),
            failures_counted: observations
                .epochs
                .values()
                .flat_map(|counts| &counts.settled)
                .all(Cell::counts_failures),
            beliefs: &beliefs,
            fold,
            real: &real,
            epochs: &stretches
                .iter()
                .map(|stretch| {
                    (0..count).map(|version| (stretch.propensity(version), stretch.tally(version))).collect()
                })
                .collect::<Vec<_>>(),
        }),
    };
    let sample_ratio = fold.log_e_sample_ratio().map(|log_e| {
        let broken_at = (1.0 / gates::ALPHA_SAMPLE_RATIO).ln();
        SampleRatio { log_e_broken: finite(log_e), broken_at, broken: state.sample_ratio_broken || log_e >= broken_at }
    });
    warn(experiment, state, &tallies, &units, sample_ratio, &mut warnings);

    let broken = state.sample_ratio_broken || sample_ratio.is_some_and(|test| test.broken);
    let said = fold.gates();
    let mut versions = Vec::with_capacity(count);
    for ((index, version), metrics) in experiment.versions.iter().enumerate().zip(metrics) {
        let total = totals.get(index).copied().unwrap_or_default();
        let gates = said
            .get(index)
            .map(|said| gates::of(experiment, state, index, said, &total.settled, !broken))
            .unwrap_or_default();
        let log_e_beaten = beaten(experiment, state, fold, &real, index);
        let metric = |name: MetricName| metrics.iter().find(|metric: &&Metric| metric.name == name);
        let with_baseline =
            metric(MetricName::RewardRate).or_else(|| metric(MetricName::RewardMean)).and_then(|metric| {
                let baseline = experiment.version_name(experiment.baseline);
                metric.comparisons.iter().find(|comparison| comparison.with == baseline)
            });
        let mut assessed = VersionAssessment {
            name: version.name.clone(),
            baseline: index == experiment.baseline,
            weight: state.epoch().map_or(0, |epoch| epoch.basis_points(index)),
            out: state.is_out(index),
            settled: total.settled,
            live: total.live,
            settled_at_these_weights: stretches
                .iter()
                .rev()
                .take_while(|stretch| stretch.epoch.weights == state.weights())
                .fold(0, |sum, stretch| stretch.tally(index).assigned.saturating_add(sum)),
            probability_beats_baseline: with_baseline.and_then(|comparison| comparison.probability_better),
            probability_best: beliefs.best.get(index).copied().flatten(),
            probability_best_and_feasible: beliefs.best_and_feasible.get(index).copied().flatten(),
            expected_loss: beliefs.expected_loss.get(index).copied().flatten(),
            probability_feasible: beliefs.feasible.get(index).copied().flatten(),
            log_e_roll_back: finite(gates::log_mean(
                gates.iter().filter(|gate| gate.covered).map(|gate| gate.log_e_violated),
            )),
            roll_back_at: gates::roll_back_at(experiment),
            seen: None,
            metrics,
            gates,
            log_e_beaten,
            doubt: breaker::doubt(
                experiment,
                state,
                observations,
                index,
                tallies.get(experiment.baseline).unwrap_or(&Tally::default()),
                depth,
            ),
            may_be_best: !state.is_out(index) && log_e_beaten.is_none_or(|log_e| log_e < gates::beaten_at(experiment)),
            why: String::new(),
        };
        // Of one that is out already only people ask.
        let asked = depth == Depth::Complete || !assessed.out;
        if asked && crate::decide::is_violated(&assessed) {
            assessed.seen = seen(experiment, stretches, index, &assessed.gates);
        }
        assessed.why = standing(experiment, &assessed);
        versions.push(assessed);
    }
    let settled_exposures = versions.iter().fold(0, |sum: u64, version| version.settled.assigned.saturating_add(sum));
    // Rewards beyond exposures cannot be: such counts are left out above, but they are still in the totals shown.
    let rewarded = tallies.iter().fold(0_u64, |sum, tally| tally.rewarded.saturating_add(sum)).min(settled_exposures);
    let winner = winner(experiment, &versions, |index| beats_all(experiment, state, fold, &real, index));
    let winner = winner.filter(|_| !broken);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    Assessment {
        conclusion: conclusion(experiment, &versions, winner, broken),
        winner: winner.map(|index| experiment.version_name(index).to_owned()),
        probability_none_feasible: beliefs.none_feasible,
        alpha: experiment.alpha,
        sample_ratio,
        settled_exposures,
        settled_in_epoch: stretches
            .last()
            .filter(|stretch| state.epoch() == Some(stretch.epoch))
            .map_or(0, Stretch::exposures),
        pooled_reward_rate: (rewarded as f64 + 0.5) / (settled_exposures as f64 + 1.0),
        coverage: beliefs.coverage,
        versions,
        warnings,
        carry: Some(Carry {
            units,
            frozen: real.frozen(),
            latency_grid: latency_grid(experiment, state, fold.baseline_latencies()),
            better: all_better(experiment, fold, &real),
        }),
    }
}

/// Counts of a version over all epochs.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    /// Of the epochs that may be used.
    settled: Tally,
    latency: Moments,
    reward: Moments,
    /// With what is not settled yet, of every epoch.
    live: Tally,
}

impl Total {
    fn of<C: Cell>(stretches: &[Stretch<'_, C>], observations: &Observations<C>, version: usize) -> Self {
        let mut total = Self::default();
        for cell in stretches.iter().filter_map(|stretch| stretch.cell(version)) {
            total.settled.merge(&cell.tally());
            total.latency.merge(&cell.latency());
            total.reward.merge(&cell.reward());
        }
        total.live = total.settled;
        for open in observations.epochs.values().filter_map(|counts| counts.unsettled.get(version)) {
            total.live.merge(&open.tally());
        }
        total
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean for people")]
fn mean(moments: &Moments) -> (f64, u64) {
    (moments.sum / moments.count as f64, moments.count)
}

/// The latencies at which the next epoch compares candidates with the baseline: lower edges of the buckets that hold the
/// baseline's quantiles so far; the same as in the last epoch while little is known.
fn latency_grid(experiment: &Experiment, state: &State, latencies: &Latencies) -> Vec<u64> {
    let last = || state.epoch().map_or_else(|| FIRST_LATENCY_GRID.to_vec(), |epoch| epoch.latency_grid.clone());
    if experiment.guardrails.is_empty() {
        return last();
    }
    let total = latencies.count();
    if total < GRID_LATENCIES {
        return last();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rank")]
    let at = |q: f64| latencies.at_rank(q * total as f64).map_or(1, |span| span.lower.max(1));
    LATENCY_QUANTILES.iter().map(|q| at(*q)).collect()
}
