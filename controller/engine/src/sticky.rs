//! Evidence where users are the unit (card F): which pairs are compared by first events per unit bucket, and the looks that
//! close buckets. Requests of one user are alike, so counts of requests prove nothing about users.

use crate::cells::{Cell, FirstUnits, UnitBuckets};
use crate::spec::{Bound, Experiment, RewardKind};
use crate::state::{Epoch, Observations, PairUnits, UNIT_LATENCY};
use weir_stats::units::{Closing, EpochBuckets, FirstEvents};

/// The pairs whose first events some evidence of this experiment is about; none where each request is its own unit.
pub(crate) fn pairs(experiment: &Experiment) -> Vec<PairUnits> {
    if experiment.requests_are_units() {
        return Vec::new();
    }
    let errors = experiment.guardrails.iter().any(|guardrail| matches!(guardrail.bound, Bound::ErrorRate { .. }));
    let slow = experiment.unit_latency_ratio().is_some();
    let rewarded = experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Binary);
    let open = |wanted: bool| wanted.then(Closing::default);
    let versions = 0..experiment.versions.len();
    let ordered = versions.clone().flat_map(|a| versions.clone().map(move |b| (a, b))).filter(|(a, b)| a < b);
    ordered
        .map(|(a, b)| if b == experiment.baseline { (b, a) } else { (a, b) })
        .map(|(a, b)| {
            let guarded = a == experiment.baseline;
            let (bad, slow) = (open(guarded && errors), open(guarded && slow));
            PairUnits { a, b, until: None, bad, slow, rewarded: open(rewarded) }
        })
        .filter(|pair| pair.bad.is_some() || pair.slow.is_some() || pair.rewarded.is_some())
        .collect()
}

/// One kind of events of the buckets.
type Kind = for<'a> fn(UnitBuckets<'a>) -> &'a [u16];
/// The same of units that somebody counted already.
type Counted = fn(FirstUnits) -> u64;

/// Looks at what has settled in these epochs: every open bucket with an event closes for good.
pub(crate) fn look<C: Cell>(units: &mut [PairUnits], epochs: &[&Epoch], observations: &Observations<C>) {
    for pair in units {
        let cell = |version: usize, epoch: &Epoch| {
            observations.epochs.get(&epoch.epoch).and_then(|counts| counts.settled.get(version))
        };
        let of = |version: usize, epoch: &Epoch, kind: Kind| {
            cell(version, epoch).map(|cell| kind(cell.unit_buckets())).unwrap_or_default()
        };
        let (a, b) = (pair.a, pair.b);
        let close = |closing: &mut Option<Closing>, kind: Kind, counted: Counted| {
            if let Some(closing) = closing {
                for epoch in epochs {
                    let [of_a, of_b] =
                        [a, b].map(|version| cell(version, epoch).and_then(Cell::first_units).map(counted));
                    if of_a.is_some() || of_b.is_some() {
                        let (baseline, candidate) = (of_a.unwrap_or(0), of_b.unwrap_or(0));
                        closing.set(epoch.epoch, FirstEvents { baseline, candidate, ties: 0 });
                    }
                }
                closing.look(epochs.iter().map(|epoch| EpochBuckets {
                    epoch: epoch.epoch,
                    baseline: of(a, epoch, kind),
                    candidate: of(b, epoch, kind),
                }));
            }
        };
        close(&mut pair.bad, |buckets| buckets.bad, |units| units.bad);
        close(&mut pair.slow, |buckets| buckets.slow, |units| units.slow);
        close(&mut pair.rewarded, |buckets| buckets.rewarded, |units| units.rewarded);
    }
}

/// By how much units of third versions have joined a pair in other shares than the weights of these two, with which it stands still
/// beyond a tolerance; with two versions that cannot be.
///
/// A bucket closes for a pair by events of the pair alone. Units that come from a third version are mostly without an event yet; if all
/// of them join one of the two, the next first events are that version's, however good it is. With weighted rendezvous hashing a unit
/// moves from i to j only if w_j/w_i rose, and who comes second does not depend on the winning score (an exponential race). So a change
/// of weights does no harm if w_a/w_b stays, or if neither w_a/w_c nor w_b/w_c rises for any third c that had units. It depends on
/// weights alone, so that stopping there chooses nothing by outcomes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joining {
    /// Epochs that were gone through.
    epochs: usize,
    moved: f64,
    /// The first epoch with more than is tolerated.
    until: Option<u32>,
}

impl Joining {
    /// Goes through the epochs that are new, and tells the pair since when it stands still.
    pub(crate) fn advance(&mut self, epochs: &[Epoch], pair: &mut PairUnits) {
        let begin = self.epochs.saturating_sub(1);
        for (before, after) in epochs.iter().zip(epochs.iter().skip(1)).skip(begin) {
            if self.until.is_some() {
                break;
            }
            self.moved += moved(before, after, pair.a, pair.b);
            self.until = (self.moved > RATIO_TOLERANCE).then_some(after.epoch);
        }
        self.epochs = epochs.len();
        pair.until = self.until;
    }
}

/// The change of the ratio of two weights, as a part of it, if units of a third version joined the two with it; else none.
fn moved(before: &Epoch, after: &Epoch, a: usize, b: usize) -> f64 {
    // Of an analysis they may be any 32 bits: products need more than 64.
    let weight = |epoch: &Epoch, version: usize| u128::from(epoch.weights.get(version).copied().unwrap_or(0));
    let ((a_before, b_before), (a_after, b_after)) =
        ((weight(before, a), weight(before, b)), (weight(after, a), weight(after, b)));
    let joins = |c: usize| {
        let (before, after) = (weight(before, c), weight(after, c));
        c != a && c != b && before > 0 && (a_after * before > a_before * after || b_after * before > b_before * after)
    };
    if !(0..before.weights.len()).any(joins) {
        return 0.0;
    }
    let (here, there) = (a_before * b_after, a_after * b_before);
    #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
    let part = here.abs_diff(there) as f64 / here.max(there).max(1) as f64;
    part
}

/// By how much a ratio of weights may change in all, as parts of it, while units of third versions join the pair: weights are whole
/// numbers, and what a version leaves behind seldom divides. Even with every bucket closed so small an excess shifts the first events
/// by less than a sixth of their standard deviation (½·√16,384·0.25%).
const RATIO_TOLERANCE: f64 = 0.002_5;

/// From which latency on, in microseconds, an exposure of a version is slow for its unit bucket; `None` where nobody asks.
pub(crate) fn slow_us(experiment: &Experiment, epoch: &Epoch, version: usize) -> Option<u64> {
    let ratio = experiment.unit_latency_ratio()?;
    let limit = epoch.latency_grid.get(UNIT_LATENCY).copied()?;
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    let of_candidates = (limit as f64 * ratio).ceil().clamp(1.0, SLOWEST) as u64;
    // Beyond the deadline nobody is seen to be slower: no version's units are called slow then.
    let limit = if version == experiment.baseline { limit } else { of_candidates };
    (of_candidates <= experiment.deadline_ms.saturating_mul(1_000)).then_some(limit)
}

/// One hour: the largest latency that histograms tell apart.
const SLOWEST: f64 = 3.6e9;

#[cfg(test)]
mod tests {
    use super::*;

    fn uneven_from(weights: &[[u32; 3]], a: usize, b: usize) -> Option<u32> {
        let epochs: Vec<Epoch> = (1..)
            .zip(weights)
            .map(|(epoch, weights)| Epoch {
                epoch,
                began_at: 0,
                weights: weights.to_vec(),
                centre: 0.5,
                latency_grid: Vec::new(),
            })
            .collect();
        let mut pair = PairUnits { a, b, until: None, bad: None, slow: None, rewarded: None };
        // Epoch by epoch, and all at once.
        let mut joining = Joining::default();
        (0..=epochs.len()).for_each(|known| joining.advance(&epochs[..known], &mut pair));
        let stepwise = pair.until;
        Joining::default().advance(&epochs, &mut pair);
        assert_eq!(pair.until, stepwise);
        pair.until
    }

    #[test]
    fn a_pair_counts_until_units_of_a_third_version_join_it_unevenly() {
        // A bandit gives what it takes from the third to one of the two.
        assert_eq!(uneven_from(&[[3_334, 3_333, 3_333], [3_334, 4_333, 2_333]], 0, 1), Some(2));
        // The third is rolled back, and its share goes to both in proportion, or to the baseline alone.
        assert_eq!(uneven_from(&[[3_334, 3_333, 3_333], [5_001, 4_999, 0]], 0, 1), None);
        assert_eq!(uneven_from(&[[8_000, 1_000, 1_000], [9_000, 1_000, 0]], 0, 1), Some(2));
        // Weights are relative, and may be large.
        let large = [[4_000_000_000, 3_999_999_999, 4_000_000_000], [3, 3, 4], [4_000_000_000, 3_999_999_999, 1]];
        assert_eq!(uneven_from(&large, 0, 1), None);
        assert_eq!(uneven_from(&[large[0], [4_000_000_000, 4_000_000, 1]], 0, 1), Some(2));
    }

    #[test]
    fn what_is_tolerated_is_tolerated_once_not_in_every_epoch() {
        // The second grows by a thousandth in each epoch, all of it from the third.
        let drift: Vec<[u32; 3]> =
            (0..20).map(|step| [3_000_000, 3_000_000 + 3_000 * step, 4_000_000 - 3_000 * step]).collect();
        assert_eq!(uneven_from(&drift, 0, 1), Some(4));
        assert_eq!(uneven_from(&drift[..3], 0, 1), None);
        // Two of whom one is small: what the third leaves does not divide, and is off by a quarter of a percent.
        assert_eq!(uneven_from(&[[5_000, 107, 4_893], [9_790, 210, 0]], 0, 1), None);
    }

    #[test]
    fn a_ladder_up_takes_units_from_the_baseline_only_and_two_versions_have_no_third() {
        let ladder = [[9_800, 100, 100], [9_000, 500, 500], [5_000, 2_500, 2_500]];
        assert_eq!(uneven_from(&ladder, 0, 1), None);
        assert_eq!(uneven_from(&ladder, 1, 2), None);
        assert_eq!(uneven_from(&[[9_900, 100, 0], [5_000, 5_000, 0], [9_900, 100, 0]], 0, 1), None);
    }
}
