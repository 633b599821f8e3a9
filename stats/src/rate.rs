//! Evidence about one version's rate against an absolute limit (card D). Knows no second version.
//!
//! A rate is the probability that a request of the version is *bad*: failed, or slower than the limit of a latency
//! objective (P(T > L) ≤ 1−q states "quantile q is at most L").

use crate::kernel::{Grid, kernel, mix, tilts};
use crate::process::{Claim, Tilted};
use crate::search::{highest_below, lowest_above, reached};
use libm::log;
use serde::{Deserialize, Serialize};

/// Settled counts of one version in one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochRate {
    /// Exposures that turned out bad by their deadline; counted as `exposures` where it is larger.
    pub bad: u64,
    /// Settled exposures.
    pub exposures: u64,
}

/// ln of the e-value against "the version keeps its limit", with restarts: grows when the version is broken.
///
/// **Null hypothesis:** every exposure's probability of being bad, given the past, is at most `limit`: p(t) ≤ limit, at
/// all times. Reject ("broken") at ln E ≥ ln(1/α); valid at every look.
///
/// The restart mixture M = Σ_{s≤n} M⁽ˢ⁾/(s(s+1)) + 1/(n+1) starts afresh at each epoch s, so that a long healthy history
/// does not hide a later regression; it is still a supermartingale. Epochs come **in order of time**, and all of them
/// (those without exposures too, or never those: which epochs count must not depend on outcomes). Any of them may still
/// be growing. Time O(epochs); [`Tilted`] is the same as a fold.
///
/// `limit` is clamped to \[0, 1\]; NaN gives 0 (no evidence). No epochs give 0.
///
/// Source: Howard, Ramdas, McAuliffe & Sekhon (2021) for each restart's mixture; Vovk & Wang (2021) for their combination
/// ([`crate::process::Wealth::restarting`]).
#[must_use]
pub fn log_e_broken(epochs: &[EpochRate], limit: f64) -> f64 {
    let mut process = Tilted::new(Claim::Violated, tilts());
    for epoch in epochs {
        process.push(epoch.bad, epoch.exposures, limit);
    }
    process.log_e()
}

/// ln of the e-value against "the version keeps its limit", without restarts.
///
/// **Null hypothesis:** the average of p(t) over the exposures so far is at most `limit`. With a constant rate it finds a
/// break a little earlier than [`log_e_broken`], after a long healthy history very much later. For comparison and for
/// golden numbers; gates use restarts.
///
/// Source: Howard, Ramdas, McAuliffe & Sekhon (2021), sub-Bernoulli mixture.
#[must_use]
pub fn log_e_broken_plain(epochs: &[EpochRate], limit: f64) -> f64 {
    let (bad, exposures) = totals(epochs);
    log_e_above(bad, exposures, limit, tilts())
}

/// ln of the e-value against "the version breaks its limit": grows when the objective is met.
///
/// **Null hypothesis:** the average of p(t) over the version's own settled exposures so far is at least `limit`. (With
/// z = e⁻ᵟ − 1, Σ ln(1 + p(t)z) ≤ n·ln(1 + p̄z) ≤ n·ln(1 + limit·z) by concavity, so that E stays below a martingale
/// whenever the average does not keep the limit.) Reject ("met") at ln E ≥ ln(1/α), valid at every look; "met" speaks of
/// that average, not of this moment.
///
/// `limit` is clamped to \[0, 1\]; NaN gives 0 (no evidence). No exposures give 0.
///
/// Source: Howard, Ramdas, McAuliffe & Sekhon (2021), sub-Bernoulli mixture, tilted downwards.
#[must_use]
pub fn log_e_met(epochs: &[EpochRate], limit: f64) -> f64 {
    let (bad, exposures) = totals(epochs);
    log_e_below(bad, exposures, limit, tilts())
}

/// A confidence sequence for a version's rate: the average of p(t) over the exposures so far lies within the interval at
/// **all** looks, with probability at least 1 − `alpha`. Half of α a side.
///
/// Wider than an interval for one look alone; unlike that one it may be looked at whenever one likes. Only totals matter.
/// `alpha` is clamped to \[10⁻¹², 1\]; NaN, or no exposures, gives (0, 1). Ends are exact to 1e-9 of their distance from 0 or 1.
///
/// Source: the inversion over the limit of [`log_e_broken_plain`] and [`log_e_met`] (Howard & Ramdas 2022, confidence
/// sequences by inverting e-processes).
#[must_use]
pub fn interval(bad: u64, exposures: u64, alpha: f64) -> (f64, f64) {
    interval_on(bad, exposures, alpha, tilts())
}

/// As [`interval`], over another grid of tilts.
fn interval_on(bad: u64, exposures: u64, alpha: f64, grid: &'static Grid) -> (f64, f64) {
    if exposures == 0 || alpha.is_nan() {
        return (0.0, 1.0);
    }
    let bad = bad.min(exposures);
    let bar = log(2.0 / alpha.clamp(1e-12, 1.0));
    let observed = bad as f64 / exposures as f64;
    // On the log-odds scale both ends are well separated from 0 and 1.
    let rate = |t: f64| 1.0 / (1.0 + libm::exp(-t));
    let middle = (log(observed) - libm::log1p(-observed)).clamp(-36.0, 36.0);
    let above = |t: f64| log_e_above(bad, exposures, rate(t), grid) - bar;
    let below = |t: f64| log_e_below(bad, exposures, rate(t), grid) - bar;
    let low = highest_below(reached(middle, -80.0, above), middle, above).map_or(0.0, rate);
    let high = lowest_above(middle, reached(middle, 36.0, below), below).map_or(1.0, rate);
    (if bad == 0 { 0.0 } else { low.min(observed) }, if bad == exposures { 1.0 } else { high.max(observed) })
}

fn log_e_above(bad: u64, exposures: u64, limit: f64, grid: &Grid) -> f64 {
    mix(grid, |delta| kernel(delta, bad, exposures, limit))
}

fn log_e_below(bad: u64, exposures: u64, limit: f64, grid: &Grid) -> f64 {
    mix(grid, |delta| kernel(-delta, bad, exposures, limit))
}

/// Merging is addition: the limit is the same in every epoch, so only totals matter.
fn totals(epochs: &[EpochRate]) -> (u64, u64) {
    epochs.iter().fold((0, 0), |(bad, exposures): (u64, u64), epoch| {
        (bad.saturating_add(epoch.bad.min(epoch.exposures)), exposures.saturating_add(epoch.exposures))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(bad: u64, exposures: u64) -> EpochRate {
        EpochRate { bad, exposures }
    }

    #[test]
    fn an_epoch_without_exposures_changes_nothing_at_the_end() {
        let mut epochs = vec![epoch(3, 100), epoch(9, 120)];
        let before = log_e_broken(&epochs, 0.03);
        epochs.push(epoch(0, 0));
        assert!((log_e_broken(&epochs, 0.03) - before).abs() < 1e-13);
    }

    #[test]
    fn a_long_healthy_history_does_not_hide_a_regression() {
        let mut epochs = vec![epoch(15, 5000); 60];
        assert!(log_e_broken(&epochs, 0.01) < 0.0);
        epochs.extend([epoch(50, 1000); 2]);
        assert!(log_e_broken(&epochs, 0.01) > log(20.0), "found with restarts");
        assert!(log_e_broken_plain(&epochs, 0.01) < 0.0, "and not without");
    }

    #[test]
    fn nothing_seen_is_no_evidence() {
        for limit in [0.0, 0.02, 1.0, -3.0, 7.0, f64::NAN] {
            assert!(log_e_broken(&[], limit).abs() < 1e-15);
            assert!(log_e_met(&[epoch(0, 0)], limit).abs() < 1e-14);
            assert!(log_e_broken_plain(&[epoch(4, 0)], limit).abs() < 1e-14, "bad without exposures");
        }
        // No limit, no claim; one mixture's prior sums to one only up to rounding.
        assert!(log_e_broken(&[epoch(5, 9)], f64::NAN).abs() < 1e-14);
        assert!(log_e_met(&[epoch(5, 9)], f64::NAN).abs() < 1e-14);
    }

    #[test]
    fn an_interval_ends_where_the_e_values_reach_their_bar() {
        for (bad, exposures) in [(0, 500), (12, 400), (1, 1_000_000), (499, 500), (500, 500), (30, 10_000_000_000)] {
            let (low, high) = interval(bad, exposures, 0.05);
            let observed = bad as f64 / exposures as f64;
            assert!(0.0 <= low && low <= observed && observed <= high && high <= 1.0, "{bad} {low} {high}");
            let bar = log(40.0);
            // One event, or one exposure without, is worth at most e^3.5.
            assert_eq!((low == 0.0, high == 1.0), (bad <= 1, exposures - bad <= 1), "{bad}: {low} {high}");
            if low > 0.0 {
                assert!((log_e_above(bad, exposures, low, tilts()) - bar).abs() < 1e-6, "{bad}: {low}");
            }
            if high < 1.0 {
                assert!((log_e_below(bad, exposures, high, tilts()) - bar).abs() < 1e-6, "{bad}: {high}");
            }
        }
        assert_eq!(interval(0, 0, 0.05), (0.0, 1.0));
        assert_eq!(interval(3, 9, f64::NAN), (0.0, 1.0));
    }
}
