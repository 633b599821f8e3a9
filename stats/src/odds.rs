//! Σ over epochs of m·ln(1 + o·eˣ), m events at odds o: what a pair's e-value is made of at every ratio and every tilt.
//! Tabulated where it is asked for, so that a ratio costs the same however many epochs there are.

use libm::{cos, exp, log1p};
use std::cell::OnceCell;
use std::sync::OnceLock;

/// Chebyshev nodes of a panel. The nearest singularity is π away, 2.1 half-widths: the error falls as 4.4⁻ᴺ, below 1e-14.
const NODES: usize = 22;
/// Width of a panel.
const WIDTH: f64 = 3.0;
/// Panels lie on either side of zero up to here.
const REACH: f64 = 36.0;
const PANELS: usize = 24;

type Coefficients = [f64; NODES];

/// The sum, as a function of x.
pub(crate) struct Odds {
    /// (odds, events).
    terms: Vec<(f64, f64)>,
    panels: [OnceCell<Coefficients>; PANELS],
}

impl Odds {
    /// Of finite, positive odds.
    pub(crate) fn new(terms: Vec<(f64, f64)>) -> Self {
        Self { terms, panels: [const { OnceCell::new() }; PANELS] }
    }

    /// Σ m·ln(1 + o·eˣ) for |x| ≤ 36; beyond, as at the end. Error below 1e-13 of the sum's size.
    pub(crate) fn spent(&self, x: f64) -> f64 {
        let x = x.clamp(-REACH, REACH);
        let at = libm::floor((x + REACH) / WIDTH);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 24")]
        let index = (at as usize).min(PANELS - 1);
        let Some(panel) = self.panels.get(index) else { return 0.0 };
        let middle = (index as f64 + 0.5) * WIDTH - REACH;
        clenshaw(panel.get_or_init(|| self.tabulated(middle)), (x - middle) / (0.5 * WIDTH))
    }

    /// Σ m·o·eˣ/(1 + o·eˣ): how many of the events would be the candidate's at the log ratio x.
    pub(crate) fn expected(&self, x: f64) -> f64 {
        let ratio = exp(x);
        self.terms.iter().map(|(odds, events)| events * (odds * ratio) / (1.0 + odds * ratio)).sum()
    }

    fn tabulated(&self, middle: f64) -> Coefficients {
        let table = cosines();
        let mut values = [0.0; NODES];
        // The first harmonic's row is where the nodes are.
        for (value, place) in values.iter_mut().zip(table.iter().skip(1).flatten()) {
            let ratio = exp(middle + 0.5 * WIDTH * place);
            *value = self.terms.iter().map(|(odds, events)| events * log1p(odds * ratio)).sum();
        }
        let mut coefficients = [0.0; NODES];
        for (coefficient, row) in coefficients.iter_mut().zip(table) {
            *coefficient =
                row.iter().zip(values).map(|(cosine, value)| cosine * value).sum::<f64>() * 2.0 / NODES as f64;
        }
        coefficients
    }
}

/// Σ c_k·T_k(u), the first coefficient halved.
fn clenshaw(coefficients: &Coefficients, u: f64) -> f64 {
    let (mut last, mut before) = (0.0, 0.0);
    for coefficient in coefficients.iter().skip(1).rev() {
        (last, before) = (coefficient + 2.0 * u * last - before, last);
    }
    0.5 * coefficients.first().copied().unwrap_or(0.0) + u * last - before
}

/// cos(π·k·(j + ½)/N).
fn cosines() -> &'static [[f64; NODES]; NODES] {
    static TABLE: OnceLock<[[f64; NODES]; NODES]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|k| {
            std::array::from_fn(|j| cos(core::f64::consts::PI * k as f64 * (j as f64 + 0.5) / NODES as f64))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_sum() {
        let terms = vec![(1.0, 300.0), (0.01, 40.0), (99.0, 7.0), (1e-4, 1e6), (1e9, 2.0), (1e-9, 5.0)];
        let odds = Odds::new(terms.clone());
        for step in -720..=720 {
            let x = f64::from(step) * 0.05;
            let direct: f64 = terms.iter().map(|(odds, events)| events * log1p(odds * exp(x))).sum();
            assert!((odds.spent(x) - direct).abs() < 1e-12 * (1.0 + 1e6_f64.max(direct)), "{x}: {direct}");
        }
        let few = Odds::new(vec![(1.0, 18.0)]);
        for step in -720..=720 {
            let x = f64::from(step) * 0.05;
            assert!((few.spent(x) - 18.0 * log1p(exp(x))).abs() < 1e-12 * (18.0 + few.spent(x)), "{x}");
        }
    }

    #[test]
    fn the_expected_is_the_slope() {
        let odds = Odds::new(vec![(0.3, 10.0), (4.0, 90.0)]);
        let slope = (odds.spent(0.701) - odds.spent(0.699)) / 0.002;
        assert!((odds.expected(0.7) - slope).abs() < 1e-5);
    }
}
