//! One epoch as evidence uses it, with its slow exposures counted once.

use crate::cells::{Cell, Edge, Slow, Tally, Threshold, slow, slow_at_each, unknown};
use crate::spec::{Bound, Experiment, Limit};
use crate::state::{Epoch, EpochCounts, LATENCY_QUANTILES};
use std::sync::Arc;

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
