//! Each version's metrics for people: observed, believed, and compared with every other version. Says nothing about verdicts.

use crate::beliefs::Beliefs;
use crate::cells::Tally;
use crate::evidence::{Fold, RealRewards};
use crate::spec::{Direction, Experiment, RewardKind};
use serde::{Deserialize, Serialize};
use weir_stats::belief::{self, Compared, Posterior, Profile};
use weir_stats::compare::{self, PairEpoch};
use weir_stats::kernel::{effects, tilts};
use weir_stats::quantile::{self, Bucket};
use weir_stats::rate;

/// Mass of the intervals that people are shown, and confidence of the sequences.
pub(crate) const INTERVAL: f64 = 0.95;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricName {
    /// Bad events per exposure.
    ErrorRate,
    /// Mean latency of what did not fail, milliseconds.
    LatencyMean,
    /// Its median, milliseconds.
    LatencyP50,
    /// Its 99th percentile, milliseconds.
    LatencyP99,
    /// Rewarded exposures per exposure.
    RewardRate,
    /// Mean reward per opportunity, in the reward's own unit.
    RewardMean,
}

/// A range; an end that is absent is unbounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// Lower end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl Interval {
    fn new((low, high): (f64, f64)) -> Self {
        let end = |x: f64| x.is_finite().then_some(x);
        Self { low: end(low), high: end(high) }
    }
}

/// One metric of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// What is measured.
    pub name: MetricName,
    /// Which way is better.
    pub direction: Direction,
    /// How many exposures it stands on: those that could show it. Of a reward by a later request: those that were given a token.
    pub exposures: u64,
    /// As counted, over all those exposures. A quantile of what was counted in buckets is an estimate: as if those of its bucket lay evenly
    /// in it.
    pub observed: f64,
    /// Whether it is that or more: a quantile in a bucket that has no upper edge.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed_or_more: bool,
    /// Belief: the central 95% interval, standardised over epochs. For a quantile: order-statistic bounds among the epochs
    /// whose weights had the most exposures.
    pub belief: Option<Interval>,
    /// The 95% confidence sequence: holds the value at all looks, if it is constant. Rates only, and only where each request
    /// is its own unit.
    pub sequence: Option<Interval>,
    /// With every other version.
    pub comparisons: Vec<Comparison>,
}

/// One version's metric beside another's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The other version.
    pub with: String,
    /// Belief: probability that this one's is better.
    pub probability_better: Option<f64>,
    /// Belief: 95% interval of (this − other)/other.
    pub lift: Option<Interval>,
    /// Belief: 95% interval of this − other.
    pub difference: Option<Interval>,
    /// 95% confidence sequence of the ratio this/other, of rates compared with the baseline.
    pub ratio_sequence: Option<Interval>,
    /// 95% asymptotic confidence sequence of this − other, of rewards that are amounts.
    pub difference_sequence: Option<Interval>,
    /// Evidence: natural log of the e-value that this one's reward is better.
    pub log_e_better: Option<f64>,
}

/// What the tables are made from.
pub(crate) struct Sources<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) tallies: &'a [Tally],
    /// Per version: mean latency in seconds and how many it stands on.
    pub(crate) latencies: &'a [(f64, u64)],
    /// Per version: sum of rewards.
    pub(crate) rewards: &'a [f64],
    /// Whether failures were counted: without, there is no error rate to show, and it is not zero.
    pub(crate) failures_counted: bool,
    pub(crate) beliefs: &'a Beliefs,
    pub(crate) fold: &'a Fold,
    pub(crate) real: &'a RealRewards,
    /// Per epoch, the propensities and tallies.
    pub(crate) epochs: &'a [Vec<(f64, Tally)>],
}

/// Per version, its metrics.
pub(crate) fn of(sources: &Sources<'_>) -> Vec<Vec<Metric>> {
    let versions = sources.experiment.versions.len();
    let mut metrics = vec![Vec::new(); versions];
    let errors: Vec<Option<Posterior>> = sources.beliefs.errors.iter().map(|beta| Some((*beta).into())).collect();
    if sources.failures_counted {
        rates(
            sources,
            MetricName::ErrorRate,
            Direction::Minimize,
            &errors,
            |tally| (tally.bad(), tally.assigned),
            &mut metrics,
        );
    }
    latencies(sources, &mut metrics);
    if let Some(reward) = &sources.experiment.reward {
        match reward.kind {
            RewardKind::Binary => rates(
                sources,
                MetricName::RewardRate,
                reward.direction,
                &sources.beliefs.rewards,
                |tally| (tally.rewarded, tally.opportunities()),
                &mut metrics,
            ),
            RewardKind::Real => amounts(sources, reward.direction, &mut metrics),
        }
    }
    metrics
}

#[expect(clippy::cast_precision_loss, reason = "ratios for people")]
fn rates(
    sources: &Sources<'_>,
    name: MetricName,
    direction: Direction,
    posteriors: &[Option<Posterior>],
    of: fn(&Tally) -> (u64, u64),
    metrics: &mut [Vec<Metric>],
) {
    let requests = sources.experiment.requests_are_units();
    // Where nothing was seen there is nothing but a prior, and that is no measurement.
    let posteriors: Vec<Option<Posterior>> = posteriors
        .iter()
        .zip(sources.tallies)
        .map(|(posterior, tally)| posterior.filter(|_| of(tally).1 > 0))
        .collect();
    let believed = believed(sources, &posteriors, direction, 1.0);
    let baseline = sources.experiment.baseline;
    // Each candidate against the baseline; the other way round is the same, turned over.
    let sequences: Vec<Option<(f64, f64)>> = (0..posteriors.len())
        .map(|version| {
            let epochs: Vec<PairEpoch> = sources
                .epochs
                .iter()
                .filter_map(|epoch| {
                    let ((w_a, a), (w_b, b)) = (epoch.get(baseline)?, epoch.get(version)?);
                    Some(PairEpoch {
                        baseline_propensity: *w_a,
                        candidate_propensity: *w_b,
                        baseline_events: of(a).0,
                        candidate_events: of(b).0,
                    })
                })
                .collect();
            let grid = if name == MetricName::ErrorRate { tilts() } else { effects() };
            let seen = |version: usize| sources.tallies.get(version).is_some_and(|tally| of(tally).1 > 0);
            (requests && version != baseline && seen(version) && seen(baseline))
                .then(|| compare::ratio_interval(&epochs, 1.0 - INTERVAL, grid))
        })
        .collect();
    for (version, comparisons) in believed.into_iter().enumerate() {
        let (Some(tally), Some(Some(posterior))) = (sources.tallies.get(version), posteriors.get(version)) else {
            continue;
        };
        let (events, exposures) = of(tally);
        let mut metric = Metric {
            name,
            direction,
            exposures,
            observed: events as f64 / exposures as f64,
            observed_or_more: false,
            belief: Some(Interval::new(posterior.interval(INTERVAL))),
            sequence: requests.then(|| Interval::new(rate::interval(events, exposures, 1.0 - INTERVAL))),
            comparisons,
        };
        for comparison in &mut metric.comparisons {
            let other = sources.experiment.versions.iter().position(|version| version.name == comparison.with);
            let Some(other) = other else { continue };
            let sequence = |version: usize| sequences.get(version).copied().flatten();
            comparison.ratio_sequence = if other == baseline {
                sequence(version).map(Interval::new)
            } else if version == baseline {
                sequence(other).map(|(low, high)| Interval::new((1.0 / high, 1.0 / low)))
            } else {
                None
            };
            if name == MetricName::RewardRate {
                comparison.log_e_better = sources.fold.log_e_better(version, other).map(crate::evidence::finite);
            }
        }
        if let Some(metrics) = metrics.get_mut(version) {
            metrics.push(metric);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ratios for people")]
fn amounts(sources: &Sources<'_>, direction: Direction, metrics: &mut [Vec<Metric>]) {
    let believed = believed(sources, &sources.beliefs.rewards, direction, 1.0);
    for (version, mut comparisons) in believed.into_iter().enumerate() {
        let (Some(tally), Some(sum)) = (sources.tallies.get(version), sources.rewards.get(version)) else { continue };
        let opportunities = tally.opportunities();
        if opportunities == 0 {
            continue;
        }
        for comparison in &mut comparisons {
            let other = sources.experiment.versions.iter().position(|version| version.name == comparison.with);
            let Some(other) = other else { continue };
            comparison.log_e_better = sources.real.log_e_better(version, other);
            comparison.difference_sequence = sources.real.interval(version, other, 1.0 - INTERVAL).map(Interval::new);
        }
        let posterior = sources.beliefs.rewards.get(version).copied().flatten();
        if let Some(metrics) = metrics.get_mut(version) {
            metrics.push(Metric {
                name: MetricName::RewardMean,
                direction,
                exposures: opportunities,
                observed: sum / opportunities as f64,
                observed_or_more: false,
                belief: posterior.map(|posterior| Interval::new(posterior.interval(INTERVAL))),
                sequence: None,
                comparisons,
            });
        }
    }
}

const MS: f64 = 1_000.0;

fn latencies(sources: &Sources<'_>, metrics: &mut [Vec<Metric>]) {
    let direction = Direction::Minimize;
    let believed = believed(sources, &sources.beliefs.latencies, direction, MS);
    let quantiles = [(MetricName::LatencyP50, 0.5), (MetricName::LatencyP99, 0.99)].map(|(name, q)| {
        // Two bounds that hold with 97.5% each hold together with 95%.
        let wide = |buckets: &Vec<Bucket>| quantile::quantile_bounds(buckets, q, 0.5 * (1.0 + INTERVAL));
        (name, q, sources.beliefs.stratum.buckets.iter().map(wide).collect::<Vec<_>>())
    });
    for (version, comparisons) in believed.into_iter().enumerate() {
        let (Some((mean, known)), Some(metrics)) = (sources.latencies.get(version), metrics.get_mut(version)) else {
            continue;
        };
        if *known > 0 && mean.is_finite() {
            let posterior = sources.beliefs.latencies.get(version).copied().flatten();
            metrics.push(Metric {
                name: MetricName::LatencyMean,
                direction,
                exposures: *known,
                observed: mean * MS,
                observed_or_more: false,
                belief: posterior.map(|posterior| {
                    let (low, high) = posterior.interval(INTERVAL);
                    Interval::new((low * MS, high * MS))
                }),
                sequence: None,
                comparisons,
            });
        }
        for (name, q, wide) in &quantiles {
            metrics.extend(quantile_metric(sources, *name, *q, wide, version));
        }
    }
}

/// `wide`: per version, bounds of its quantile for a comparison.
fn quantile_metric(
    sources: &Sources<'_>,
    name: MetricName,
    q: f64,
    wide: &[Option<(f64, f64)>],
    version: usize,
) -> Option<Metric> {
    let stratum = &sources.beliefs.stratum;
    let buckets = |version: usize| stratum.buckets.get(version).map_or(&[][..], Vec::as_slice);
    let wide = |version: usize| wide.get(version).copied().flatten();
    let estimate = quantile::quantile_estimate(buckets(version), q)?;
    let (_, upper) = quantile::quantile(buckets(version), q)?;
    let others = sources.experiment.versions.iter().enumerate().filter(|(other, _)| *other != version);
    let comparisons = others.map(|(other, with)| {
        let bounds = wide(version).zip(wide(other));
        Comparison {
            with: with.name.clone(),
            probability_better: None,
            lift: bounds.map(|((low, high), (other_low, other_high))| {
                Interval::new((low / other_high - 1.0, high / other_low - 1.0))
            }),
            difference: bounds.map(|((low, high), (other_low, other_high))| {
                Interval::new(((low - other_high) / MS, (high - other_low) / MS))
            }),
            ratio_sequence: None,
            difference_sequence: None,
            log_e_better: None,
        }
    });
    Some(Metric {
        name,
        direction: Direction::Minimize,
        exposures: stratum.counts.get(version).copied().unwrap_or(0),
        observed: estimate / MS,
        observed_or_more: upper.is_infinite(),
        belief: quantile::quantile_bounds(buckets(version), q, INTERVAL)
            .map(|(low, high)| Interval::new((low / MS, high / MS))),
        sequence: None,
        comparisons: comparisons.collect(),
    })
}

/// Per version, what is believed of it beside every other; differences times `scale`.
fn believed(
    sources: &Sources<'_>,
    posteriors: &[Option<Posterior>],
    direction: Direction,
    scale: f64,
) -> Vec<Vec<Comparison>> {
    let names: Vec<&str> = sources.experiment.versions.iter().map(|version| version.name.as_str()).collect();
    let mut out: Vec<Vec<Comparison>> = names
        .iter()
        .enumerate()
        .map(|(version, _)| {
            let others = names.iter().enumerate().filter(|(other, _)| *other != version);
            others.map(|(_, with)| nothing_known(with)).collect()
        })
        .collect();
    let profiles: Vec<Option<Profile>> = posteriors.iter().map(|posterior| posterior.map(Profile::new)).collect();
    for (a, of_a) in profiles.iter().enumerate() {
        for (b, of_b) in profiles.iter().enumerate().skip(a + 1) {
            let (Some(of_a), Some(of_b)) = (of_a, of_b) else { continue };
            let Compared { greater, lift, difference: (low, high) } = belief::compare(of_b, of_a, INTERVAL);
            let better = if direction == Direction::Maximize { greater } else { 1.0 - greater };
            let mut set = |version: usize, at: usize, better: f64, lift: Option<(f64, f64)>, ends: (f64, f64)| {
                if let Some(comparison) = out.get_mut(version).and_then(|list| list.get_mut(at)) {
                    comparison.probability_better = Some(better);
                    comparison.lift = lift.map(Interval::new);
                    comparison.difference = Some(Interval::new((ends.0 * scale, ends.1 * scale)));
                }
            };
            // Its own place is left out of each list.
            set(b, a, better, lift, (low, high));
            // 1 + lift turned over; a ratio that may be negative has no turned interval (its divisor may be zero).
            let turned = lift
                .filter(|(low, _)| *low >= -1.0)
                .map(|(low, high)| (1.0 / (1.0 + high) - 1.0, 1.0 / (1.0 + low) - 1.0));
            set(a, b - 1, 1.0 - better, turned, (-high, -low));
        }
    }
    out
}

fn nothing_known(with: &str) -> Comparison {
    Comparison {
        with: with.to_owned(),
        probability_better: None,
        lift: None,
        difference: None,
        ratio_sequence: None,
        difference_sequence: None,
        log_e_better: None,
    }
}
