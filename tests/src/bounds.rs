//! Exact binomial bounds, so that a test of random shares fails for a wrong share and not by bad luck.

/// Probability with which a right share is called wrong, both sides together: one in a million test runs.
pub const ERROR: f64 = 1e-6;

/// The counts `low..=high` of `n` draws with probability `p` that are outside on either side with probability at most
/// [`ERROR`] / 2. Exact up to rounding: sums of the probability mass from the tail inwards (relative error about 1e-10).
#[must_use]
pub fn binomial(n: u64, p: f64) -> (u64, u64) {
    if p <= 0.0 || n == 0 {
        return (0, 0);
    }
    if p >= 1.0 {
        return (n, n);
    }
    let mut tail = 0.0;
    let mut low = 0;
    for k in 0..=n {
        tail += mass(n, k, p);
        if tail > ERROR / 2.0 {
            low = k;
            break;
        }
    }
    tail = 0.0;
    let mut high = n;
    for k in (0..=n).rev() {
        tail += mass(n, k, p);
        if tail > ERROR / 2.0 {
            high = k;
            break;
        }
    }
    (low, high)
}

/// Probability of exactly `k` of `n`, by log-gamma. Domain: `0 < p < 1`, `k ≤ n`.
#[expect(clippy::cast_precision_loss, reason = "counts of a test are far below 2^53")]
fn mass(n: u64, k: u64, p: f64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    let choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    libm::exp(choose + k * libm::log(p) + (n - k) * libm::log1p(-p))
}

/// Asserts that `hits` of `n` draws fit a probability.
///
/// # Panics
/// When they lie outside [`binomial`]'s bounds.
pub fn assert_share(what: &str, hits: u64, n: u64, p: f64) {
    let (low, high) = binomial(n, p);
    assert!((low..=high).contains(&hits), "{what}: {hits} of {n} at p = {p}, expected {low} to {high}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_all_but_a_millionth_of_the_mass() {
        for (n, p) in [(1_000, 0.5), (20_000, 0.1), (60_000, 0.001), (50, 0.9999)] {
            let (low, high) = binomial(n, p);
            let inside: f64 = (low..=high).map(|k| mass(n, k, p)).sum();
            assert!(inside >= 1.0 - ERROR - 1e-9, "{n} {p}: {inside}");
            let narrower: f64 = (low + 1..high).map(|k| mass(n, k, p)).sum();
            assert!(narrower < 1.0 - ERROR / 2.0, "{n} {p}: {narrower}");
        }
    }

    #[test]
    fn coin_tosses_are_bounded_as_tables_say() {
        // 20 fair tosses: P(X = 0) = 9.5e-7 > 5e-7, so nothing can be excluded; 21: P(X = 0) = 4.8e-7, so 0 can.
        assert_eq!(binomial(20, 0.5), (0, 20));
        assert_eq!(binomial(21, 0.5), (1, 20));
        assert_eq!(binomial(10, 0.0), (0, 0));
        assert_eq!(binomial(10, 1.0), (10, 10));
    }
}
