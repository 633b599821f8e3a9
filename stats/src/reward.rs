//! Evidence that one version earns more than another, for rewards that are 0 or 1 per exposure (card G).
//! Knows no third version: its requests are steps of the experiment on which nothing is bet.

use crate::kernel::{bets, is_propensity};
use crate::process::Wealth;
use libm::log1p;
use serde::{Deserialize, Serialize};

/// One version's settled counts in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    /// Probability with which the version was assigned in the epoch, among **all** versions of the experiment; (0, 1].
    pub propensity: f64,
    /// Settled exposures.
    pub exposures: u64,
    /// Exposures that were rewarded by their deadline; counted as `exposures` where it is larger.
    pub rewarded: u64,
}

/// Settled counts of a pair of versions in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RewardEpoch {
    /// y₀: the reward rate that the bet is centred on, fixed at the epoch's start from data before it. Any value in
    /// (0, 1) is valid; the pooled rate so far is best. Clamped to \[0, 1\].
    pub centre: f64,
    /// The version that, by the null hypothesis, is at least as good.
    pub a: Arm,
    /// The version claimed to be better.
    pub b: Arm,
}

/// ln of the e-value E(b > a): grows when version `b` is rewarded more often than `a`.
///
/// **Null hypothesis:** p_b(t) ≤ p_a(t) at all times, with any common drift, and weights that may follow the past. Reject
/// ("b is better") at ln E ≥ ln(1/α); valid at every look. For a reward to be minimised, exchange `a` and `b`.
///
/// Each request multiplies wealth by 1 + g·(Y − y₀)(1_b/w_b − 1_a/w_a), whose expectation is 1 + g(p_b − p_a); the bet
/// g = c·min(w_b/y₀, w_a/(1 − y₀)) cannot go broke for c < 1, and c is mixed over [`bets`]. In one epoch only four factors
/// occur, hence counts suffice. Epochs in which either propensity is zero (or anything outside \[10⁻⁹, 1\]) are skipped.
/// No epochs give 0.
///
/// Source: Waudby-Smith & Ramdas (2024), betting; Waudby-Smith et al. (2024), inverse-propensity-weighted differences
/// under adaptive weights; Turner, Ly & Grünwald (2024) for the two-sample setting.
#[must_use]
pub fn log_e_better(epochs: &[RewardEpoch]) -> f64 {
    let mut process = Better::default();
    epochs.iter().for_each(|epoch| process.push(epoch));
    process.log_e()
}

/// The e-process of [`log_e_better`], epoch by epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Better(Wealth);

impl Default for Better {
    fn default() -> Self {
        Self(Wealth::plain(bets()))
    }
}

impl Better {
    /// Adds an epoch, in order of time.
    pub fn push(&mut self, epoch: &RewardEpoch) {
        let (a, b) = (epoch.a, epoch.b);
        if !is_propensity(a.propensity) || !is_propensity(b.propensity) || epoch.centre.is_nan() {
            return;
        }
        // Adding 0 turns a clamped −0 into 0, by which a division gives +∞.
        let centre = epoch.centre.clamp(0.0, 1.0) + 0.0;
        // One of the two quotients may be infinite, never both.
        let largest = (b.propensity / centre).min(a.propensity / (1.0 - centre));
        let (a_paid, a_unpaid) = split(a);
        let (b_paid, b_unpaid) = split(b);
        self.0.push(|_, bet| {
            let stake = bet * largest;
            b_paid * log1p(stake * (1.0 - centre) / b.propensity)
                + b_unpaid * log1p(-stake * centre / b.propensity)
                + a_paid * log1p(-stake * (1.0 - centre) / a.propensity)
                + a_unpaid * log1p(stake * centre / a.propensity)
        });
    }

    /// ln of the e-value so far.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.0.log_e()
    }
}

/// Rewarded and unrewarded exposures.
fn split(arm: Arm) -> (f64, f64) {
    let rewarded = arm.rewarded.min(arm.exposures);
    (rewarded as f64, (arm.exposures - rewarded) as f64)
}
