//! What is believed and what is evident: the types of an assessment, and how it is put together.
//!
//! Beliefs inform people and steer weights; only evidence (e-values on settled counts) names a winner or a violation.

use crate::beliefs::Beliefs;
use crate::breaker::{self, Doubt};
use crate::cells::{Cell, Moments, Tally};
use crate::evidence::{Fold, RealRewards, SlowCounts, Stretch, finite, slow_counts};
use crate::gates::{self, Gate};
use crate::latencies::Latencies;
use crate::metrics::{self, Metric, MetricName};
use crate::spec::{Alpha, Experiment, RewardKind};
use crate::state::{
    Epoch, EpochCounts, FIRST_LATENCY_GRID, Frozen, LATENCY_QUANTILES, Observations, PairUnits, State, Verdict,
};
use crate::sticky::{self, Joining};
use crate::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_stats::best;

/// What follows where exposures do not follow the weights, while an experiment runs.
pub(crate) const SAMPLE_RATIO_ADVICE: &str = "nobody is promoted, weights stay, and only an objective, which compares with nobody, still \
                                             rolls back; find the cause, then apply the experiment under a new name";
/// Latencies of the baseline that the next epoch's grid is taken from, at least.
const GRID_LATENCIES: u64 = 200;

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
    /// Evidence that some other version has a better reward (card J): natural log of the e-value. None without a reward.
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

/// How many epochs at the end may still change without the fold being done anew.
const OPEN_EPOCHS: usize = 8;

/// Assesses one experiment again and again. It remembers the evidence of old epochs, so that of them a look only sums what was counted
/// and makes the beliefs anew; what it returns has the same bits as [`assess`]. What that saves: docs/performance.md.
#[derive(Debug, Clone, Default)]
pub struct Assessor {
    experiment: Option<Experiment>,
    /// What the epochs in `fold` showed.
    prefix: Vec<u64>,
    fold: Option<Arc<Fold>>,
    /// By epoch, what it showed and the slow exposures in that.
    slow: BTreeMap<u32, (u64, Arc<SlowCounts>)>,
    /// How far looks at whole epochs have come; `None` where epochs may still grow.
    whole: Option<WholeEpochs>,
}

/// What looks at whole epochs need not do again.
#[derive(Debug, Clone, Default)]
struct WholeEpochs {
    /// Per epoch of the state, whether its counts may be used.
    usable: Vec<bool>,
    /// Of those that may, how many were looked at for first events.
    looked: usize,
    /// Per pair of versions whose units are looked at.
    joining: Vec<Joining>,
}

impl Assessor {
    /// For epochs that are complete when the first look sees them: neither counts nor weights of theirs change any more, and looks only
    /// add epochs. Then a look sees the new ones alone. What it returns still has the same bits as [`assess`].
    #[must_use]
    pub fn of_whole_epochs() -> Self {
        Self { whole: Some(WholeEpochs::default()), ..Self::default() }
    }

    /// Assesses the experiment. Counts of an epoch may only have grown since the last look.
    #[must_use]
    pub fn assess<C: Cell>(
        &mut self,
        experiment: &Experiment,
        state: &State,
        observations: &Observations<C>,
        depth: Depth,
    ) -> Assessment {
        self.assess_with(experiment, state, state.units.clone(), observations, depth)
    }

    /// The same with the state's closed buckets apart: of many pairs they are large, and this look's are made from them.
    pub(crate) fn assess_with<C: Cell>(
        &mut self,
        experiment: &Experiment,
        state: &State,
        mut units: Vec<PairUnits>,
        observations: &Observations<C>,
        depth: Depth,
    ) -> Assessment {
        if self.experiment.as_ref() != Some(experiment) {
            let whole = self.whole.take().map(|_| WholeEpochs::default());
            *self = Self { experiment: Some(experiment.clone()), whole, ..Self::default() };
        }
        let mut warnings = Vec::new();
        let known = self.whole.as_mut().map(|whole| &mut whole.usable);
        let usable = usable_epochs(experiment, state, observations, known, &mut warnings);
        let seen: Vec<u64> = match self.whole {
            Some(_) => vec![0; usable.len()],
            None => usable.iter().map(|(epoch, counts)| fingerprint(epoch, *counts)).collect(),
        };
        let stretches = self.stretches(experiment, &usable, &seen);
        let epochs: Vec<&Epoch> = stretches.iter().map(|stretch| stretch.epoch).collect();
        if let Some(WholeEpochs { looked, joining, .. }) = &mut self.whole {
            joining.resize_with(units.len(), Joining::default);
            joining.iter_mut().zip(&mut units).for_each(|(joining, pair)| joining.advance(&state.epochs, pair));
            sticky::look(&mut units, epochs.get(*looked..).unwrap_or_default(), observations);
            *looked = epochs.len();
        } else {
            units.iter_mut().for_each(|pair| Joining::default().advance(&state.epochs, pair));
            sticky::look(&mut units, &epochs, observations);
        }
        let fold = self.fold(experiment, &units, &stretches, seen);
        let look = Look { experiment, state, stretches: &stretches, fold: &fold };
        put_together(&look, observations, units, warnings, depth)
    }

    /// The epochs with their slow exposures, which are counted anew only where an epoch shows more than at the last look.
    fn stretches<'a, C: Cell>(
        &mut self,
        experiment: &Experiment,
        usable: &[(&'a Epoch, Option<&'a EpochCounts<C>>)],
        seen: &[u64],
    ) -> Vec<Stretch<'a, C>> {
        let mut known = std::mem::take(&mut self.slow);
        let stretch = |((epoch, counts), seen): (&(&'a Epoch, Option<&'a EpochCounts<C>>), &u64)| {
            let slow = match known.remove(&epoch.epoch) {
                Some((then, slow)) if then == *seen => slow,
                _ => Arc::new(slow_counts(experiment, epoch, *counts)),
            };
            self.slow.insert(epoch.epoch, (*seen, Arc::clone(&slow)));
            Stretch { epoch, counts: *counts, slow }
        };
        usable.iter().zip(seen).map(stretch).collect()
    }

    fn fold<C: Cell>(
        &mut self,
        experiment: &Experiment,
        units: &[PairUnits],
        stretches: &[Stretch<'_, C>],
        seen: Vec<u64>,
    ) -> Arc<Fold> {
        let (seen, open) = match self.whole {
            Some(_) => (seen, 0),
            // First events of unit buckets grow too, and later looks may still find some in an old epoch.
            None => {
                let with_units =
                    |(stretch, seen): (&Stretch<'_, C>, u64)| with_first_events(seen, stretch.epoch.epoch, units);
                (stretches.iter().zip(seen).map(with_units).collect(), OPEN_EPOCHS)
            }
        };
        let known = seen.starts_with(&self.prefix);
        let mut fold = match self.fold.take().filter(|_| known) {
            Some(fold) => fold,
            None => {
                self.prefix.clear();
                Arc::new(Fold::new(experiment))
            }
        };
        let keep = seen.len().saturating_sub(open).max(self.prefix.len());
        let mut kept = (keep == self.prefix.len()).then(|| Arc::clone(&fold));
        for (at, stretch) in stretches.iter().enumerate().skip(self.prefix.len()) {
            // Copied only where what is kept is pushed to.
            Arc::make_mut(&mut fold).push(experiment, units, stretch);
            if at + 1 == keep {
                kept = Some(Arc::clone(&fold));
            }
        }
        self.prefix = seen.into_iter().take(keep).collect();
        self.fold = kept;
        fold
    }
}

/// The hash of an epoch with what its unit buckets showed first.
fn with_first_events(seen: u64, epoch: u32, units: &[PairUnits]) -> u64 {
    let closings = units.iter().flat_map(|pair| [&pair.bad, &pair.slow, &pair.rewarded]).flatten();
    closings
        .map(|closing| closing.first_events(epoch))
        .fold(seen, |hash, first| [first.baseline, first.candidate, first.ties].into_iter().fold(hash, mixed))
}

/// One more number in a hash (FNV-1a, turned).
const fn mixed(hash: u64, bits: u64) -> u64 {
    (hash ^ bits).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

/// A hash of an epoch and what it showed. Counts of an epoch only grow, so that equal numbers are the same counts.
fn fingerprint<C: Cell>(epoch: &Epoch, counts: Option<&EpochCounts<C>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bits: u64| hash = mixed(hash, bits);
    take(u64::from(epoch.epoch));
    take(epoch.centre.to_bits());
    epoch.weights.iter().for_each(|weight| take(u64::from(*weight)));
    epoch.latency_grid.iter().for_each(|limit| take(*limit));
    for cell in counts.iter().flat_map(|counts| &counts.settled) {
        let (tally, latency, reward) = (cell.tally(), cell.latency(), cell.reward());
        for count in
            [tally.assigned, tally.completed, tally.failed, tally.aborted, tally.overdue, tally.rewarded, latency.count]
        {
            take(count);
        }
        take(cell.latencies_known());
        take(latency.sum.to_bits());
        take(reward.sum.to_bits());
        take(reward.squares.to_bits());
    }
    hash
}

/// What an assessment is put together from.
struct Look<'a, C> {
    experiment: &'a Experiment,
    state: &'a State,
    stretches: &'a [Stretch<'a, C>],
    fold: &'a Fold,
}

fn put_together<C: Cell>(
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
    warn(experiment, &tallies, &units, sample_ratio, &mut warnings);

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

/// The epochs whose settled counts may be used; the others are named in a warning and left out **whole**, so that nothing is
/// lost for one version only. `known`: per epoch from the first, whether it may; what is new is added.
fn usable_epochs<'a, C: Cell>(
    experiment: &Experiment,
    state: &'a State,
    observations: &'a Observations<C>,
    known: Option<&mut Vec<bool>>,
    warnings: &mut Vec<String>,
) -> Vec<(&'a Epoch, Option<&'a EpochCounts<C>>)> {
    let mut usable = Vec::with_capacity(state.epochs.len());
    let mut nothing = Vec::new();
    let known = known.unwrap_or(&mut nothing);
    for (at, epoch) in state.epochs.iter().enumerate() {
        let counts = observations.epochs.get(&epoch.epoch);
        let broken = known.get(at).map_or_else(|| cannot_be_used(epoch, counts), |usable| !usable);
        if at == known.len() {
            known.push(!broken);
        }
        if broken {
            warnings.push(format!(
                "epoch {} of {} is left out: its counts contradict each other or its weights; look at the proxies",
                epoch.epoch, experiment.name
            ));
        } else {
            usable.push((epoch, counts));
        }
    }
    usable
}

fn cannot_be_used<C: Cell>(epoch: &Epoch, counts: Option<&EpochCounts<C>>) -> bool {
    counts.is_some_and(|counts| {
        counts.settled.iter().enumerate().any(|(version, cell)| {
            cell.is_contradictory() || (cell.tally().assigned > 0 && epoch.propensity(version) <= 0.0)
        })
    })
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

/// ln Ē_k of card J: evidence that some version that is not out has a better reward than k. `None` without a reward.
fn beaten(experiment: &Experiment, state: &State, fold: &Fold, real: &RealRewards, k: usize) -> Option<f64> {
    experiment.reward.as_ref()?;
    let versions = experiment.versions.len();
    let log_es: Vec<f64> =
        (0..versions).filter(|b| *b != k && !state.is_out(*b)).map(|b| better(fold, real, b, k)).collect();
    // Without anyone to compare with it is −∞, which JSON cannot say.
    Some(finite(best::log_mean_e(&log_es, versions)))
}

/// ln E(b > k): evidence that `b` has a better reward than `k`; 0 where there is none.
fn better(fold: &Fold, real: &RealRewards, b: usize, k: usize) -> f64 {
    fold.log_e_better(b, k).or_else(|| real.log_e_better(b, k)).unwrap_or(0.0)
}

/// Every pair of more than two versions: of two, the one's being beaten is the other's being better.
fn all_better(experiment: &Experiment, fold: &Fold, real: &RealRewards) -> Vec<Better> {
    let versions = experiment.versions.len();
    if versions < 3 || experiment.reward.is_none() {
        return Vec::new();
    }
    let pairs = (0..versions).flat_map(|b| (0..versions).filter(move |k| *k != b).map(move |k| (b, k)));
    let log_e = |b, k| fold.log_e_better(b, k).or_else(|| real.log_e_better(b, k)).map(finite);
    pairs.filter_map(|(b, k)| Some(Better { version: b, than: k, log_e: log_e(b, k)? })).collect()
}

/// Whether `b` itself has beaten every other version that is in: E(b > k) ≥ (K − 1)/α_P each. Then the best of the versions that keep
/// their limits, unless it was rolled back falsely, is passed over with probability at most α_P, by the union over the K − 1 that could
/// be promoted in its stead. Card J's mean alone would not say so: another version, out by now, may have supplied the evidence.
fn beats_all(experiment: &Experiment, state: &State, fold: &Fold, real: &RealRewards, b: usize) -> bool {
    let versions = experiment.versions.len();
    let mut others = (0..versions).filter(|k| *k != b && !state.is_out(*k));
    others.all(|k| finite(best::log_mean_e(&[better(fold, real, b, k)], versions)) >= gates::beaten_at(experiment))
}

/// The version that is the best of the feasible, if the evidence suffices: it has beaten everybody else who is in, nobody else may
/// still be the best (card J), it meets every gate that evidence covers (the baseline, which runs already, need not prove that), and
/// every version that is in has its least exposures.
fn winner(experiment: &Experiment, versions: &[VersionAssessment], beats_all: impl Fn(usize) -> bool) -> Option<usize> {
    let enough = versions.iter().all(|version| version.out || version.settled.assigned >= experiment.min_exposures);
    if experiment.reward.is_none() {
        // One candidate (the document's rule): safe is all that was asked of it.
        let candidate = versions.iter().position(|version| !version.baseline && !version.out)?;
        return versions.get(candidate).filter(|version| enough && version.meets_every_gate()).map(|_| candidate);
    }
    // The baseline has nobody to beat then, and stays without winning.
    if versions.iter().all(|version| version.out || version.baseline) {
        return None;
    }
    let kept = |version: &VersionAssessment| {
        version.baseline || version.meets_every_gate() || version.gates.iter().all(|gate| !gate.covered)
    };
    let mut left = versions.iter().enumerate().filter(|(_, version)| version.may_be_best);
    match (left.next(), left.next()) {
        (Some((index, version)), None) if enough && kept(version) && beats_all(index) => Some(index),
        _ => None,
    }
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

fn warn(
    experiment: &Experiment,
    tallies: &[Tally],
    units: &[PairUnits],
    sample_ratio: Option<SampleRatio>,
    warnings: &mut Vec<String>,
) {
    for (pair, until) in units.iter().filter_map(|pair| Some((pair, pair.until?))) {
        warnings.push(format!(
            "evidence about {} and {} stands still since epoch {until}: users of another version joined the two in other shares than \
             their weights, so that those left without an event are no longer alike; keep the ratio of weights (strategy ab) where \
             users are the unit",
            experiment.version_name(pair.a),
            experiment.version_name(pair.b)
        ));
    }
    if !experiment.requests_are_units() {
        warnings.push(
            "users are the unit here: requests of one user are alike, so evidence counts the first event per unit bucket; \
             beliefs count requests and look surer than they are; whether users follow the weights cannot be tested"
                .to_owned(),
        );
        if experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Real) {
            warnings.push(
                "users are the unit and rewards are amounts: no evidence is valid for that, so nobody is found best; \
                 count conversions (kind: binary) to have a winner"
                    .to_owned(),
            );
        }
    }
    if sample_ratio.is_some_and(|test| test.broken) {
        let shares: Vec<String> = experiment
            .versions
            .iter()
            .zip(tallies)
            .map(|(version, tally)| format!("{} {}", version.name, words::count(tally.assigned)))
            .collect();
        warnings.push(format!(
            "exposures do not follow the weights ({}): something loses or moves requests of some versions, so no comparison \
             can be trusted; {SAMPLE_RATIO_ADVICE}",
            shares.join(", ")
        ));
    }
    if experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Real) {
        warnings
            .push("rewards are amounts: evidence about them is asymptotic, exact only as exposures grow".to_owned());
    }
}

fn standing(experiment: &Experiment, version: &VersionAssessment) -> String {
    let name = &version.name;
    let violated: Vec<&str> =
        version.gates.iter().filter(|gate| gate.verdict == Verdict::Violated).map(|gate| gate.name.as_str()).collect();
    if !violated.is_empty() {
        return format!("{name} breaks {}.", violated.join(", "));
    }
    if version.out {
        return format!("{name} is out: rolled back by an earlier look's evidence, or by hand.");
    }
    if version.settled.assigned == 0 {
        return format!("{name} has no settled exposures: nothing is known of it.");
    }
    let mut parts = Vec::new();
    let covered: Vec<&Gate> = version.gates.iter().filter(|gate| gate.covered).collect();
    let met = covered.iter().filter(|gate| gate.verdict == Verdict::Met).count();
    if !covered.is_empty() {
        parts.push(if met == covered.len() {
            "meets every limit that evidence covers".to_owned()
        } else {
            format!("meets {met} of {} limits, and breaks none as far as evidence tells", covered.len())
        });
    }
    if let Some(log_e) = version.log_e_beaten {
        parts.push(if version.may_be_best {
            format!(
                "may still be the best (e-value {} of {} that it is not)",
                words::e_value(log_e),
                words::e_value(gates::beaten_at(experiment))
            )
        } else {
            format!("is not the best (e-value {})", words::e_value(log_e))
        });
    }
    if parts.is_empty() { format!("{name} runs.") } else { format!("{name} {}.", parts.join("; ")) }
}

fn conclusion(experiment: &Experiment, versions: &[VersionAssessment], winner: Option<usize>, broken: bool) -> String {
    if let Some(version) = winner.and_then(|winner| versions.get(winner)) {
        let kept = if version.meets_every_gate() { ", and it meets every limit that evidence covers" } else { "" };
        // Only a baseline may win so: it runs already.
        let open = match version.unmet().as_slice() {
            [] => String::new(),
            unmet => {
                format!(" {} has not shown that it meets {}; a baseline need not.", version.name, unmet.join(", "))
            }
        };
        let alone = versions.iter().all(|other| other.out || other.name == version.name);
        let why = if experiment.reward.is_some() && alone {
            format!("no other version is in{kept}")
        } else if experiment.reward.is_some() {
            format!("it has beaten every other version that is in{kept}")
        } else {
            "it meets every limit that evidence covers, and nothing else was asked of the candidate".to_owned()
        };
        let error = match experiment.reward.as_ref().map(|reward| reward.kind) {
            None => "with error at most",
            Some(RewardKind::Binary) => "each with error at most",
            Some(RewardKind::Real) => "each, as exposures grow, with error at most",
        };
        let alpha = words::percent(experiment.alpha.promotion);
        return format!("{} wins: {why}; {error} {alpha} over all looks.{open}", version.name);
    }
    if versions.iter().all(|version| version.out || version.baseline) {
        return format!(
            "No candidate is left: each is rolled back, so {} stays.",
            experiment.version_name(experiment.baseline)
        );
    }
    let mut missing = Vec::new();
    if broken {
        missing.push("exposures do not follow the weights, so that nothing can be compared".to_owned());
    }
    let few: Vec<&str> = versions
        .iter()
        .filter(|version| !version.out && version.settled.assigned < experiment.min_exposures)
        .map(|version| version.name.as_str())
        .collect();
    if !few.is_empty() {
        missing.push(format!(
            "{} {} fewer than {} settled exposures",
            few.join(", "),
            if few.len() == 1 { "has" } else { "have" },
            words::count(experiment.min_exposures)
        ));
    }
    let open: Vec<&VersionAssessment> = versions.iter().filter(|version| version.may_be_best).collect();
    if experiment.reward.is_some() && open.len() > 1 {
        let names: Vec<&str> = open.iter().map(|version| version.name.as_str()).collect();
        missing.push(format!("any of {} may still be the best", names.join(", ")));
    }
    for version in open.iter().filter(|version| !version.baseline) {
        let unmet = version.unmet();
        if !unmet.is_empty() {
            missing.push(format!("{} has not shown yet that it meets {}", version.name, unmet.join(", ")));
        }
    }
    if missing.is_empty() {
        missing.push(match open.first() {
            Some(version) => format!("{} has not beaten every other version by itself yet", version.name),
            None => "no version is left that could win".to_owned(),
        });
    }
    format!("Not enough evidence: {}.", missing.join("; "))
}
