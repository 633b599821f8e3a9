//! Unit buckets of a sticky experiment's exposures: which have not ended yet, and which showed what.
//!
//! Owns when an exposure is bad, slow or rewarded for its unit. Knows neither bins nor reports.

use super::{Observation, Outcome};
use crate::report::{Counts, UNIT_BUCKETS, add_bucket, merge_buckets};

/// Lists of an [`InFlight`], by a bucket's high bits.
const LISTS: usize = 64;
/// Buckets of one list: none is ever long.
const OF_A_LIST: usize = UNIT_BUCKETS as usize / LISTS;

/// The exposures of one cell that have not ended, by unit bucket: those who are left when the deadline has passed are
/// overdue, and nothing else could say whose they were. At most one entry per bucket, however many requests.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// (bucket, exposures), sorted, in lists that are sorted too. None before the first exposure.
    lists: Vec<Vec<(u16, u32)>>,
    entries: usize,
}

impl InFlight {
    /// An exposure of this bucket has begun.
    #[inline]
    pub(super) fn begin(&mut self, bucket: u16) {
        if self.lists.is_empty() {
            self.lists.resize_with(LISTS, Vec::new);
        }
        let Some(list) = self.lists.get_mut(usize::from(bucket) / OF_A_LIST) else { return };
        match list.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => list.get_mut(at).into_iter().for_each(|(_, count)| *count = count.saturating_add(1)),
            Err(at) => {
                list.insert(at, (bucket, 1));
                self.entries += 1;
            }
        }
    }

    /// One has ended by its deadline.
    #[inline]
    pub(super) fn end(&mut self, bucket: u16) {
        let Some(list) = self.lists.get_mut(usize::from(bucket) / OF_A_LIST) else { return };
        let Ok(at) = list.binary_search_by_key(&bucket, |(known, _)| *known) else { return };
        match list.get_mut(at) {
            Some((_, count)) if *count > 1 => *count -= 1,
            _ => {
                list.remove(at);
                self.entries -= 1;
            }
        }
    }

    /// How many buckets have one.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The deadline of all has passed: those who are left are bad events of their units, and slow where that is asked for.
    pub(super) fn close(&mut self, counts: &mut Counts, slow_us: Option<u64>) {
        let overdue: Vec<u16> = std::mem::take(self).lists.iter().flatten().map(|(bucket, _)| *bucket).collect();
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
#[inline]
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
