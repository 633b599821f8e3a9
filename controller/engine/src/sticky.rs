//! Evidence where users are the unit (card F): which pairs are compared by first events per unit bucket, and the looks that
//! close buckets. Requests of one user are alike, so counts of requests prove nothing about users.

use crate::cells::{Cell, FirstUnits, UnitBuckets};
use crate::spec::{Bound, Experiment, RewardKind};
use crate::state::{Epoch, Observations, PairUnits, State, UNIT_LATENCY};
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
            PairUnits { a, b, bad: open(guarded && errors), slow: open(guarded && slow), rewarded: open(rewarded) }
        })
        .filter(|pair| pair.bad.is_some() || pair.slow.is_some() || pair.rewarded.is_some())
        .collect()
}

/// One kind of events of the buckets.
type Kind = for<'a> fn(UnitBuckets<'a>) -> &'a [u16];
/// The same of units that somebody counted already.
type Counted = fn(FirstUnits) -> u64;

/// Looks at what has settled: every open bucket with an event closes for good.
pub(crate) fn look<C: Cell>(state: &State, epochs: &[&Epoch], observations: &Observations<C>) -> Vec<PairUnits> {
    let mut units = state.units.clone();
    for pair in &mut units {
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
    units
}

/// From which latency on, in microseconds, an exposure of a version is slow for its unit bucket; `None` where nobody asks.
pub(crate) fn slow_us(experiment: &Experiment, epoch: &Epoch, version: usize) -> Option<u64> {
    let ratio = experiment.unit_latency_ratio()?;
    let limit = epoch.latency_grid.get(UNIT_LATENCY).copied()?;
    if version == experiment.baseline {
        return Some(limit);
    }
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
    Some((limit as f64 * ratio).ceil().clamp(1.0, SLOWEST) as u64)
}

/// One hour: the largest latency that histograms tell apart.
const SLOWEST: f64 = 3.6e9;
