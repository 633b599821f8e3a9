//! Counts in a journal: what was added, exactly. Integers, histograms and sets are written as what was added; sums of fractions as
//! they are now, since a sum of differences has other bits.

use super::Observed;
use crate::cells::Cell;
use crate::state::{EpochCounts, Observations};
use serde::{Deserialize, Serialize};
use weir_core::histogram::Histogram;
use weir_core::report::Counts;

/// Counts of one version in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellCounts {
    /// The epoch's number.
    pub epoch: u32,
    /// The version, by index.
    pub version: usize,
    /// The counts.
    pub counts: Counts,
}

/// What a cell has grown by; `None` if not at all. `before` is `None` where there was nothing.
#[must_use]
pub fn growth(epoch: u32, version: usize, before: Option<&Counts>, now: &Counts) -> Option<CellCounts> {
    let nothing = Counts::default();
    let before = before.unwrap_or(&nothing);
    if before == now {
        return None;
    }
    let histogram = |before: &Histogram, now: &Histogram| {
        let mut added = Histogram::default();
        for (bucket, count) in now.buckets() {
            let place = before.buckets().binary_search_by_key(bucket, |(bucket, _)| *bucket);
            let had = place.ok().and_then(|at| before.buckets().get(at)).map_or(0, |(_, count)| *count);
            if *count > had {
                added.add(*bucket, count.saturating_sub(had));
            }
        }
        added
    };
    let buckets = |before: &[u16], now: &[u16]| {
        now.iter().copied().filter(|bucket| before.binary_search(bucket).is_err()).collect::<Vec<u16>>()
    };
    let counts = Counts {
        assigned: now.assigned.saturating_sub(before.assigned),
        completed: now.completed.saturating_sub(before.completed),
        failed: now.failed.saturating_sub(before.failed),
        aborted: now.aborted.saturating_sub(before.aborted),
        latency: histogram(&before.latency, &now.latency),
        latency_sum: now.latency_sum,
        latency_sum_squares: now.latency_sum_squares,
        abort_age: histogram(&before.abort_age, &now.abort_age),
        rewarded: now.rewarded.saturating_sub(before.rewarded),
        reward_sum: now.reward_sum,
        reward_sum_squares: now.reward_sum_squares,
        new_units: now.new_units.saturating_sub(before.new_units),
        repeats: now.repeats.saturating_sub(before.repeats),
        failed_buckets: buckets(&before.failed_buckets, &now.failed_buckets),
        slow_buckets: buckets(&before.slow_buckets, &now.slow_buckets),
        rewarded_buckets: buckets(&before.rewarded_buckets, &now.rewarded_buckets),
    };
    Some(CellCounts { epoch, version, counts })
}

/// Adds what a cell has grown by.
fn grow(into: &mut Counts, added: &Counts) {
    into.merge(added);
    into.latency_sum = added.latency_sum;
    into.latency_sum_squares = added.latency_sum_squares;
    into.reward_sum = added.reward_sum;
    into.reward_sum_squares = added.reward_sum_squares;
}

/// All that has not settled, as the engine looks at it: exposures and outcomes.
#[must_use]
pub fn unsettled(observations: &Observations) -> Vec<CellCounts> {
    let mut open = Vec::new();
    for (epoch, counts) in &observations.epochs {
        for (version, counts) in counts.unsettled.iter().enumerate() {
            let tally = counts.tally();
            let counts = Counts {
                assigned: tally.assigned,
                completed: tally.completed,
                failed: tally.failed,
                aborted: tally.aborted,
                rewarded: tally.rewarded,
                repeats: tally.repeats,
                new_units: tally.new_units,
                ..Counts::default()
            };
            if counts != Counts::default() {
                open.push(CellCounts { epoch: *epoch, version, counts });
            }
        }
    }
    open
}

/// Brings observations to where an entry saw them.
pub(super) fn apply(observations: &mut Observations, observed: &Observed, versions: usize) {
    let empty =
        || EpochCounts { settled: vec![Counts::default(); versions], unsettled: vec![Counts::default(); versions] };
    for counts in observations.epochs.values_mut() {
        counts.unsettled.fill_with(Counts::default);
    }
    for added in &observed.settled {
        let of_epoch = observations.epochs.entry(added.epoch).or_insert_with(empty);
        if let Some(cell) = of_epoch.settled.get_mut(added.version) {
            grow(cell, &added.counts);
        }
    }
    for open in &observed.unsettled {
        let of_epoch = observations.epochs.entry(open.epoch).or_insert_with(empty);
        if let Some(cell) = of_epoch.unsettled.get_mut(open.version) {
            cell.clone_from(&open.counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(seed: u64) -> Counts {
        let mut counts = Counts {
            assigned: seed + 3,
            completed: seed,
            repeats: seed % 3,
            latency_sum: 0.1 * seed as f64,
            reward_sum: 1.0 / (seed as f64 + 3.0),
            failed_buckets: vec![u16::try_from(seed % 7).unwrap(), 9],
            ..Counts::default()
        };
        (0..seed).for_each(|at| counts.latency.record(at * 997));
        counts
    }

    #[test]
    fn what_was_added_adds_up_to_the_same_bits() {
        let (mut now, mut copy) = (Counts::default(), Observations::default());
        for seed in 1..40 {
            let before = now.clone();
            now.merge(&counts(seed));
            let added = growth(1, 1, Some(&before), &now).unwrap();
            let stored: CellCounts = serde_json::from_str(&serde_json::to_string(&added).unwrap()).unwrap();
            apply(&mut copy, &Observed { settled: vec![stored], unsettled: Vec::new() }, 2);
            assert_eq!(copy.epochs[&1].settled[1], now);
            assert_eq!(copy.epochs[&1].settled[1].latency_sum.to_bits(), now.latency_sum.to_bits());
        }
        assert_eq!(growth(1, 1, Some(&now), &now), None);
    }

    #[test]
    fn what_is_unsettled_is_replaced_not_added() {
        let mut copy = Observations::default();
        let open = |assigned| CellCounts { epoch: 2, version: 0, counts: Counts { assigned, ..Counts::default() } };
        for assigned in [5, 3] {
            apply(&mut copy, &Observed { settled: Vec::new(), unsettled: vec![open(assigned)] }, 2);
            assert_eq!(copy.epochs[&2].unsettled[0].assigned, assigned);
        }
        apply(&mut copy, &Observed::default(), 2);
        assert_eq!(copy.epochs[&2].unsettled[0].assigned, 0);
    }
}
