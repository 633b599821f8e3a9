//! Evidence about one version's rate against an absolute limit (card D). Knows no second version.
//!
//! A rate is the probability that a request of the version is *bad*: failed, or slower than the limit of a latency
//! objective (P(T > L) ≤ 1−q states "quantile q is at most L").

use crate::kernel::{TILTS, kernel, mix_tilts, tilts};
use crate::special::{log_add_exp, log_sum_exp};
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
/// (those without exposures too, or never those: which epochs count must not depend on outcomes). The last one may still
/// be growing. Time O(epochs), for a grid of 40 tilts.
///
/// `limit` is clamped to \[0, 1\]; NaN gives 0 (no evidence). No epochs give 0.
///
/// Source: Howard, Ramdas, McAuliffe & Sekhon (2021) for each restart's mixture. Restarts: wealth 1 is divided, 1/(s(s+1))
/// waits until epoch s and is bet from then on, and 1/(n+1) is still waiting; a convex combination of supermartingales
/// (Vovk & Wang 2021).
#[must_use]
pub fn log_e_broken(epochs: &[EpochRate], limit: f64) -> f64 {
    // Per tilt: ln Σ_{s≤n} exp(K over epochs s…n)/(s(s+1)), extended epoch by epoch. Epoch n starts a restart of its own
    // and then multiplies all restarts so far, hence (previous + 1/(n(n+1)))·exp(Kₙ).
    let mut restarts = [f64::NEG_INFINITY; TILTS];
    let grid = tilts();
    let mut n = 0.0;
    for epoch in epochs {
        n += 1.0;
        let log_start = -log(n) - log(n + 1.0);
        for (total, tilt) in restarts.iter_mut().zip(&grid) {
            *total = log_add_exp(*total, log_start) + kernel(tilt.delta, epoch.bad, epoch.exposures, limit);
        }
    }
    for (total, tilt) in restarts.iter_mut().zip(&grid) {
        *total += tilt.log_prior;
    }
    log_add_exp(log_sum_exp(&restarts), -log(n + 1.0))
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
    mix_tilts(|delta| kernel(delta, bad, exposures, limit))
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
    mix_tilts(|delta| kernel(-delta, bad, exposures, limit))
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
    use libm::exp;

    fn epoch(bad: u64, exposures: u64) -> EpochRate {
        EpochRate { bad, exposures }
    }

    /// M from its definition, every restart on its own: O(n²).
    fn restarts_one_by_one(epochs: &[EpochRate], limit: f64) -> f64 {
        let n = epochs.len() as f64;
        let mut sum = 1.0 / (n + 1.0);
        for start in 0..epochs.len() {
            let s = start as f64 + 1.0;
            sum += exp(log_e_broken_plain(&epochs[start..], limit)) / (s * (s + 1.0));
        }
        log(sum)
    }

    #[test]
    fn the_linear_time_restart_mixture_is_the_sum_over_restarts() {
        let mut epochs = Vec::new();
        for i in 0..60_u64 {
            epochs.push(epoch((i * i) % 7, 40 + (i * 13) % 90));
            let (fast, slow) = (log_e_broken(&epochs, 0.03), restarts_one_by_one(&epochs, 0.03));
            assert!((fast - slow).abs() < 1e-11 * (1.0 + slow.abs()), "{i}: {fast} and {slow}");
        }
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
}
