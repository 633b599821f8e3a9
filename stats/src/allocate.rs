//! From beliefs to shares of traffic. Floors, steps and lattices are the engine's business.

/// Thompson sampling's shares: each version gets traffic in proportion to its probability of being best.
///
/// `best` need not be normalised (P(best and feasible) sums to less than one). Entries that are negative, infinite or NaN
/// count as zero; when nothing is left, all get the same share. The result sums to one, unless `best` is empty.
///
/// Source: Scott (2015), multi-armed bandits by randomised probability matching; Russo (2020).
#[must_use]
pub fn thompson(best: &[f64]) -> Vec<f64> {
    let usable = |p: &f64| if p.is_finite() && *p > 0.0 { *p } else { 0.0 };
    // Divided by the largest first: a sum of huge entries may overflow, one of tiny entries may lose everything.
    let largest = best.iter().map(usable).fold(0.0, f64::max);
    if largest == 0.0 {
        return vec![1.0 / best.len() as f64; best.len()];
    }
    let scaled: Vec<f64> = best.iter().map(|p| usable(p) / largest).collect();
    let total: f64 = scaled.iter().sum();
    scaled.into_iter().map(|p| p / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_proportional_and_sum_to_one() {
        let shares = thompson(&[0.2, 0.6]);
        assert!((shares[0] - 0.25).abs() < 1e-15 && (shares[1] - 0.75).abs() < 1e-15, "{shares:?}");
        assert_eq!(thompson(&[f64::MAX, f64::MAX]), vec![0.5, 0.5]);
        assert_eq!(thompson(&[1e-310, 0.0]), vec![1.0, 0.0]);
    }

    #[test]
    fn nothing_known_is_an_equal_split() {
        assert_eq!(thompson(&[0.0, f64::NAN, -1.0, f64::INFINITY]), vec![0.25; 4]);
        assert!(thompson(&[]).is_empty());
    }
}
