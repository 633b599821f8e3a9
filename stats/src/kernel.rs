//! The tilted binomial kernel and the grids over which e-values are mixed. Knows nothing of versions or rates.
//!
//! Source of the construction: a likelihood ratio of an exponentially tilted Bernoulli against the null's boundary, mixed
//! over the tilt (Howard, Ramdas, McAuliffe & Sekhon 2021, sub-Bernoulli; Lindon & Malek 2022).

use crate::special::log_sum_exp;
use libm::{exp, expm1, log, log1p};
use std::sync::OnceLock;

/// Number of tilts in the grid of [`tilts`].
const TILTS: u32 = 40;

/// Number of bets in the grid of [`bets`].
const BETS: u32 = 24;

/// One point of a grid of bets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridPoint {
    /// How strongly is bet: a log odds ratio, or a fraction of the largest bet.
    pub point: f64,
    /// Natural logarithm of its prior weight; a grid's weights sum to one.
    pub log_prior: f64,
}

/// A grid of bets with a prior over them.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    points: Vec<GridPoint>,
    /// Per point x: expm1(x) and expm1(−x).
    rises: Vec<(f64, f64)>,
}

impl Grid {
    fn new(points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut points: Vec<GridPoint> = points.map(|(point, log_prior)| GridPoint { point, log_prior }).collect();
        let total = log_sum_exp(&points.iter().map(|at| at.log_prior).collect::<Vec<_>>());
        for at in &mut points {
            at.log_prior -= total;
        }
        let rises = points.iter().map(|at| (expm1(at.point), expm1(-at.point))).collect();
        Self { points, rises }
    }

    /// `n` geometric points, all alike a priori.
    fn geometric(from: f64, to: f64, n: u32) -> impl Iterator<Item = f64> {
        let step = log(to / from) / f64::from(n - 1);
        (0..n).map(move |i| from * exp(step * f64::from(i)))
    }

    /// The points, in a fixed order.
    #[must_use]
    pub fn points(&self) -> &[GridPoint] {
        &self.points
    }

    /// What one trial costs each point, bet upwards (`sign` positive) or downwards, where an event has probability `theta`:
    /// log1p(θ·expm1(±x)).
    pub(crate) fn spent(&self, sign: f64, theta: f64) -> Vec<f64> {
        let theta = theta.clamp(0.0, 1.0);
        self.rises.iter().map(|(up, down)| log1p(theta * if sign > 0.0 { *up } else { *down })).collect()
    }
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
    kernel_spent(delta, s, m, log_spent(delta, theta))
}

/// log1p(θ·expm1(δ)): what one trial costs.
pub(crate) fn log_spent(delta: f64, theta: f64) -> f64 {
    log1p(theta.clamp(0.0, 1.0) * expm1(delta))
}

/// The kernel, given what one trial costs.
pub(crate) fn kernel_spent(delta: f64, s: u64, m: u64, spent: f64) -> f64 {
    s.min(m) as f64 * delta - m as f64 * spent
}

/// The grid of tilts: δⱼ = 0.05 + 3.45·j/39 for j = 0…39 with prior πⱼ ∝ exp(−½(δⱼ/1.2)²).
///
/// From 5% more odds to 33 times the odds; effects near a doubling get most of the prior.
#[must_use]
pub fn tilts() -> &'static Grid {
    static GRID: OnceLock<Grid> = OnceLock::new();
    GRID.get_or_init(|| {
        Grid::new((0..TILTS).map(|j| {
            let delta = 0.05 + 3.45 * f64::from(j) / 39.0;
            (delta, -0.5 * (delta / 1.2) * (delta / 1.2))
        }))
    })
}

/// The grid of tilts for conversions, where effects are small: 32 geometric points from 0.02 to 4, all alike a priori.
#[must_use]
pub fn effects() -> &'static Grid {
    static GRID: OnceLock<Grid> = OnceLock::new();
    GRID.get_or_init(|| Grid::new(Grid::geometric(0.02, 4.0, 32).map(|delta| (delta, 0.0))))
}

/// The grid of tilts for shares of traffic: 16 geometric points from 0.005 to 1, upwards and downwards, all alike a priori.
#[must_use]
pub fn shares() -> &'static Grid {
    static GRID: OnceLock<Grid> = OnceLock::new();
    GRID.get_or_init(|| Grid::new(Grid::geometric(0.005, 1.0, 16).flat_map(|delta| [(delta, 0.0), (-delta, 0.0)])))
}

/// The grid of bets: 24 geometric values from 0.01 to 0.9, as fractions of the largest bet that cannot go broke; the
/// prior is uniform.
///
/// Source: Waudby-Smith & Ramdas (2024), testing by betting with a mixture over bets.
#[must_use]
pub fn bets() -> &'static Grid {
    static GRID: OnceLock<Grid> = OnceLock::new();
    GRID.get_or_init(|| Grid::new(Grid::geometric(0.01, 0.9, BETS).map(|bet| (bet, 0.0))))
}

/// Whether a propensity can carry evidence or belief: in \[10⁻⁹, 1\]. Weights go down to 10⁻⁴; what is smaller is zero or a
/// mistake, and dividing by it could overflow.
pub(crate) fn is_propensity(w: f64) -> bool {
    (1e-9..=1.0).contains(&w)
}

/// ln Σⱼ πⱼ·exp(total(δⱼ)): mixes one log factor per point of a grid.
pub(crate) fn mix(grid: &Grid, mut total: impl FnMut(f64) -> f64) -> f64 {
    log_sum_exp(&grid.points().iter().map(|at| at.log_prior + total(at.point)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prior_sums_to_one() {
        for grid in [tilts(), effects(), shares(), bets()] {
            let total: f64 = grid.points().iter().map(|at| exp(at.log_prior)).sum();
            assert!((total - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn the_grids_end_where_they_should() {
        for (grid, count, first, last) in
            [(tilts(), 40, 0.05, 3.5), (effects(), 32, 0.02, 4.0), (shares(), 32, 0.005, -1.0), (bets(), 24, 0.01, 0.9)]
        {
            let points = grid.points();
            assert_eq!(points.len(), count);
            assert!((points[0].point - first).abs() < 1e-15 && (points[count - 1].point - last).abs() < 1e-14);
        }
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
