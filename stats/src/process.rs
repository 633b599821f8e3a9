//! E-processes: wealth on a grid of bets, carried forward epoch by epoch, with or without restarts. Knows no card's
//! hypothesis; a card says by which factor an epoch changes each bet.

use crate::kernel::{Grid, kernel_spent};
use crate::special::{log_add_exp, log_sum_exp};
use libm::{exp, log};

/// Below this the sum of restarts is dwarfed by the next one: it is written anew, so that nothing overflows or cancels.
const REBASE: f64 = -30.0;

/// Wealth per point of a grid, as a left fold over epochs in order of time. Equal histories give equal bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Wealth {
    grid: &'static Grid,
    restarting: bool,
    epochs: u32,
    points: Vec<Point>,
}

/// mantissa·exp(log): with restarts the sum over restarts so far, else 1·exp(Σ log factors).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    log: f64,
    mantissa: f64,
}

impl Wealth {
    /// One mixture over the whole history, for claims that speak of an average so far.
    #[must_use]
    pub fn plain(grid: &'static Grid) -> Self {
        let points = vec![Point { log: 0.0, mantissa: 1.0 }; grid.points().len()];
        Self { grid, restarting: false, epochs: 0, points }
    }

    /// The restart mixture M = Σ_{s≤n} M⁽ˢ⁾/(s(s+1)) + 1/(n+1), M⁽ˢ⁾ using epochs s…n only: a long healthy history leaves
    /// no debt that hides a later regression, and M is still a supermartingale.
    ///
    /// Wealth 1 is divided: 1/(s(s+1)) waits until epoch s and is bet from then on, 1/(n+1) is still waiting; a convex
    /// combination of supermartingales (Vovk & Wang 2021). What settles late multiplies only the restarts that cover its
    /// epoch, so that the order of arrival does not matter either.
    #[must_use]
    pub fn restarting(grid: &'static Grid) -> Self {
        let points = vec![Point { log: 0.0, mantissa: 0.0 }; grid.points().len()];
        Self { grid, restarting: true, epochs: 0, points }
    }

    /// Adds the next epoch: `log_factor(i, x)` is the logarithm of the factor of the i-th point, x. Epochs come in order of
    /// time, and all of them that may carry evidence (those without exposures too: which count must not depend on
    /// outcomes).
    pub fn push(&mut self, mut log_factor: impl FnMut(usize, f64) -> f64) {
        self.epochs = self.epochs.saturating_add(1);
        let n = f64::from(self.epochs);
        let start = if self.restarting { 1.0 / (n * (n + 1.0)) } else { 0.0 };
        for (i, (point, at)) in self.points.iter_mut().zip(self.grid.points()).enumerate() {
            if self.restarting {
                if point.log < REBASE {
                    point.mantissa = point.mantissa * exp(point.log) + start;
                    point.log = 0.0;
                } else {
                    point.mantissa += start * exp(-point.log);
                }
            }
            point.log += log_factor(i, at.point);
        }
    }

    /// ln of the e-value so far.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let terms: Vec<f64> = self
            .points
            .iter()
            .zip(self.grid.points())
            .map(|(point, at)| {
                // One without restarts, of which the logarithm is known.
                at.log_prior + point.log + if self.restarting { log(point.mantissa) } else { 0.0 }
            })
            .collect();
        let bet = log_sum_exp(&terms);
        if self.restarting { log_add_exp(bet, -log(f64::from(self.epochs) + 1.0)) } else { bet }
    }

    /// Epochs so far.
    #[must_use]
    pub const fn epochs(&self) -> u32 {
        self.epochs
    }
}

/// Which way a tilted process bets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// "The limit is broken": grows with more events than the limit allows.
    Violated,
    /// "The limit is kept": grows with fewer events.
    Met,
}

/// What one trial costs at each tilt, for a θ that several processes share: made once for all of them.
#[derive(Debug, Clone)]
pub struct Shared {
    grid: &'static Grid,
    theta: f64,
    up: Vec<f64>,
    down: Vec<f64>,
}

impl Shared {
    /// For processes over this grid; `theta` is clamped to \[0, 1\].
    #[must_use]
    pub fn new(grid: &'static Grid, theta: f64) -> Self {
        Self { grid, theta, up: grid.spent(1.0, theta), down: grid.spent(-1.0, theta) }
    }
}

/// An e-process of tilted binomial trials: per epoch `events` among `trials`, each with probability at most (violated) or
/// at least (met) θ under the null hypothesis. Serves cards A, D, E and F.
///
/// *Violated* has restarts, *met* has none.
#[derive(Debug, Clone, PartialEq)]
pub struct Tilted {
    wealth: Wealth,
    sign: f64,
    /// ln(1 + θ·expm1(±δ)) per point, for the θ used last: most epochs share it.
    spent: Vec<f64>,
    theta: f64,
}

impl Tilted {
    /// No trials yet.
    #[must_use]
    pub fn new(claim: Claim, grid: &'static Grid) -> Self {
        match claim {
            Claim::Violated => Self::over(Wealth::restarting(grid), 1.0),
            Claim::Met => Self::over(Wealth::plain(grid), -1.0),
        }
    }

    /// As [`Tilted::new`] with [`Claim::Violated`], but without restarts: for first events per unit bucket (card F), where a restart
    /// would see mostly the version that fails less, the other's buckets being used up.
    #[must_use]
    pub fn violated_plain(grid: &'static Grid) -> Self {
        Self::over(Wealth::plain(grid), 1.0)
    }

    fn over(wealth: Wealth, sign: f64) -> Self {
        Self { wealth, sign, spent: Vec::new(), theta: f64::NAN }
    }

    /// Adds an epoch. `events` is clamped to `trials`, `theta` to \[0, 1\]; a NaN adds an epoch without evidence.
    pub fn push(&mut self, events: u64, trials: u64, theta: f64) {
        if theta.is_nan() {
            self.wealth.push(|_, _| 0.0);
            return;
        }
        // Bits, not values: the same bits give the same logarithms.
        if self.spent.is_empty() || self.theta.to_bits() != theta.to_bits() {
            self.theta = theta;
            self.spent = self.wealth.grid.spent(self.sign, theta);
        }
        let (spent, sign) = (&self.spent, self.sign);
        self.wealth
            .push(|i, delta| spent.get(i).map_or(0.0, |spent| kernel_spent(sign * delta, events, trials, *spent)));
    }

    /// Epochs so far.
    #[must_use]
    pub const fn epochs(&self) -> u32 {
        self.wealth.epochs()
    }

    /// As [`Tilted::push`], for one of several processes that share a θ.
    pub fn push_shared(&mut self, events: u64, trials: u64, shared: &Shared) {
        let spent = if self.sign > 0.0 { &shared.up } else { &shared.down };
        if !std::ptr::eq(self.wealth.grid, shared.grid) {
            return self.push(events, trials, shared.theta);
        }
        let sign = self.sign;
        self.wealth
            .push(|i, delta| spent.get(i).map_or(0.0, |spent| kernel_spent(sign * delta, events, trials, *spent)));
    }

    /// ln of the e-value so far.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.wealth.log_e()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{kernel, tilts};

    /// M from its definition, every restart on its own: O(n²).
    fn restarts_one_by_one(epochs: &[(u64, u64)], theta: f64) -> f64 {
        let n = epochs.len() as f64;
        let mut terms = vec![-log(n + 1.0)];
        for start in 0..epochs.len() {
            let s = start as f64 + 1.0;
            let (k, m) = epochs[start..].iter().fold((0, 0), |(k, m), (events, trials)| (k + events, m + trials));
            let of_restart: Vec<f64> =
                tilts().points().iter().map(|at| at.log_prior + kernel(at.point, k, m, theta)).collect();
            terms.push(log_sum_exp(&of_restart) - log(s * (s + 1.0)));
        }
        log_sum_exp(&terms)
    }

    #[test]
    fn the_linear_time_restart_mixture_is_the_sum_over_restarts() {
        let mut process = Tilted::new(Claim::Violated, tilts());
        let mut epochs = Vec::new();
        for i in 0..300_u64 {
            // Long healthy stretches, and bad ones: wealth falls by hundreds and rises again.
            let epoch = if i % 100 < 70 { (i % 3, 400) } else { (30 + i % 7, 400) };
            epochs.push(epoch);
            process.push(epoch.0, epoch.1, 0.03);
            let slow = restarts_one_by_one(&epochs, 0.03);
            let fast = process.log_e();
            assert!((fast - slow).abs() < 1e-10 * (1.0 + slow.abs()), "{i}: {fast} and {slow}");
        }
    }

    #[test]
    fn huge_counts_neither_overflow_nor_lose_the_next_restart() {
        let mut process = Tilted::new(Claim::Violated, tilts());
        process.push(0, 1_000_000_000_000, 0.01);
        process.push(1_000_000_000_000, 1_000_000_000_000, 0.01);
        assert!(process.log_e().is_finite() && process.log_e() > 1e11);
        let mut healthy = Tilted::new(Claim::Violated, tilts());
        healthy.push(0, 1_000_000_000_000, 0.01);
        healthy.push(30, 400, 0.01);
        let mut alone = Tilted::new(Claim::Violated, tilts());
        alone.push(0, 0, 0.01);
        alone.push(30, 400, 0.01);
        // Half of the wealth died in the first epoch; the sixth that starts in the second did not.
        assert!(healthy.log_e() > alone.log_e() - log(6.0), "{} {}", healthy.log_e(), alone.log_e());
    }

    #[test]
    fn an_epoch_without_a_hypothesis_is_no_evidence() {
        let mut process = Tilted::new(Claim::Met, tilts());
        process.push(5, 9, f64::NAN);
        assert!(process.log_e().abs() < 1e-14);
        assert_eq!(process.wealth.epochs(), 1);
    }
}
