//! Evidence about rewards that are amounts (card H): asymptotic, and of all epochs at once.

use super::{Stretch, finite};
use crate::cells::Cell;
use crate::spec::{Direction, Experiment, RewardKind};
use crate::state::{Frozen, State};
use weir_stats::amount::{AmountEpoch, Amounts, Difference, difference};

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
