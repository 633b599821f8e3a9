//! A mergeable log-linear histogram of latencies, in microseconds.
//!
//! Buckets below 64 µs are one microsecond wide; above, every octave is split into 64, so a bucket is at most 1/64 (1.6%)
//! wider than its lower edge. The same idea as HdrHistogram with six bits of precision; the edges are part of the wire
//! format and never change within a format version.

use serde::{Deserialize, Serialize};

/// Linear buckets per octave.
const SUB_BUCKETS: u64 = 64;
const SUB_BITS: u32 = 6;
/// One hour: longer latencies count in the last bucket.
pub const MAX_MICROSECONDS: u64 = 3_600_000_000;
/// Number of buckets; indices on the wire are below it.
pub const BUCKETS: u16 = bucket_of(MAX_MICROSECONDS) + 1;

/// The bucket that counts a latency of so many microseconds.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "at most 64 + 26·64 + 63 after the clamp")]
pub const fn bucket_of(microseconds: u64) -> u16 {
    let clamped = if microseconds > MAX_MICROSECONDS { MAX_MICROSECONDS } else { microseconds };
    if clamped < SUB_BUCKETS {
        return clamped as u16;
    }
    let shift = clamped.ilog2() - SUB_BITS;
    (SUB_BUCKETS as u32 + shift * SUB_BUCKETS as u32) as u16 + ((clamped >> shift) - SUB_BUCKETS) as u16
}

/// The half-open range `[lower, upper)` of microseconds that a bucket counts. The last bucket has no upper edge and
/// answers `u64::MAX`, as does any index beyond it.
#[must_use]
pub const fn edges_of(bucket: u16) -> (u64, u64) {
    let lower = lower_edge(bucket);
    if bucket + 1 >= BUCKETS { (lower, u64::MAX) } else { (lower, lower_edge(bucket + 1)) }
}

const fn lower_edge(bucket: u16) -> u64 {
    let bucket = if bucket >= BUCKETS { BUCKETS as u64 - 1 } else { bucket as u64 };
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let shift = (bucket - SUB_BUCKETS) / SUB_BUCKETS;
    (SUB_BUCKETS + (bucket - SUB_BUCKETS) % SUB_BUCKETS) << shift
}

/// Counts per bucket, sparse and sorted by bucket. On the wire a list of `[bucket, count]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    /// Counts one latency.
    #[inline]
    pub fn record(&mut self, microseconds: u64) {
        self.add(bucket_of(microseconds), 1);
    }

    /// Adds a count to a bucket; an index beyond the last counts in the last. Saturates.
    #[inline]
    pub fn add(&mut self, bucket: u16, count: u64) {
        if count == 0 {
            return;
        }
        let bucket = bucket.min(BUCKETS - 1);
        match self.buckets.binary_search_by_key(&bucket, |(index, _)| *index) {
            Ok(at) => {
                if let Some((_, total)) = self.buckets.get_mut(at) {
                    *total = total.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        if other.buckets.len().saturating_mul(8) < self.buckets.len() || !other.is_canonical() {
            // Few into many: a search each.
            return other.buckets.iter().for_each(|(bucket, count)| self.add(*bucket, *count));
        }
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut old, mut new) = (self.buckets.iter().copied().peekable(), other.buckets.iter().copied().peekable());
        loop {
            let next = match (old.peek(), new.peek()) {
                (Some((a, x)), Some((b, y))) if a == b => {
                    let both = (*a, x.saturating_add(*y));
                    old.next();
                    new.next();
                    Some(both)
                }
                (Some((a, _)), Some((b, _))) if a < b => old.next(),
                (_, Some(_)) => new.next(),
                (_, None) => old.next(),
            };
            match next {
                Some(next) => merged.push(next),
                None => break,
            }
        }
        self.buckets = merged;
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |total, (_, count)| total.saturating_add(*count))
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The non-empty buckets in order, as (bucket, count).
    #[must_use]
    pub fn buckets(&self) -> &[(u16, u64)] {
        &self.buckets
    }

    /// The bucket in which the `q`-quantile lies (`0 ≤ q ≤ 1`, nearest rank), as its edges in microseconds.
    /// `None` when empty.
    #[must_use]
    pub fn quantile_edges(&self, q: f64) -> Option<(u64, u64)> {
        let total = self.total();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (libm::ceil(q * total as f64) as u64).clamp(1, total.max(1));
        let mut below = 0_u64;
        for (bucket, count) in &self.buckets {
            below = below.saturating_add(*count);
            if below >= rank {
                return Some(edges_of(*bucket));
            }
        }
        None
    }

    /// Whether the buckets are what this code would have written: sorted, unique, within range, none empty.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.buckets.is_sorted_by(|(a, _), (b, _)| a < b)
            && self.buckets.iter().all(|(bucket, count)| *bucket < BUCKETS && *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_range_and_are_at_most_a_sixty_fourth_wide() {
        let mut expected_lower = 0;
        for bucket in 0..BUCKETS - 1 {
            let (lower, upper) = edges_of(bucket);
            assert_eq!(lower, expected_lower);
            assert_eq!(bucket_of(lower), bucket);
            assert_eq!(bucket_of(upper - 1), bucket);
            assert!(upper - lower <= (lower / 64).max(1));
            expected_lower = upper;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(edges_of(BUCKETS - 1).1, u64::MAX);
    }

    #[test]
    fn golden_buckets_of_the_wire_format_never_move() {
        let golden =
            [(0, 0), (63, 63), (64, 64), (127, 127), (128, 128), (1_000, 317), (250_000, 826), (3_600_000_000, 1_707)];
        for (microseconds, bucket) in golden {
            assert_eq!(bucket_of(microseconds), bucket, "{microseconds} µs");
        }
    }

    #[test]
    fn merging_is_adding_each_bucket_however_many_there_are() {
        let of = |step: usize, count: u16| {
            let mut histogram = Histogram::default();
            (0..count).step_by(step).for_each(|bucket| histogram.add(bucket, u64::from(bucket) + 1));
            histogram
        };
        for (a, b) in [(of(2, 400), of(3, 900)), (of(3, 900), of(2, 40)), (of(1, 0), of(5, 99)), (of(7, 99), of(1, 0))]
        {
            let (mut merged, mut added) = (a.clone(), a);
            merged.merge(&b);
            b.buckets().iter().for_each(|(bucket, count)| added.add(*bucket, *count));
            assert_eq!(merged, added);
            assert!(merged.is_canonical());
        }
    }

    #[test]
    fn merging_is_addition_and_quantiles_are_nearest_ranks() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        (1..=90).for_each(|_| a.record(1_000));
        (1..=10).for_each(|_| b.record(50_000));
        a.merge(&b);
        assert_eq!(a.total(), 100);
        assert!(a.is_canonical());
        let (lower, upper) = a.quantile_edges(0.9).unwrap();
        assert!(lower <= 1_000 && 1_000 < upper);
        let (lower, upper) = a.quantile_edges(0.91).unwrap();
        assert!(lower <= 50_000 && 50_000 < upper);
        assert_eq!(Histogram::default().quantile_edges(0.5), None);
    }
}
