//! What one version of an experiment has shown since Envoy's stats last heard of it.
//!
//! Plain counters in VM memory, so that a request pays a few additions and no host call. A plan's versions share them with
//! `stats`, which takes what is new. They say what the recorder says, but live on their own: reports that wait for the
//! controller hold nothing back here.

use crate::outcome::Outcome;
use crate::recorder::Observation;
use std::cell::Cell;

/// Upper edges of the latency buckets, in microseconds; one more has no upper edge.
pub const EDGES_MICROS: [u64; 14] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Counts of one version.
#[derive(Debug, Default)]
pub struct Tally {
    /// Exposures begun.
    pub assigned: Cell<u64>,
    /// Ended by the deadline with an outcome.
    pub completed: Cell<u64>,
    /// Of the completed, those that failed.
    pub failed: Cell<u64>,
    /// Left by their client by the deadline.
    pub aborted: Cell<u64>,
    /// Ended after the deadline.
    pub late: Cell<u64>,
    /// Routed, but for want of room not recorded.
    pub dropped: Cell<u64>,
    /// Sum of latencies of the completed that did not fail, in microseconds.
    pub latency_micros: Cell<u64>,
    /// How many of those latencies were above the edge before and at most at this one; the last: above all edges.
    pub latencies: [Cell<u64>; EDGES_MICROS.len() + 1],
}

impl Tally {
    #[inline]
    /// An exposure has begun, or (`false`) found no room.
    pub fn assigned(&self, recorded: bool) {
        add(if recorded { &self.assigned } else { &self.dropped }, 1);
    }

    /// An exposure has ended by its deadline.
    #[inline]
    pub fn ended(&self, observation: Observation) {
        match observation.outcome {
            Outcome::Aborted => return add(&self.aborted, 1),
            Outcome::Failed => add(&self.failed, 1),
            Outcome::Ok => {
                let micros = observation.age_nanos / 1_000;
                add(&self.latency_micros, micros);
                // Most are short: from the front the edge is soon found.
                let at = EDGES_MICROS.iter().position(|edge| *edge >= micros).unwrap_or(EDGES_MICROS.len());
                if let Some(bucket) = self.latencies.get(at) {
                    add(bucket, 1);
                }
            }
        }
        add(&self.completed, 1);
    }

    /// An exposure has ended after its deadline.
    pub fn late(&self) {
        add(&self.late, 1);
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.assigned, &self.completed, &self.aborted, &self.late, &self.dropped].iter().all(|count| count.get() == 0)
    }
}

#[inline]
fn add(to: &Cell<u64>, count: u64) {
    // Taken each second: it cannot wrap, and a check would cost every request.
    to.set(to.get().wrapping_add(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_in_the_bucket_whose_edge_it_does_not_pass() {
        let tally = Tally::default();
        for micros in [0, 1_000, 1_001, 30_000_000, 30_000_001, u64::MAX / 1_000] {
            tally.ended(Observation { outcome: Outcome::Ok, age_nanos: micros * 1_000, reward: 0.0 });
        }
        let counts: Vec<u64> = tally.latencies.iter().map(Cell::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(tally.completed.get(), 6);
    }

    #[test]
    fn each_end_counts_as_what_it_is_and_only_good_ones_have_a_latency() {
        let tally = Tally::default();
        assert!(tally.is_empty());
        tally.assigned(true);
        tally.assigned(false);
        for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Aborted] {
            tally.ended(Observation { outcome, age_nanos: 7_000, reward: 0.0 });
        }
        tally.late();
        let Tally { assigned, completed, failed, aborted, late, dropped, latency_micros, .. } = &tally;
        let counts = [assigned, completed, failed, aborted, late, dropped, latency_micros].map(Cell::get);
        assert_eq!(counts, [1, 2, 1, 1, 1, 1, 7]);
        assert!(!tally.is_empty());
    }
}
