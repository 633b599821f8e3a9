//! The tilted binomial kernel and the grids over which e-values are mixed. Knows nothing of versions or rates.
//!
//! Source of the construction: a likelihood ratio of an exponentially tilted Bernoulli against the null's boundary, mixed
//! over the tilt (Howard, Ramdas, McAuliffe & Sekhon 2021, sub-Bernoulli; Lindon & Malek 2022).

use crate::special::log_sum_exp;
use libm::{exp, expm1, log, log1p};

/// Number of tilts in the grid of [`tilts`].
pub const TILTS: usize = 40;

/// Number of bets in the grid of [`bets`].
pub const BETS: usize = 24;

/// One point of the grid over tilts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tilt {
    /// How strongly events are favoured, as a log odds ratio; positive.
    pub delta: f64,
    /// Natural logarithm of the prior weight; the grid's weights sum to one.
    pub log_prior: f64,
}

/// K(δ; s, m, θ) = s·δ − m·log1p(θ·expm1(δ)): the logarithm of the factor by which `s` events among `m` trials change
/// an e-value tilted by `delta`.
///
/// Null hypothesis it serves: each trial is an event with probability at most `theta` (δ > 0) or at least `theta`
/// (δ < 0). Then exp K has expectation at most one. `s` is clamped to `m`, `theta` to \[0, 1\], `delta` to ±700; NaN gives 0
/// (no evidence).
///
/// Source: Howard, Ramdas, McAuliffe & Sekhon (2021), the sub-Bernoulli boundary's exponential supermartingale.
#[must_use]
pub fn kernel(delta: f64, s: u64, m: u64, theta: f64) -> f64 {
    if delta.is_nan() || theta.is_nan() {
        return 0.0;
    }
    // Beyond ±700 expm1 overflows, and no effect is that large.
    let delta = delta.clamp(-700.0, 700.0);
    let spent = log1p(theta.clamp(0.0, 1.0) * expm1(delta));
    s.min(m) as f64 * delta - m as f64 * spent
}

/// The grid of tilts: δⱼ = 0.05 + 3.45·j/39 for j = 0…39 with prior πⱼ ∝ exp(−½(δⱼ/1.2)²).
///
/// From 5% more odds to 33 times the odds; effects near a doubling get most of the prior.
#[must_use]
pub fn tilts() -> [Tilt; TILTS] {
    let mut grid = [Tilt { delta: 0.0, log_prior: 0.0 }; TILTS];
    for (j, tilt) in grid.iter_mut().enumerate() {
        tilt.delta = 0.05 + 3.45 * j as f64 / 39.0;
        tilt.log_prior = -0.5 * (tilt.delta / 1.2) * (tilt.delta / 1.2);
    }
    let total = log_sum_exp(&grid.map(|tilt| tilt.log_prior));
    for tilt in &mut grid {
        tilt.log_prior -= total;
    }
    grid
}

/// The grid of bets: 24 geometric values from 0.01 to 0.9, as fractions of the largest bet that cannot go broke; the
/// prior is uniform.
///
/// Source: Waudby-Smith & Ramdas (2024), testing by betting with a mixture over bets.
#[must_use]
pub fn bets() -> [f64; BETS] {
    let mut grid = [0.0; BETS];
    for (i, bet) in grid.iter_mut().enumerate() {
        *bet = 0.01 * exp(log(90.0) * i as f64 / 23.0);
    }
    grid
}

/// Whether a propensity can carry evidence or belief: in \[10⁻⁹, 1\]. Weights go down to 10⁻⁴; what is smaller is zero or a
/// mistake, and dividing by it could overflow.
pub(crate) fn is_propensity(w: f64) -> bool {
    (1e-9..=1.0).contains(&w)
}

/// ln Σⱼ πⱼ·exp(total(δⱼ)): mixes one log factor per tilt.
pub(crate) fn mix_tilts(mut total: impl FnMut(f64) -> f64) -> f64 {
    let mut terms = [0.0; TILTS];
    for (term, tilt) in terms.iter_mut().zip(tilts()) {
        *term = tilt.log_prior + total(tilt.delta);
    }
    log_sum_exp(&terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prior_over_tilts_sums_to_one() {
        let total: f64 = tilts().iter().map(|tilt| exp(tilt.log_prior)).sum();
        assert!((total - 1.0).abs() < 1e-14);
    }

    #[test]
    fn the_grids_end_where_they_should() {
        assert_eq!(tilts()[0].delta, 0.05);
        assert!((tilts()[TILTS - 1].delta - 3.5).abs() < 1e-15);
        assert!((bets()[0] - 0.01).abs() < 1e-17);
        assert!((bets()[BETS - 1] - 0.9).abs() < 1e-14);
    }

    #[test]
    fn one_trial_at_the_boundary_is_worth_exactly_one_on_average() {
        for theta in [1e-6, 0.01, 0.5, 0.999] {
            for delta in [-2.0, 0.05, 3.5] {
                let mean = theta * exp(kernel(delta, 1, 1, theta)) + (1.0 - theta) * exp(kernel(delta, 0, 1, theta));
                assert!((mean - 1.0).abs() < 1e-13, "theta={theta} delta={delta} mean={mean}");
            }
        }
    }

    #[test]
    fn no_trials_or_no_hypothesis_is_no_evidence() {
        assert_eq!(kernel(1.0, 0, 0, 0.1), 0.0);
        assert_eq!(kernel(1.0, 5, 0, 0.1), 0.0);
        assert_eq!(kernel(1.0, 5, 9, f64::NAN), 0.0);
        assert_eq!(kernel(f64::NAN, 5, 9, 0.1), 0.0);
    }
}
