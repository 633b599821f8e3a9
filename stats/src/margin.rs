//! Evidence about two versions' rates with room that is partly relative, partly absolute (card B): the usual guardrail where
//! errors are rare, since a ratio of two tiny rates takes long to learn and matters little.

use crate::kernel::{bets, is_propensity};
use crate::process::{Claim, Wealth};
use libm::log1p;
use serde::{Deserialize, Serialize};

/// Settled counts of a baseline `a` and a candidate `b` in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarginEpoch {
    /// Propensity of the baseline; (0, 1].
    pub baseline_propensity: f64,
    /// Propensity of the candidate; (0, 1].
    pub candidate_propensity: f64,
    /// Settled exposures of both.
    pub exposures: u64,
    /// Bad exposures of the baseline.
    pub baseline_bad: u64,
    /// Bad exposures of the candidate.
    pub candidate_bad: u64,
}

/// The e-process of "the candidate's rate is at most `ratio` times the baseline's, plus `margin`": p_b ≤ ρ·p_a + Δ.
///
/// **Null hypothesis** of *violated*: p_b(t) ≤ ρ·p_a(t) + Δ at all times; of *met*: p_b(t) ≥ ρ·p_a(t) + Δ. Any predictable
/// weights, any drift. With w_a and w_b the propensities **within the pair** (they sum to one), each exposure of either
/// multiplies wealth by 1 + g·(X_b/w_b − ρ·X_a/w_a − Δ), X being one for a bad exposure of that version: its expectation is
/// 1 + g·(p_b − ρ·p_a − Δ). Three factors occur, hence counts suffice. With three or more versions, propensities among all of
/// them would leave an expectation above one; exposures of third versions are no steps.
///
/// *Violated* has restarts, *met* has none. Reject at ln E ≥ ln(1/α), valid at every look.
///
/// Source: Waudby-Smith & Ramdas (2024), betting on bounded means with a mixture over bets; inverse propensities as in
/// Waudby-Smith et al. (2024).
#[derive(Debug, Clone, PartialEq)]
pub struct Margin {
    claim: Claim,
    ratio: f64,
    margin: f64,
    wealth: Wealth,
    /// For the weights used last: per bet, the logarithms of the factors of a candidate's bad exposure, a baseline's, and any
    /// other.
    factors: Vec<[f64; 3]>,
    weights: (f64, f64),
}

impl Margin {
    /// No exposures yet. `None` unless `ratio` is within \[10⁻⁹, 1000\] and `margin` within \[0, 1\].
    #[must_use]
    pub fn new(claim: Claim, ratio: f64, margin: f64) -> Option<Self> {
        // Below, the largest bet on a baseline's exposure would be no number.
        let valid = (1e-9..=1000.0).contains(&ratio) && (0.0..=1.0).contains(&margin);
        let wealth = match claim {
            Claim::Violated => Wealth::restarting(bets()),
            Claim::Met => Wealth::plain(bets()),
        };
        valid.then(|| Self { claim, ratio, margin, wealth, factors: Vec::new(), weights: (0.0, 0.0) })
    }

    /// Adds an epoch; one in which either propensity is zero (or anything outside \[10⁻⁹, 1\]) is skipped. Bad exposures beyond
    /// `exposures` are not counted.
    pub fn push(&mut self, epoch: &MarginEpoch) {
        let (a, b) = (epoch.baseline_propensity, epoch.candidate_propensity);
        if !is_propensity(a) || !is_propensity(b) {
            return;
        }
        if self.factors.is_empty() || self.weights != (a, b) {
            self.weights = (a, b);
            self.factors = self.logs(a / (a + b), b / (a + b));
        }
        let candidate_bad = epoch.candidate_bad.min(epoch.exposures);
        let baseline_bad = epoch.baseline_bad.min(epoch.exposures - candidate_bad);
        let rest = (epoch.exposures - candidate_bad - baseline_bad) as f64;
        let (candidate_bad, baseline_bad) = (candidate_bad as f64, baseline_bad as f64);
        let factors = &self.factors;
        self.wealth.push(|i, _| {
            let [of_b, of_a, other] = factors.get(i).copied().unwrap_or_default();
            candidate_bad * of_b + baseline_bad * of_a + rest * other
        });
    }

    fn logs(&self, w_a: f64, w_b: f64) -> Vec<[f64; 3]> {
        let (gain, loss) = (1.0 / w_b - self.margin, self.ratio / w_a + self.margin);
        let largest = match self.claim {
            Claim::Violated => 1.0 / loss,
            // A margin of one in a pair of one: nothing can be lost, and nothing won.
            Claim::Met => 1.0 / gain.max(1e-9),
        };
        let sign = if self.claim == Claim::Violated { 1.0 } else { -1.0 };
        let bets = bets().points().iter().map(|at| sign * at.point * largest);
        bets.map(|g| [log1p(g * gain), log1p(-g * loss), log1p(-g * self.margin)]).collect()
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
    use libm::{exp, log};

    fn one(w: (f64, f64), baseline_bad: u64, candidate_bad: u64) -> MarginEpoch {
        MarginEpoch { baseline_propensity: w.0, candidate_propensity: w.1, exposures: 1, baseline_bad, candidate_bad }
    }

    /// E of one exposure of the pair, on average over whose it is and whether it is bad.
    fn mean(claim: Claim, ratio: f64, margin: f64, w: (f64, f64), p_a: f64, p_b: f64) -> f64 {
        let e = |baseline_bad, candidate_bad| {
            let mut process = Margin::new(claim, ratio, margin).unwrap();
            process.push(&one(w, baseline_bad, candidate_bad));
            // Without the wealth that still waits for a second epoch.
            let waiting = if claim == Claim::Violated { 0.5 } else { 0.0 };
            (exp(process.log_e()) - waiting) / (1.0 - waiting)
        };
        let (a, b) = (w.0 / (w.0 + w.1), w.1 / (w.0 + w.1));
        a * p_a * e(1, 0) + b * p_b * e(0, 1) + (1.0 - a * p_a - b * p_b) * e(0, 0)
    }

    #[test]
    fn at_the_boundary_an_exposure_is_worth_one_on_average_with_any_number_of_versions() {
        for claim in [Claim::Violated, Claim::Met] {
            for w in [(0.5, 0.5), (0.99, 0.01), (0.01, 0.99), (0.2, 0.1), (0.001, 0.002)] {
                for (ratio, margin, p_a) in [(1.0, 0.003, 0.003), (1.5, 0.0, 0.1), (1.2, 0.01, 0.5), (1.0, 0.0, 0.4)] {
                    let found = mean(claim, ratio, margin, w, p_a, ratio * p_a + margin);
                    assert!((found - 1.0).abs() < 1e-12, "{claim:?} {w:?} {ratio} {margin}: {found}");
                }
            }
        }
    }

    #[test]
    fn within_the_null_hypothesis_an_exposure_is_worth_less() {
        assert!(mean(Claim::Violated, 1.0, 0.003, (0.5, 0.5), 0.01, 0.01) < 1.0);
        assert!(mean(Claim::Met, 1.0, 0.003, (0.5, 0.5), 0.01, 0.02) < 1.0);
    }

    #[test]
    fn a_worse_candidate_violates_and_an_equal_one_meets() {
        let epoch = |candidate_bad| MarginEpoch {
            baseline_propensity: 0.5,
            candidate_propensity: 0.5,
            exposures: 20_000,
            baseline_bad: 30,
            candidate_bad,
        };
        let run = |claim, candidate_bad| {
            let mut process = Margin::new(claim, 1.0, 0.003).unwrap();
            process.push(&epoch(candidate_bad));
            process.log_e()
        };
        assert!(run(Claim::Violated, 150) > log(20.0) && run(Claim::Met, 150) < 0.0);
        assert!(run(Claim::Met, 30) > log(20.0) && run(Claim::Violated, 30) < 0.0);
    }

    #[test]
    fn what_means_nothing_is_refused_or_skipped() {
        assert!(Margin::new(Claim::Met, f64::NAN, 0.0).is_none());
        assert!(Margin::new(Claim::Met, 1.0, -0.1).is_none());
        let mut process = Margin::new(Claim::Violated, 1.0, 1.0).unwrap();
        process.push(&MarginEpoch { baseline_propensity: 0.0, ..one((0.5, 0.5), 0, 1) });
        assert!(process.log_e().abs() < 1e-15);
        process.push(&one((1e-9, 1.0), 5, 5));
        process.push(&one((1.0, 1e-9), 5, 5));
        assert!(process.log_e().is_finite());
        let mut met = Margin::new(Claim::Met, 1.0, 1.0).unwrap();
        met.push(&one((1e-9, 1.0), 0, 1));
        assert!(met.log_e().is_finite());
    }
}
