//! Exact binomial bounds: by how much a simulated frequency may exceed what is promised.

use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF};

/// The smallest count that Binomial(`runs`, `p`) exceeds with probability below `rarity`: more false claims than this in `runs`
/// runs refute "at most `p`", but for one seed in 1/`rarity`.
#[must_use]
pub fn most_allowed(runs: u64, p: f64, rarity: f64) -> u64 {
    let Ok(binomial) = Binomial::new(p, runs) else { return 0 };
    let (mut low, mut high) = (0, runs);
    while low < high {
        let middle = u64::midpoint(low, high);
        if binomial.sf(middle) < rarity { high = middle } else { low = middle + 1 }
    }
    low
}

/// Upper end of the Clopper–Pearson interval for `found` of `runs`, one-sided at `confidence`.
#[must_use]
pub fn upper_bound(found: u64, runs: u64, confidence: f64) -> f64 {
    if found >= runs {
        return 1.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
    Beta::new(found as f64 + 1.0, (runs - found) as f64).map_or(1.0, |beta| beta.inverse_cdf(confidence))
}

/// The two-sided Clopper–Pearson interval for `found` of `runs`; everything for none.
#[must_use]
pub fn interval(found: u64, runs: u64, confidence: f64) -> (f64, f64) {
    let one_sided = 0.5 * (1.0 + confidence);
    let high = upper_bound(found, runs, one_sided);
    (if found == 0 { 0.0 } else { 1.0 - upper_bound(runs - found, runs, one_sided) }, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_the_binomials() {
        // scipy 1.17.1: binom.isf(1e-6, 1000, 0.05) = 86, binom.isf(1e-6, 200, 0.05) = 27.
        assert_eq!((most_allowed(1000, 0.05, 1e-6), most_allowed(200, 0.05, 1e-6)), (86, 27));
        // scipy 1.17.1: beta.ppf(0.95, 13, 988) = 0.019369…; nothing found in 59 runs: 1 − 0.05^(1/59).
        assert!((upper_bound(0, 59, 0.95) - (1.0 - 0.05_f64.powf(1.0 / 59.0))).abs() < 1e-9);
        assert!((upper_bound(5, 5, 0.95) - 1.0).abs() < 1e-15);
        // statsmodels 0.15.0: proportion_confint(3, 100, 0.05, "beta") = (0.006230, 0.085176).
        let (low, high) = interval(3, 100, 0.95);
        assert!((low - 0.006_230).abs() < 1e-6 && (high - 0.085_176).abs() < 1e-6, "{low} {high}");
        assert_eq!((interval(0, 5, 0.95).0, interval(5, 5, 0.95).1, interval(0, 0, 0.95)), (0.0, 1.0, (0.0, 1.0)));
    }
}
