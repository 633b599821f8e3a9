//! Unit buckets of a sticky experiment's exposures: which have not ended yet, and which showed what.
//!
//! Owns when an exposure is bad, slow or rewarded for its unit. Knows neither bins nor reports.

use super::{Observation, Outcome};
use crate::report::{Counts, add_bucket, merge_buckets};
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The exposures of one cell that have not ended, by unit bucket: those who are left when the deadline has passed are
/// overdue, and nothing else could say whose they were. At most one entry per bucket, however many requests.
#[derive(Debug, Default)]
pub(super) struct InFlight(HashMap<u16, u32, BuildHasherDefault<Spread>>);

/// Spreads buckets over a table. They are hashes under a secret of the experiment's already: nobody chooses them.
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u16((*byte).into()));
    }

    fn write_u16(&mut self, bucket: u16) {
        // Fibonacci hashing: the golden ratio's multiples fill the high bits, which tell entries apart.
        self.0 = (self.0 ^ u64::from(bucket)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl InFlight {
    /// An exposure of this bucket has begun.
    pub(super) fn begin(&mut self, bucket: u16) {
        let count = self.0.entry(bucket).or_default();
        *count = count.saturating_add(1);
    }

    /// One has ended by its deadline.
    pub(super) fn end(&mut self, bucket: u16) {
        if let Entry::Occupied(mut place) = self.0.entry(bucket) {
            if *place.get() <= 1 {
                place.remove();
            } else {
                *place.get_mut() -= 1;
            }
        }
    }

    /// How many buckets have one.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The deadline of all has passed: those who are left are bad events of their units, and slow where that is asked for.
    pub(super) fn close(&mut self, counts: &mut Counts, slow_us: Option<u64>) {
        if self.0.is_empty() {
            return;
        }
        let overdue = std::mem::take(&mut self.0).into_keys().collect::<BinaryHeap<u16>>().into_sorted_vec();
        merge_buckets(&mut counts.failed_buckets, &overdue);
        if slow_us.is_some() {
            merge_buckets(&mut counts.slow_buckets, &overdue);
        }
    }
}

/// Notes in its cell what an exposure of a unit showed by its deadline.
///
/// Slow from `slow_us` microseconds on: an answer of that latency, a client who left at that age, and every failure however
/// fast, because an error is not a quick answer.
pub(super) fn note(counts: &mut Counts, bucket: u16, observation: Observation, slow_us: Option<u64>, rewarded: bool) {
    let failed = observation.outcome == Outcome::Failed;
    if failed {
        add_bucket(&mut counts.failed_buckets, bucket);
    }
    if slow_us.is_some_and(|slow| failed || observation.age_nanos / 1_000 >= slow) {
        add_bucket(&mut counts.slow_buckets, bucket);
    }
    if rewarded {
        add_bucket(&mut counts.rewarded_buckets, bucket);
    }
}
