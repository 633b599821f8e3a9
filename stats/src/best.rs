//! Evidence about which of several versions is best (card J): combines pairwise e-values, and looks at no counts.

use crate::special::log_sum_exp;
use libm::log;

/// ln Ē_k = ln(Σ_b E(b > k) / (K − 1)): the evidence that version k is **not** the best of `versions`.
///
/// `log_es` holds ln E(b > k) for every b ≠ k that is not rolled back; `versions` is K of the whole experiment, so that
/// leaving out a rolled-back version only lowers the evidence. No comparisons give −∞; a NaN counts as no evidence.
///
/// **Null hypothesis:** k is the best, so no b ≠ k is better, p_b(t) ≤ p_k(t) for all of them; each E(b > k) then has
/// expectation at most one and so has their average. The set C = {k : Ē_k < 1/α} holds the best at all times with
/// probability at least 1 − α: only the true best one must not be thrown out, so no correction for K is due.
///
/// Source: Arnold et al. (2024), sequential model confidence sets; Vovk & Wang (2021), averages of e-values.
#[must_use]
pub fn log_mean_e(log_es: &[f64], versions: usize) -> f64 {
    let known: Vec<f64> = log_es.iter().copied().filter(|log_e| !log_e.is_nan()).collect();
    // Never a divisor below the number of terms: a wrong K must not turn an average into a sum.
    let comparisons = versions.saturating_sub(1).max(log_es.len()).max(1);
    log_sum_exp(&known) - log(comparisons as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_counts_versions_that_were_rolled_back() {
        let log_e = log_mean_e(&[log(30.0)], 3);
        assert!((log_e - log(15.0)).abs() < 1e-14);
    }

    #[test]
    fn nothing_to_compare_with_is_no_evidence() {
        assert_eq!(log_mean_e(&[], 3), f64::NEG_INFINITY);
        assert_eq!(log_mean_e(&[], 0), f64::NEG_INFINITY);
        assert_eq!(log_mean_e(&[f64::NAN], 2), f64::NEG_INFINITY);
    }

    #[test]
    fn huge_evidence_does_not_overflow() {
        assert!((log_mean_e(&[1e12, 1e12], 3) - 1e12).abs() < 1e-3);
        assert_eq!(log_mean_e(&[f64::INFINITY, 0.0], 3), f64::INFINITY);
    }
}
