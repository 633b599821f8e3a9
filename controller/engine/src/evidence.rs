//! What may be acted on: e-processes over settled cells, folded epoch by epoch in order of time. A fold knows counts and
//! weights; what its numbers mean for people is [`crate::gates`]' and [`crate::assess`]'s.

use crate::cells::{Cell, Edge, Slow, Tally, Threshold, slow, slow_at_each, unknown};
use crate::latencies::Latencies;
use crate::spec::{Bound, Direction, Experiment, Limit, RewardKind};
use crate::state::{Epoch, EpochCounts, FIRST_LATENCY_GRID, Frozen, LATENCY_QUANTILES, PairUnits, State};
use std::sync::Arc;
use weir_stats::amount::{AmountEpoch, Amounts, Difference, difference};
use weir_stats::compare::{self, PairEpoch};
use weir_stats::kernel::{effects, tilts};
use weir_stats::margin::{Margin, MarginEpoch};
use weir_stats::process::{Claim, Shared, Tilted};
use weir_stats::reward::{Arm, Better, RewardEpoch};
use weir_stats::sample_ratio::SampleRatio;
use weir_stats::units::{Closing, FirstEvents};

/// One epoch as the engine uses it: its weights, and the settled cells per version.
#[derive(Debug)]
pub(crate) struct Stretch<'a, C> {
    pub(crate) epoch: &'a Epoch,
    pub(crate) counts: Option<&'a EpochCounts<C>>,
    pub(crate) slow: Arc<SlowCounts>,
}

/// Per version, the slow exposures of an epoch at every threshold that the experiment asks about: they are asked for again and
/// again, and a histogram is long.
pub(crate) type SlowCounts = Vec<SlowOfVersion>;

/// Of one version.
#[derive(Debug)]
pub(crate) struct SlowOfVersion {
    /// Exposures of which no latency is known.
    unknown: u64,
    at: Vec<(Threshold, Slow)>,
}

/// Counts them.
pub(crate) fn slow_counts<C: Cell>(
    experiment: &Experiment,
    epoch: &Epoch,
    counts: Option<&EpochCounts<C>>,
) -> SlowCounts {
    let settled = counts.map_or(&[][..], |counts| counts.settled.as_slice());
    let of = |(version, cell): (usize, &C)| {
        let asked = thresholds(experiment, epoch, version, |limit| compared_at(counts, limit));
        let found = slow_at_each(cell, &asked);
        SlowOfVersion { unknown: unknown(cell), at: asked.into_iter().zip(found).collect() }
    };
    settled.iter().enumerate().map(of).collect()
}

fn thresholds(
    experiment: &Experiment,
    epoch: &Epoch,
    version: usize,
    compared_at: impl Fn(f64) -> Threshold,
) -> Vec<Threshold> {
    let objectives = experiment.objectives.iter().filter_map(|objective| match objective.limit {
        Limit::Latency { max_us, .. } => Some(Threshold::Above(max_us)),
        Limit::ErrorRate { .. } => None,
    });
    let ratios = experiment.guardrails.iter().filter_map(|guardrail| match guardrail.bound {
        Bound::Latency { .. } if version == experiment.baseline => Some(1.0),
        Bound::Latency { ratio } => Some(ratio),
        Bound::ErrorRate { .. } => None,
    });
    let mut asked: Vec<Threshold> = objectives.collect();
    for ratio in ratios {
        for limit in epoch.latency_grid.iter().take(LATENCY_QUANTILES.len()) {
            #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
            let threshold = compared_at(*limit as f64 * ratio);
            if !asked.contains(&threshold) {
                asked.push(threshold);
            }
        }
    }
    asked
}

/// Where slow begins for a guardrail's limit: the same for all versions, by how latencies were counted.
fn compared_at<C: Cell>(counts: Option<&EpochCounts<C>>, limit: f64) -> Threshold {
    let cells = counts.iter().flat_map(|counts| &counts.settled);
    let beyond = cells.map(Cell::edges_held).any(|edge| edge == Edge::Upper);
    if beyond { Threshold::Beyond(limit) } else { Threshold::From(limit) }
}

impl<C: Cell> Stretch<'_, C> {
    pub(crate) fn cell(&self, version: usize) -> Option<&C> {
        self.counts.and_then(|counts| counts.settled.get(version))
    }

    pub(crate) fn tally(&self, version: usize) -> Tally {
        self.cell(version).map(Cell::tally).unwrap_or_default()
    }

    pub(crate) fn propensity(&self, version: usize) -> f64 {
        self.epoch.propensity(version)
    }

    pub(crate) fn exposures(&self) -> u64 {
        self.counts.map_or(0, |counts| {
            counts.settled.iter().fold(0, |total, cell| cell.tally().assigned.saturating_add(total))
        })
    }

    /// Where slow begins for a guardrail's limit in this epoch.
    pub(crate) fn compared_at(&self, limit: f64) -> Threshold {
        compared_at(self.counts, limit)
    }

    /// A version's exposures of which no latency is known.
    pub(crate) fn unknown(&self, version: usize) -> u64 {
        let known = self.slow.get(version).map(|known| known.unknown);
        known.or_else(|| self.cell(version).map(unknown)).unwrap_or(0)
    }

    /// Slow exposures of a version: (certainly, possibly).
    pub(crate) fn slow(&self, version: usize, threshold: Threshold) -> (u64, u64) {
        let known = self.slow.get(version).and_then(|known| known.at.iter().find(|(at, _)| *at == threshold));
        let found = known.map(|(_, found)| *found).or_else(|| self.cell(version).map(|cell| slow(cell, threshold)));
        found.map_or((0, 0), |found| (found.certain, found.possible))
    }
}

/// Shares of slow exposures are compared as they are: the room that a latency guardrail gives is in its thresholds.
const EQUAL: f64 = 1.0;

/// The processes of one gate of one version.
#[derive(Debug, Clone)]
enum Process {
    /// Card D on bad events.
    Errors { limit: f64, broken: Tilted, met: Tilted },
    /// Card D on slow exposures.
    Slow { limit: f64, threshold: Threshold, broken: Tilted, met: Tilted },
    /// Card A on bad events.
    Ratio { ratio: f64, violated: Tilted, met: Tilted },
    /// Card B.
    Margin { violated: Box<Margin>, met: Box<Margin> },
    /// Card C: card A on slow exposures, once per latency of the grid.
    Dominance { ratio: f64, deadline_us: f64, violated: Vec<Tilted>, met: Vec<Tilted> },
    /// Card F on bad events.
    FirstBad { ratio: f64, violated: Tilted, met: Tilted },
    /// Card F on slow exposures; the ratio is in the thresholds that the filters were given.
    FirstSlow { violated: Tilted, met: Tilted },
    /// No evidence is valid.
    Uncovered(Uncovered),
}

/// Why there is no evidence on a gate where users are the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uncovered {
    /// It is an objective.
    Objective,
    /// It is a guardrail with a margin.
    Margin,
    /// It is not the first guardrail on latency.
    SecondLatency,
}

/// The method by which a gate is judged: a card of the project's method cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Absolute,
    Ratio,
    Margin,
    Dominance,
    FirstEvents,
}

/// What a gate's processes say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) covered: Result<Method, Uncovered>,
    pub(crate) log_e_violated: f64,
    pub(crate) log_e_met: f64,
}

/// All evidence that is a left fold over epochs.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    /// Per version, its gates.
    gates: Vec<Vec<Process>>,
    /// E(b > k) at k·versions + b, for binary rewards; empty without.
    better: Vec<Comparison>,
    versions: usize,
    sample_ratio: Option<SampleRatio>,
    /// The baseline's latencies, where guardrails ask for its quantiles.
    baseline: Latencies,
}

#[derive(Debug, Clone)]
enum Comparison {
    Never,
    Requests(Better),
    Units(Tilted),
}

impl Fold {
    /// Nothing folded yet.
    pub(crate) fn new(experiment: &Experiment) -> Self {
        let versions = experiment.versions.len();
        let requests = experiment.requests_are_units();
        let binary = experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Binary);
        let maximize = experiment.reward.as_ref().is_none_or(|reward| reward.direction == Direction::Maximize);
        let compared = |at: usize| match (at / versions == at % versions, requests) {
            (true, _) => Comparison::Never,
            (false, true) => Comparison::Requests(Better::default()),
            (false, false) => {
                let claim = if maximize { Claim::Violated } else { Claim::Met };
                // Best is claimed of the whole experiment, so without restarts.
                Comparison::Units(match claim {
                    Claim::Violated => Tilted::violated_plain(effects()),
                    Claim::Met => Tilted::new(Claim::Met, effects()),
                })
            }
        };
        Self {
            gates: (0..versions).map(|version| processes(experiment, version)).collect(),
            better: if binary { (0..versions * versions).map(compared).collect() } else { Vec::new() },
            versions,
            sample_ratio: requests.then(|| SampleRatio::new(versions)),
            baseline: Latencies::default(),
        }
    }

    /// Adds the next epoch.
    pub(crate) fn push<C: Cell>(&mut self, experiment: &Experiment, units: &[PairUnits], stretch: &Stretch<'_, C>) {
        let baseline = experiment.baseline;
        if let Some(cell) = stretch.cell(baseline).filter(|_| !experiment.guardrails.is_empty()) {
            self.baseline.add(cell);
        }
        for (version, gates) in self.gates.iter_mut().enumerate() {
            for process in gates {
                process.push(stretch, baseline, version, pair_of(units, baseline, version).map(|(pair, _)| pair));
            }
        }
        let Some(direction) = experiment.reward.as_ref().map(|reward| reward.direction) else {
            self.push_shares(stretch);
            return;
        };
        for (at, comparison) in self.better.iter_mut().enumerate() {
            let (k, b) = (at / self.versions, at % self.versions);
            match comparison {
                Comparison::Never => {}
                Comparison::Requests(process) => process.push(&reward_epoch(stretch, direction, k, b)),
                Comparison::Units(process) => {
                    let Some(first) = first_rewards(units, k, b, stretch.epoch.epoch) else { continue };
                    let (of_b, all) = match direction {
                        Direction::Maximize => first.for_more(),
                        Direction::Minimize => first.for_fewer(),
                    };
                    if let Some(theta) = compare::owner(1.0, stretch.propensity(k), stretch.propensity(b)) {
                        process.push(of_b, all, theta);
                    }
                }
            }
        }
        self.push_shares(stretch);
    }

    fn push_shares<C: Cell>(&mut self, stretch: &Stretch<'_, C>) {
        if let Some(sample_ratio) = &mut self.sample_ratio {
            let shares: Vec<(f64, u64)> = (0..self.versions)
                .map(|version| (stretch.propensity(version), stretch.tally(version).assigned))
                .collect();
            sample_ratio.push(&shares);
        }
    }

    /// The baseline's latencies; none without guardrails.
    pub(crate) fn baseline_latencies(&self) -> &Latencies {
        &self.baseline
    }

    /// Per version, what its gates say.
    pub(crate) fn gates(&self) -> Vec<Vec<Said>> {
        self.gates.iter().map(|gates| gates.iter().map(Process::said).collect()).collect()
    }

    /// ln E(b > k) for a binary reward; `None` without one.
    pub(crate) fn log_e_better(&self, b: usize, k: usize) -> Option<f64> {
        match self.better.get(k * self.versions + b)? {
            Comparison::Never => None,
            Comparison::Requests(process) => Some(process.log_e()),
            Comparison::Units(process) => Some(process.log_e()),
        }
    }

    /// ln of the e-value that exposures do not follow the weights (card E); `None` where that cannot be tested.
    pub(crate) fn log_e_sample_ratio(&self) -> Option<f64> {
        self.sample_ratio.as_ref().map(SampleRatio::log_e)
    }
}

/// The processes of a version's gates: the objectives, then, for a candidate, the guardrails.
fn processes(experiment: &Experiment, version: usize) -> Vec<Process> {
    let requests = experiment.requests_are_units();
    let broken = || Tilted::new(Claim::Violated, tilts());
    let met = || Tilted::new(Claim::Met, tilts());
    // Without restarts: buckets of the version that fails more are used up sooner, so that late first events are mostly the other's,
    // and a restart that sees only these would blame it. A closed bucket could not show a late fault anyway.
    let first = || Tilted::violated_plain(tilts());
    let objectives = experiment.objectives.iter().map(|objective| match objective.limit {
        _ if !requests => Process::Uncovered(Uncovered::Objective),
        Limit::ErrorRate { max } => Process::Errors { limit: max, broken: broken(), met: met() },
        Limit::Latency { quantile, max_us } => {
            Process::Slow { limit: 1.0 - quantile, threshold: Threshold::Above(max_us), broken: broken(), met: met() }
        }
    });
    let mut latency_seen = false;
    let guardrails = experiment.guardrails.iter().filter(|_| version != experiment.baseline).map(|guardrail| {
        match guardrail.bound {
            Bound::ErrorRate { ratio, margin } if margin > 0.0 => {
                if !requests {
                    return Process::Uncovered(Uncovered::Margin);
                }
                match (Margin::new(Claim::Violated, ratio, margin), Margin::new(Claim::Met, ratio, margin)) {
                    (Some(violated), Some(met)) => Process::Margin { violated: Box::new(violated), met: Box::new(met) },
                    // A document cannot say this; an analysis of somebody's own struct could.
                    _ => Process::Uncovered(Uncovered::Margin),
                }
            }
            Bound::ErrorRate { ratio, .. } if requests => Process::Ratio { ratio, violated: broken(), met: met() },
            Bound::ErrorRate { ratio, .. } => Process::FirstBad { ratio, violated: first(), met: met() },
            Bound::Latency { ratio } if requests => {
                let each = LATENCY_QUANTILES;
                #[expect(clippy::cast_precision_loss, reason = "at most an hour of milliseconds")]
                let deadline_us = experiment.deadline_ms as f64 * 1_000.0;
                Process::Dominance {
                    ratio,
                    deadline_us,
                    violated: each.iter().map(|_| broken()).collect(),
                    met: each.iter().map(|_| met()).collect(),
                }
            }
            Bound::Latency { .. } => {
                if std::mem::replace(&mut latency_seen, true) {
                    return Process::Uncovered(Uncovered::SecondLatency);
                }
                Process::FirstSlow { violated: first(), met: met() }
            }
        }
    });
    objectives.chain(guardrails).collect()
}

impl Process {
    fn push<C: Cell>(&mut self, stretch: &Stretch<'_, C>, baseline: usize, version: usize, units: Option<&PairUnits>) {
        let tally = stretch.tally(version);
        let epoch = stretch.epoch;
        let theta = |ratio: f64| compare::owner(ratio, stretch.propensity(baseline), stretch.propensity(version));
        let pair = |baseline_events: u64, candidate_events: u64| PairEpoch {
            baseline_propensity: stretch.propensity(baseline),
            candidate_propensity: stretch.propensity(version),
            baseline_events,
            candidate_events,
        };
        // Latencies that were not chosen for this service may lie where versions cannot differ: they prove no equality.
        let chosen = epoch.latency_grid != FIRST_LATENCY_GRID;
        match self {
            Self::Errors { limit, broken, met } => {
                broken.push(tally.bad(), tally.assigned, *limit);
                met.push(tally.bad(), tally.assigned, *limit);
            }
            Self::Slow { limit, threshold, broken, met } => {
                let (certain, possible) = stretch.slow(version, *threshold);
                broken.push(certain, tally.assigned, *limit);
                met.push(possible, tally.assigned, *limit);
            }
            Self::Ratio { ratio, violated, met } => {
                let events = pair(stretch.tally(baseline).bad(), tally.bad());
                compare::push(violated, &events, *ratio);
                compare::push(met, &events, *ratio);
            }
            Self::Margin { violated, met } => {
                let of_baseline = stretch.tally(baseline);
                let counts = MarginEpoch {
                    baseline_propensity: stretch.propensity(baseline),
                    candidate_propensity: stretch.propensity(version),
                    exposures: of_baseline.assigned.saturating_add(tally.assigned),
                    baseline_bad: of_baseline.bad(),
                    candidate_bad: tally.bad(),
                };
                violated.push(&counts);
                met.push(&counts);
            }
            Self::Dominance { ratio, deadline_us, violated, met } => {
                // Epochs in which the pair cannot be compared are skipped, by their weights alone.
                let Some(shared) = theta(EQUAL).map(|theta| Shared::new(tilts(), theta)) else { return };
                for ((violated, met), limit) in violated.iter_mut().zip(met).zip(&epoch.latency_grid) {
                    #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
                    let limit = *limit as f64;
                    // Beyond the deadline it is not seen who is slower: what is overdue may be within the limit.
                    if limit * *ratio > *deadline_us {
                        continue;
                    }
                    let of_baseline = stretch.slow(baseline, stretch.compared_at(limit));
                    let of_candidate = stretch.slow(version, stretch.compared_at(limit * *ratio));
                    // A bucket never helps a claim: what is in doubt counts against it.
                    violated.push_shared(of_candidate.0, of_candidate.0.saturating_add(of_baseline.1), &shared);
                    if chosen {
                        met.push_shared(of_candidate.1, of_candidate.1.saturating_add(of_baseline.0), &shared);
                    }
                }
            }
            Self::FirstBad { ratio, violated, met } => {
                let Some(pair) = units.filter(|pair| counts_in(pair, epoch.epoch)) else { return };
                if let Some(theta) = theta(*ratio) {
                    push_first(violated, met, first_events(pair.bad.as_ref(), epoch.epoch), theta);
                }
            }
            Self::FirstSlow { violated, met } => {
                let Some(pair) = units.filter(|pair| counts_in(pair, epoch.epoch)) else { return };
                let first = first_events(pair.slow.as_ref(), epoch.epoch);
                if let Some(theta) = theta(1.0) {
                    let ((more, all), (fewer, _)) = (first.for_more(), first.for_fewer());
                    violated.push(more, all, theta);
                    if chosen {
                        met.push(fewer, all, theta);
                    }
                }
            }
            Self::Uncovered(_) => {}
        }
    }

    fn said(&self) -> Said {
        let said = |method, log_e_violated: f64, log_e_met: f64| Said {
            covered: Ok(method),
            log_e_violated: finite(log_e_violated),
            log_e_met: finite(log_e_met),
        };
        match self {
            Self::Errors { broken, met, .. } | Self::Slow { broken, met, .. } => {
                said(Method::Absolute, broken.log_e(), met.log_e())
            }
            Self::Ratio { violated, met, .. } => said(Method::Ratio, violated.log_e(), met.log_e()),
            Self::Margin { violated, met } => said(Method::Margin, violated.log_e(), met.log_e()),
            Self::Dominance { violated, met, .. } => said(
                Method::Dominance,
                crate::gates::log_mean(violated.iter().map(Tilted::log_e)),
                // Slower at *any* latency is the hypothesis to refute: each at which there was a comparison must be refuted.
                met.iter().filter(|met| met.epochs() > 0).map(Tilted::log_e).reduce(f64::min).unwrap_or(0.0),
            ),
            Self::FirstBad { violated, met, .. } | Self::FirstSlow { violated, met, .. } => {
                said(Method::FirstEvents, violated.log_e(), met.log_e())
            }
            Self::Uncovered(why) => Said { covered: Err(*why), log_e_violated: 0.0, log_e_met: 0.0 },
        }
    }
}

/// ln E for JSON, which knows no infinity: e^±10³⁰⁸ is as certain.
pub(crate) fn finite(log_e: f64) -> f64 {
    if log_e.is_nan() { 0.0 } else { log_e.clamp(f64::MIN, f64::MAX) }
}

fn push_first(violated: &mut Tilted, met: &mut Tilted, first: FirstEvents, theta: f64) {
    let ((more, all), (fewer, _)) = (first.for_more(), first.for_fewer());
    violated.push(more, all, theta);
    met.push(fewer, all, theta);
}

fn first_events(closing: Option<&Closing>, epoch: u32) -> FirstEvents {
    closing.map(|closing| closing.first_events(epoch)).unwrap_or_default()
}

/// The pair of two versions, and whether `a` is its first.
fn pair_of(units: &[PairUnits], a: usize, b: usize) -> Option<(&PairUnits, bool)> {
    units.iter().find_map(|pair| match (pair.a, pair.b) {
        found if found == (a, b) => Some((pair, true)),
        found if found == (b, a) => Some((pair, false)),
        _ => None,
    })
}

/// Whether first events of an epoch still count for a pair.
fn counts_in(pair: &PairUnits, epoch: u32) -> bool {
    pair.until.is_none_or(|until| epoch < until)
}

/// First rewards of `b` against `k`, with `b` as the candidate; `None` where they do not count.
fn first_rewards(units: &[PairUnits], k: usize, b: usize, epoch: u32) -> Option<FirstEvents> {
    let (pair, in_order) = pair_of(units, k, b).filter(|(pair, _)| counts_in(pair, epoch))?;
    let first = first_events(pair.rewarded.as_ref(), epoch);
    Some(if in_order {
        first
    } else {
        FirstEvents { baseline: first.candidate, candidate: first.baseline, ties: first.ties }
    })
}

fn reward_epoch<C: Cell>(stretch: &Stretch<'_, C>, direction: Direction, a: usize, b: usize) -> RewardEpoch {
    let arm = |version: usize| {
        let tally = stretch.tally(version);
        // Less is better: the event is then the absence of the reward.
        let rewarded = match direction {
            Direction::Maximize => tally.rewarded,
            Direction::Minimize => tally.assigned.saturating_sub(tally.rewarded),
        };
        Arm { propensity: stretch.propensity(version), exposures: tally.assigned, rewarded }
    };
    let centre = match direction {
        Direction::Maximize => stretch.epoch.centre,
        Direction::Minimize => 1.0 - stretch.epoch.centre,
    };
    RewardEpoch { centre, a: arm(a), b: arm(b) }
}

/// Evidence about rewards that are amounts (card H): which of two earns more.
#[derive(Debug, Clone, Default)]
pub(crate) struct RealRewards {
    /// (a, b, the pair's difference b − a, its frozen variance if it has one), for a < b.
    pairs: Vec<(usize, usize, Option<Difference>, Option<f64>)>,
    sign: f64,
    alpha: f64,
}

impl RealRewards {
    /// Of the pairs of versions; empty unless rewards are amounts and each request is its own unit.
    pub(crate) fn of<C: Cell>(experiment: &Experiment, state: &State, stretches: &[Stretch<'_, C>]) -> Self {
        let Some(reward) = experiment.reward.as_ref().filter(|reward| reward.kind == RewardKind::Real) else {
            return Self::default();
        };
        if !experiment.requests_are_units() {
            return Self::default();
        }
        let versions = 0..experiment.versions.len();
        let ordered = versions.clone().flat_map(|a| versions.clone().map(move |b| (a, b))).filter(|(a, b)| a < b);
        let amounts = |stretch: &Stretch<'_, C>, version: usize| {
            let (tally, reward) = (stretch.tally(version), stretch.cell(version).map(Cell::reward).unwrap_or_default());
            Amounts {
                propensity: stretch.propensity(version),
                exposures: tally.assigned,
                rewarded: tally.rewarded,
                sum: reward.sum,
                squares: reward.squares,
            }
        };
        let pairs = ordered.map(|(a, b)| {
            let epochs: Vec<AmountEpoch> = stretches
                .iter()
                .map(|stretch| AmountEpoch { a: amounts(stretch, a), b: amounts(stretch, b) })
                .collect();
            let frozen = state.frozen.iter().find(|frozen| (frozen.a, frozen.b) == (a, b));
            (a, b, difference(&epochs), frozen.map(|frozen| frozen.variance))
        });
        Self {
            pairs: pairs.collect(),
            sign: if reward.direction == Direction::Maximize { 1.0 } else { -1.0 },
            alpha: experiment.alpha.promotion,
        }
    }

    /// ln E(b > k); `None` where rewards are no amounts, 0 before the pair has enough of them.
    pub(crate) fn log_e_better(&self, b: usize, k: usize) -> Option<f64> {
        let (first, _, difference, frozen) = self.pairs.iter().find(|(x, y, ..)| (*x, *y) == (k.min(b), k.max(b)))?;
        let (Some(difference), Some(frozen)) = (difference, frozen) else { return Some(0.0) };
        let sign = if *first == k { self.sign } else { -self.sign };
        let oriented = Difference { mean: sign * difference.mean, ..*difference };
        Some(finite(oriented.log_e_better(*frozen, self.alpha)))
    }

    /// The asymptotic confidence sequence of b − k.
    pub(crate) fn interval(&self, b: usize, k: usize, alpha: f64) -> Option<(f64, f64)> {
        let (first, _, difference, frozen) = self.pairs.iter().find(|(x, y, ..)| (*x, *y) == (k.min(b), k.max(b)))?;
        let (low, high) = (*difference)?.interval((*frozen)?, alpha)?;
        Some(if *first == k { (low, high) } else { (-high, -low) })
    }

    /// The variances to freeze from now on: those frozen already, and those of pairs that now have enough.
    pub(crate) fn frozen(&self) -> Vec<Frozen> {
        let known = self.pairs.iter().filter_map(|(a, b, difference, frozen)| {
            let variance = frozen.or_else(|| difference.as_ref().map(|difference| difference.variance))?;
            Some(Frozen { a: *a, b: *b, variance })
        });
        known.collect()
    }
}
