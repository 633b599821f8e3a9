//! The curves behind an assessment's numbers, for pictures: the density of each belief, and the latencies that were counted. Decides
//! nothing, and nothing is decided on it.

use crate::assess::believe;
use crate::cells::Cell;
use crate::metrics::MetricName;
use crate::spec::{Experiment, RewardKind};
use crate::state::{Observations, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_stats::belief::Posterior;

/// Points of a curve: more than a phone has columns for it.
const POINTS: u32 = 96;
/// Mass of a belief that its curve covers. The rest would be a line along the axis.
const MASS: f64 = 0.998;
/// A bin of latencies is an eighth of an octave of microseconds: narrow enough to show two peaks, wide enough to be no noise.
const BINS_PER_OCTAVE_BITS: u32 = 3;

/// One version's curves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distributions {
    /// Its name.
    pub version: String,
    /// What is believed of each metric; absent where nothing was counted yet, or too little for a belief.
    pub beliefs: Vec<Density>,
    /// The latencies of all settled exposures that were served, ascending. Bins that nothing is in are left out.
    pub latencies: Vec<LatencyBin>,
}

/// The density of a belief.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Density {
    /// Of what. Latencies are in milliseconds, rates are fractions, rewards are in their own unit.
    pub metric: MetricName,
    /// Where, ascending, and how dense: the area under the curve is the mass it covers, nearly all.
    pub points: Vec<(f64, f64)>,
}

/// How many latencies lie in `[lower, upper)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBin {
    /// Milliseconds.
    pub lower_ms: f64,
    /// Milliseconds; absent where there is no upper edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_ms: Option<f64>,
    /// How many.
    pub count: u64,
}

/// Every version's curves, in the experiment's order.
#[must_use]
pub fn distributions<C: Cell>(
    experiment: &Experiment,
    state: &State,
    observations: &Observations<C>,
) -> Vec<Distributions> {
    let beliefs = believe(experiment, state, observations);
    let reward = experiment.reward.as_ref().map(|reward| match reward.kind {
        RewardKind::Binary => MetricName::RewardRate,
        RewardKind::Real => MetricName::RewardMean,
    });
    let of = |(version, named): (usize, &crate::spec::Version)| {
        let counted = cells(observations, version).any(|cell| cell.tally().assigned > 0);
        // Before anything is counted a belief is the prior, which says nothing of the version.
        let errors = beliefs.errors.get(version).filter(|_| counted).map(|beta| Posterior::from(*beta));
        let latency = beliefs.latencies.get(version).copied().flatten();
        let rewards = beliefs.rewards.get(version).copied().flatten().filter(|_| counted);
        let believed = [
            errors.map(|belief| density(MetricName::ErrorRate, &belief, 1.0)),
            latency.map(|belief| density(MetricName::LatencyMean, &belief, 1_000.0)),
            reward.zip(rewards).map(|(metric, belief)| density(metric, &belief, 1.0)),
        ];
        Distributions {
            version: named.name.clone(),
            beliefs: believed.into_iter().flatten().filter(|density| !density.points.is_empty()).collect(),
            latencies: latencies(cells(observations, version)),
        }
    };
    experiment.versions.iter().enumerate().map(of).collect()
}

fn cells<C: Cell>(observations: &Observations<C>, version: usize) -> impl Iterator<Item = &C> {
    observations.epochs.values().filter_map(move |epoch| epoch.settled.get(version))
}

/// A belief's curve; what it is about is shown `scale` times as large.
fn density(metric: MetricName, belief: &Posterior, scale: f64) -> Density {
    let (low, high) = belief.interval(MASS);
    let at = |step: u32| low + (high - low) * f64::from(step) / f64::from(POINTS - 1);
    let dense = |x: f64| match belief {
        Posterior::Rate(beta) => beta.pdf(x),
        Posterior::Mean(student) => student.pdf(x),
    };
    let points = (0..POINTS).map(|step| (at(step) * scale, dense(at(step)) / scale));
    // A belief that is a single value has no curve.
    let points = points.filter(|(x, density)| low < high && x.is_finite() && density.is_finite());
    Density { metric, points: points.collect() }
}

fn latencies<'c, C: Cell + 'c>(cells: impl Iterator<Item = &'c C>) -> Vec<LatencyBin> {
    let mut bins: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for span in cells.flat_map(Cell::latencies) {
        let shift = span.lower.checked_ilog2().unwrap_or(0).saturating_sub(BINS_PER_OCTAVE_BITS);
        let lower = (span.lower >> shift) << shift;
        let upper = if span.upper == u64::MAX { u64::MAX } else { span.upper.max(lower + (1 << shift)) };
        let (edge, count) = bins.entry(lower).or_insert((upper, 0));
        *edge = (*edge).max(upper);
        *count = count.saturating_add(span.count);
    }
    #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
    let ms = |us: u64| us as f64 / 1_000.0;
    let bin = |(lower, (upper, count)): (u64, (u64, u64))| LatencyBin {
        lower_ms: ms(lower),
        upper_ms: (upper != u64::MAX).then(|| ms(upper)),
        count,
    };
    bins.into_iter().filter(|(_, (_, count))| *count > 0).map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::histogram::Histogram;
    use weir_core::report::Counts;
    use weir_stats::beta::Beta;
    use weir_stats::student::Student;

    fn area(density: &Density) -> f64 {
        density.points.windows(2).map(|p| (p[1].0 - p[0].0) * f64::midpoint(p[0].1, p[1].1)).sum()
    }

    #[test]
    fn the_area_under_a_curve_is_the_mass_that_it_covers() {
        let rate = density(MetricName::ErrorRate, &Beta::new(12.5, 2_000.5).unwrap().into(), 1.0);
        let mean = density(MetricName::LatencyMean, &Student::new(0.080, 0.002, 120.0).unwrap().into(), 1_000.0);
        for curve in [&rate, &mean] {
            assert_eq!(curve.points.len(), 96);
            assert!(curve.points.is_sorted_by(|a, b| a.0 < b.0));
            assert!((area(curve) - MASS).abs() < 2e-3, "{}", area(curve));
        }
        assert!(mean.points[0].0 > 70.0 && mean.points[95].0 < 90.0, "milliseconds: {:?}", mean.points);
    }

    #[test]
    fn bins_keep_every_latency_and_each_lies_in_its_own() {
        let mut histogram = Histogram::default();
        let micros = [0_u64, 7, 63, 64, 65, 999, 18_500, 18_700, 250_000, 4_000_000_000];
        micros.iter().for_each(|us| histogram.record(*us));
        let counts = Counts { assigned: 10, completed: 10, latency: histogram, ..Counts::default() };
        let bins = latencies([&counts, &counts].into_iter());
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 20);
        assert!(bins.is_sorted_by(|a, b| a.upper_ms.is_some_and(|upper| upper <= b.lower_ms)), "{bins:?}");
        for us in micros {
            let ms = (us as f64 / 1_000.0).min(3_600_000.0);
            let holds = |bin: &&LatencyBin| bin.lower_ms <= ms && bin.upper_ms.is_none_or(|upper| ms < upper);
            assert_eq!(bins.iter().filter(holds).count(), 1, "{ms} ms in {bins:?}");
        }
        assert!(bins.last().unwrap().upper_ms.is_none(), "an hour and more has no upper edge");
    }
}
