//! Quantiles of values that were only counted in buckets: where they lie, and bounds that hold whatever the distribution is.
//! Knows no unit, and nothing of time.

use crate::beta::Beta;
use crate::special::normal_quantile;
use libm::log;
use serde::{Deserialize, Serialize};

/// Binomial tails are computed for no more.
const MOST_VALUES: u64 = 1_000_000_000_000_000;

/// One bucket of a histogram: values within \[lower, upper), in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Its lower edge.
    pub lower: f64,
    /// Its upper edge; may be infinite.
    pub upper: f64,
    /// How many values it holds.
    pub count: u64,
}

/// The edges of the bucket that holds the `q`-quantile of the values: the smallest value that is not below a share `q` of them.
///
/// Buckets may come in any order; those whose edges are NaN or exchanged are skipped. `q` is clamped to \[0, 1\]. `None` without
/// values, or for a `q` that is NaN.
#[must_use]
pub fn quantile(buckets: &[Bucket], q: f64) -> Option<(f64, f64)> {
    let sorted = Sorted::new(buckets);
    sorted.holding(sorted.rank(q)?)
}

/// Where the `q`-quantile of the values lies if those of its bucket lie evenly in it: an estimate, within the edges that
/// [`quantile`] gives, and their middle for a bucket's only value. The lower edge of a bucket without an upper one: it is that or
/// more. The same conditions.
#[must_use]
pub fn quantile_estimate(buckets: &[Bucket], q: f64) -> Option<f64> {
    let sorted = Sorted::new(buckets);
    let (bucket, place) = sorted.at(sorted.rank(q)?)?;
    if bucket.upper.is_infinite() {
        return Some(bucket.lower);
    }
    // The k-th of n lies in the middle of the k-th of n equal parts.
    let share = (place as f64 - 0.5) / bucket.count as f64;
    Some(bucket.lower + share * (bucket.upper - bucket.lower))
}

/// Bounds that hold the `q`-quantile of the *distribution* with probability at least `mass`, whatever the distribution is,
/// for independent values; at most half of the rest lies beyond either bound.
///
/// The l-th and u-th smallest values, with l the largest and u the smallest such that P(Binomial(n, q) < l) and
/// P(Binomial(n, q) ≥ u) are at most (1 − mass)/2; then widened to the edges of the buckets that hold them, so that bucketing
/// never narrows them. Too few values for an upper bound give +∞; for a lower one, 0 where no edge is negative, else −∞.
///
/// Give it values of one stratum of propensity only. Buckets as for [`quantile`]; `mass` is clamped to \[0, 1\], NaN counts as
/// 1. `None` without values or with more than 10¹⁵, and for a `q` outside (0, 1).
///
/// Source: order statistics' distribution-free intervals (David & Nagaraja, Order Statistics, 7.1); binomial tails as incomplete
/// beta functions (NIST Digital Library of Mathematical Functions, 8.17.5).
#[must_use]
pub fn quantile_bounds(buckets: &[Bucket], q: f64, mass: f64) -> Option<(f64, f64)> {
    let sorted = Sorted::new(buckets);
    let n = sorted.total;
    if n == 0 || n > MOST_VALUES || !(q > 0.0 && q < 1.0) {
        return None;
    }
    let outside = 0.5 * (1.0 - if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) });
    // P(Binomial < l) falls short of `outside` up to some l, P(Binomial ≥ u) from some u on.
    let z = normal_quantile(log(outside));
    let lower = first_from(n, guess(n, q, z), |l| below(n, q, l) > outside) - 1;
    let upper = first_from(n, guess(n, q, -z), |u| at_least(n, q, u) <= outside);
    let nothing_below =
        if sorted.buckets.first().is_some_and(|bucket| bucket.lower < 0.0) { f64::NEG_INFINITY } else { 0.0 };
    Some((
        sorted.holding(lower).map_or(nothing_below, |(edge, _)| edge),
        sorted.holding(upper).map_or(f64::INFINITY, |(_, edge)| edge),
    ))
}

/// P(Binomial(n, q) ≥ k).
fn at_least(n: u64, q: f64, k: u64) -> f64 {
    shapes(n, k).map_or(f64::from(k == 0), |beta| beta.cdf(q))
}

/// P(Binomial(n, q) < k).
fn below(n: u64, q: f64, k: u64) -> f64 {
    shapes(n, k).map_or(f64::from(k != 0), |beta| beta.upper_cdf(q))
}

/// Beta(k, n − k + 1), for k within \[1, n\].
fn shapes(n: u64, k: u64) -> Option<Beta> {
    if k == 0 || k > n { None } else { Beta::new(k as f64, (n - k) as f64 + 1.0) }
}

/// The Binomial(n, q)'s quantile at z standard deviations, skewness taken into account; and how far it may be off.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "never negative; saturates")]
fn guess(n: u64, q: f64, z: f64) -> (u64, u64) {
    let (mean, deviation) = (q * n as f64, libm::sqrt(q * (1.0 - q) * n as f64));
    // Cornish and Fisher's expansion, to the second order in 1/deviation.
    let (skewness, variance) = (1.0 - 2.0 * q, q * (1.0 - q));
    let cubed = z * z * z;
    let second =
        (1.0 - 6.0 * variance) * (cubed - 3.0 * z) / 24.0 - skewness * skewness * (2.0 * cubed - 5.0 * z) / 36.0;
    // An n so small that the expansion means nothing gets its clamped value.
    let at = mean + z * deviation + skewness * (z * z - 1.0) / 6.0 + second / deviation.max(1.0) + 0.5;
    ((at as u64).clamp(1, n), (deviation / 1_024.0) as u64 + 1)
}

/// The smallest k within \[1, n + 1\] that has a property which, once had, is kept; `n + 1` has it in any case. Searches
/// outwards from a guess, in growing steps.
fn first_from(n: u64, (guess, mut step): (u64, u64), has: impl Fn(u64) -> bool) -> u64 {
    // `without` lacks the property or is 0, `with` has it or is n + 1.
    let (mut without, mut with) = (0, n.saturating_add(1));
    let mut at = guess;
    if has(at) {
        with = at;
        while at > step {
            at -= step;
            if !has(at) {
                without = at;
                break;
            }
            with = at;
            step = step.saturating_mul(2);
        }
    } else {
        without = at;
        while n - at > step {
            at += step;
            if has(at) {
                with = at;
                break;
            }
            without = at;
            step = step.saturating_mul(2);
        }
    }
    while with - without > 1 {
        let middle = without + (with - without) / 2;
        if has(middle) {
            with = middle;
        } else {
            without = middle;
        }
    }
    with
}

/// Buckets with values, in ascending order.
struct Sorted {
    buckets: Vec<Bucket>,
    total: u64,
}

impl Sorted {
    fn new(buckets: &[Bucket]) -> Self {
        let mut buckets: Vec<Bucket> =
            buckets.iter().filter(|bucket| bucket.count > 0 && bucket.lower <= bucket.upper).copied().collect();
        buckets.sort_by(|x, y| x.lower.total_cmp(&y.lower).then(x.upper.total_cmp(&y.upper)));
        let total = buckets.iter().fold(0_u64, |sum, bucket| sum.saturating_add(bucket.count));
        Self { buckets, total }
    }

    /// Which value is the `q`-quantile, counted from one.
    fn rank(&self, q: f64) -> Option<u64> {
        if self.total == 0 || q.is_nan() {
            return None;
        }
        // A product that should be whole may come out an ulp above it, and would name the next value.
        let rank = (q.clamp(0.0, 1.0) * self.total as f64 * (1.0 - 4.0 * f64::EPSILON)).ceil();
        #[expect(clippy::cast_sign_loss, reason = "never negative; saturates")]
        Some((rank as u64).clamp(1, self.total))
    }

    /// The bucket with the `rank`-th smallest value, and which of its values that is; both counted from one.
    fn at(&self, rank: u64) -> Option<(&Bucket, u64)> {
        if rank == 0 || rank > self.total {
            return None;
        }
        let mut before = 0_u64;
        let bucket = self.buckets.iter().find(|bucket| {
            let here = before.saturating_add(bucket.count) >= rank;
            before = if here { before } else { before.saturating_add(bucket.count) };
            here
        })?;
        Some((bucket, rank - before))
    }

    /// Edges of the bucket with the `rank`-th smallest value, counted from one.
    fn holding(&self, rank: u64) -> Option<(f64, f64)> {
        self.at(rank).map(|(bucket, _)| (bucket.lower, bucket.upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value in each of \[0, 1), \[1, 2), …
    fn singles(n: u64) -> Vec<Bucket> {
        (0..n).map(|i| Bucket { lower: i as f64, upper: i as f64 + 1.0, count: 1 }).collect()
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(quantile(&singles(9), 0.5), Some((4.0, 5.0)));
        assert_eq!(quantile(&singles(10), 0.3), Some((2.0, 3.0)));
        assert_eq!(quantile(&singles(10), 0.0), Some((0.0, 1.0)));
        assert_eq!(quantile(&singles(10), 1.0), Some((9.0, 10.0)));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&singles(3), f64::NAN), None);
    }

    #[test]
    fn an_estimate_lies_in_its_bucket_where_its_rank_puts_it() {
        let coarse = [
            Bucket { lower: 0.0, upper: 100.0, count: 10 },
            Bucket { lower: 100.0, upper: 500.0, count: 4 },
            Bucket { lower: 500.0, upper: f64::INFINITY, count: 6 },
        ];
        assert_eq!(quantile_estimate(&coarse, 0.05), Some(5.0));
        assert_eq!(quantile_estimate(&coarse, 0.5), Some(95.0));
        assert_eq!(quantile_estimate(&coarse, 0.7), Some(450.0));
        assert_eq!(quantile_estimate(&coarse, 0.99), Some(500.0));
        assert_eq!(quantile_estimate(&singles(9), 0.5), Some(4.5));
        let exact = [Bucket { lower: 7.0, upper: 7.0, count: 3 }];
        assert_eq!(quantile_estimate(&exact, 0.9), Some(7.0));
        assert_eq!(quantile_estimate(&[], 0.5), None);
    }

    #[test]
    fn bounds_of_a_median_are_the_sign_tests() {
        // P(Binomial(20, ½) ≤ 5) = 0.0207, P(≤ 6) = 0.0577: the 6th and the 15th value.
        assert_eq!(quantile_bounds(&singles(20), 0.5, 0.95), Some((5.0, 15.0)));
        let mut turned = singles(20);
        turned.reverse();
        assert_eq!(quantile_bounds(&turned, 0.5, 0.95), Some((5.0, 15.0)));
    }

    #[test]
    fn too_few_values_give_no_bound() {
        // 0.99ⁿ ≤ 0.025 from n = 368 on.
        assert_eq!(quantile_bounds(&singles(366), 0.99, 0.95).map(|b| b.1), Some(f64::INFINITY));
        assert_eq!(quantile_bounds(&singles(368), 0.99, 0.95).map(|b| b.1), Some(368.0));
        assert_eq!(quantile_bounds(&singles(3), 0.5, 0.95), Some((0.0, f64::INFINITY)));
        let negative = [Bucket { lower: -2.0, upper: -1.0, count: 3 }];
        assert_eq!(quantile_bounds(&negative, 0.5, 0.95), Some((f64::NEG_INFINITY, f64::INFINITY)));
        assert_eq!(quantile_bounds(&singles(50), 1.0, 0.95), None);
    }

    #[test]
    fn a_coarser_histogram_only_widens_the_bounds() {
        let coarse: Vec<Bucket> = (0..100)
            .map(|i| Bucket { lower: 10.0 * f64::from(i), upper: 10.0 * f64::from(i + 1), count: 10 })
            .collect();
        for q in [0.05, 0.5, 0.9, 0.99] {
            let (fine, coarse) = (quantile_bounds(&singles(1000), q, 0.9), quantile_bounds(&coarse, q, 0.9));
            let ((low, high), (wide_low, wide_high)) = (fine.unwrap(), coarse.unwrap());
            assert!(wide_low <= low && high <= wide_high && wide_high - wide_low < high - low + 20.0);
        }
    }
}
