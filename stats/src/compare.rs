//! Evidence about the ratio of two versions' rates (cards A and F): given that an event happened, whose was it?
//! Counts events only; no exposures, no absolute limits.
//!
//! An event may be a bad exposure, a slow one, a conversion, or a unit bucket's first. The argument is the same: given that
//! one happened, at the null hypothesis' boundary it is the candidate's with a probability that is known, whatever the rates
//! are and however they drift together.

use crate::kernel::{Grid, is_propensity, mix, tilts};
use crate::odds::Odds;
use crate::process::{Claim, Tilted};
use crate::search::{highest_below, lowest_above, reached};
use libm::{exp, log};
use serde::{Deserialize, Serialize};

/// Widest ratio looked at: e^±30.
const WIDEST: f64 = 30.0;

/// Settled events of a baseline `a` and a candidate `b` in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairEpoch {
    /// Propensity of the baseline; (0, 1].
    pub baseline_propensity: f64,
    /// Propensity of the candidate; (0, 1].
    pub candidate_propensity: f64,
    /// Events of the baseline.
    pub baseline_events: u64,
    /// Events of the candidate.
    pub candidate_events: u64,
}

/// θ = ρ·w_b/(ρ·w_b + w_a): the probability that an event is the candidate's where p_b = ρ·p_a.
///
/// `None` where the pair cannot be compared: a propensity that is zero (or anything outside \[10⁻⁹, 1\]), or a `ratio` that is
/// not positive and finite. Such an epoch is skipped, which depends on weights alone, never on outcomes.
#[must_use]
pub fn owner(ratio: f64, baseline_propensity: f64, candidate_propensity: f64) -> Option<f64> {
    let usable = is_propensity(baseline_propensity)
        && is_propensity(candidate_propensity)
        && ratio > 0.0
        && (1e-30..=1e30).contains(&ratio);
    let odds = ratio * candidate_propensity;
    usable.then(|| odds / (odds + baseline_propensity))
}

/// Adds an epoch to a process that compares `b` with `a`, unless the pair cannot be compared in it.
pub fn push(process: &mut Tilted, epoch: &PairEpoch, ratio: f64) {
    if let Some(theta) = owner(ratio, epoch.baseline_propensity, epoch.candidate_propensity) {
        let events = epoch.candidate_events.saturating_add(epoch.baseline_events);
        process.push(epoch.candidate_events, events, theta);
    }
}

/// ln of the e-value against "the candidate's rate is at most `ratio` times the baseline's", with restarts: grows when it is
/// violated.
///
/// **Null hypothesis:** p_b(t) ≤ ratio·p_a(t) at all times, with any predictable weights and any common drift. Given that
/// an event happened it is then the candidate's with probability at most ratio·w_b/(ratio·w_b + w_a), whatever the rates.
/// Epochs come in order of time; those in which the pair cannot be compared ([`owner`]) are skipped. No epochs give 0.
///
/// Source: Lindon & Malek (2022), anytime-valid inference for multinomial counts; Lindon, Sanden & Shirikian (2022).
/// Restarts: [`crate::process::Wealth::restarting`].
#[must_use]
pub fn log_e_violated(epochs: &[PairEpoch], ratio: f64) -> f64 {
    folded(Tilted::new(Claim::Violated, tilts()), epochs, ratio)
}

/// As [`log_e_violated`], without restarts: over the whole history. With constant weights the null hypothesis is then also the
/// running average's.
#[must_use]
pub fn log_e_violated_plain(epochs: &[PairEpoch], ratio: f64) -> f64 {
    folded(Tilted::violated_plain(tilts()), epochs, ratio)
}

/// ln of the e-value against "the candidate's rate is at least `ratio` times the baseline's": grows when the guardrail
/// holds.
///
/// **Null hypothesis:** p_b(t) ≥ ratio·p_a(t) at all times. A guardrail needs `ratio` > 1 for equal versions ever to meet
/// it. Otherwise as [`log_e_violated_plain`], with the same source.
#[must_use]
pub fn log_e_met(epochs: &[PairEpoch], ratio: f64) -> f64 {
    folded(Tilted::new(Claim::Met, tilts()), epochs, ratio)
}

fn folded(mut process: Tilted, epochs: &[PairEpoch], ratio: f64) -> f64 {
    epochs.iter().for_each(|epoch| push(&mut process, epoch, ratio));
    process.log_e()
}

/// A confidence sequence for the ratio of the candidate's rate to the baseline's: it holds the ratio at **all** looks, with
/// probability at least 1 − `alpha` (half of α a side), if the ratio is constant while the rates drift as they like.
///
/// `grid` is where the power lies: [`tilts`] for errors, [`crate::kernel::effects`] for conversions. (0, ∞) without events, for
/// a NaN, or where nothing can be said on a side. `alpha` is clamped to \[10⁻¹², 1\].
///
/// Source: as [`log_e_violated`], inverted over the ratio (Howard & Ramdas 2022).
#[must_use]
pub fn ratio_interval(epochs: &[PairEpoch], alpha: f64, grid: &'static Grid) -> (f64, f64) {
    if alpha.is_nan() {
        return (0.0, f64::INFINITY);
    }
    let (odds, of_candidate) = pooled(epochs);
    let bar = log(2.0 / alpha.clamp(1e-12, 1.0));
    // ln(1 + θ·expm1(±δ)) = ln(1 + o·e^(t±δ)) − ln(1 + o·e^t), o being the odds at the ratio one.
    let log_e = |log_ratio: f64, sign: f64| {
        let here = odds.spent(log_ratio);
        mix(grid, |delta| of_candidate * sign * delta - (odds.spent(log_ratio + sign * delta) - here))
    };
    let observed = observed(&odds, of_candidate);
    let (below, above) = (|t: f64| log_e(t, 1.0) - bar, |t: f64| log_e(t, -1.0) - bar);
    let (from, to) = (reached(observed, -WIDEST, below), reached(observed, WIDEST, above));
    let low = highest_below(from, observed, below).map_or(0.0, exp);
    let high = lowest_above(observed, to, above).map_or(f64::INFINITY, exp);
    (low, high)
}

/// The log ratio at which as many events would be the candidate's as are; within ±[`WIDEST`].
fn observed(odds: &Odds, of_candidate: f64) -> f64 {
    let excess = |t: f64| of_candidate - odds.expected(t);
    highest_below(-WIDEST, WIDEST, excess).unwrap_or(-WIDEST)
}

/// Events and the odds of their being the candidate's at equal rates, those of equal odds together, and how many are the
/// candidate's. Epochs in which the pair cannot be compared are left out.
fn pooled(epochs: &[PairEpoch]) -> (Odds, f64) {
    let mut sorted: Vec<(f64, u64)> = Vec::with_capacity(epochs.len());
    let mut of_candidate = 0_u64;
    for epoch in epochs {
        let (a, b) = (epoch.baseline_propensity, epoch.candidate_propensity);
        let events = epoch.candidate_events.saturating_add(epoch.baseline_events);
        if is_propensity(a) && is_propensity(b) && events > 0 {
            sorted.push((b / a, events));
            of_candidate = of_candidate.saturating_add(epoch.candidate_events);
        }
    }
    sorted.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut terms: Vec<(f64, f64)> = Vec::new();
    for (odds, events) in sorted {
        match terms.last_mut() {
            Some(last) if last.0.to_bits() == odds.to_bits() => last.1 += events as f64,
            _ => terms.push((odds, events as f64)),
        }
    }
    (Odds::new(terms), of_candidate as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::effects;

    fn pair(baseline_propensity: f64, candidate_propensity: f64, a: u64, b: u64) -> PairEpoch {
        PairEpoch { baseline_propensity, candidate_propensity, baseline_events: a, candidate_events: b }
    }

    #[test]
    fn an_interval_holds_the_observed_ratio_and_ends_at_the_bar() {
        let epochs = [pair(0.9, 0.1, 90, 25), pair(0.5, 0.5, 40, 85), pair(0.9, 0.1, 10, 2), pair(1.0, 0.0, 7, 0)];
        for grid in [tilts(), effects()] {
            let (low, high) = ratio_interval(&epochs, 0.05, grid);
            assert!(low > 1.0 && low < 2.1 && high > 2.1 && high < 5.0, "{low} {high}");
        }
        let (low, high) = ratio_interval(&epochs, 0.05, tilts());
        assert!((log_e_violated_plain(&epochs, low) - log(40.0)).abs() < 1e-6);
        assert!((log_e_met(&epochs, high) - log(40.0)).abs() < 1e-6);
    }

    #[test]
    fn an_interval_is_mirrored_when_versions_change_places() {
        let (there, back) = ([pair(0.8, 0.2, 30, 4)], [pair(0.2, 0.8, 4, 30)]);
        let ((low, high), (l, h)) = (ratio_interval(&there, 0.1, tilts()), ratio_interval(&back, 0.1, tilts()));
        assert!((low * h - 1.0).abs() < 1e-8 && (high * l - 1.0).abs() < 1e-8, "{low} {high} {l} {h}");
    }

    #[test]
    fn nothing_seen_says_nothing() {
        assert_eq!(ratio_interval(&[], 0.05, tilts()), (0.0, f64::INFINITY));
        assert_eq!(ratio_interval(&[pair(0.5, 0.5, 0, 0)], 0.05, tilts()), (0.0, f64::INFINITY));
        assert_eq!(ratio_interval(&[pair(0.5, 0.5, 9, 3)], f64::NAN, tilts()), (0.0, f64::INFINITY));
        assert!(log_e_violated(&[pair(0.0, 0.5, 0, 90)], 1.0).abs() < 1e-14);
        assert!(log_e_met(&[pair(0.5, 0.5, 90, 0)], f64::NAN).abs() < 1e-14);
    }
}
