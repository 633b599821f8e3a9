//! Evidence about the ratio of two versions' rates (card A): given that an event happened, whose was it?
//! Counts events only; no exposures, no absolute limits.

use crate::kernel::{is_propensity, kernel, mix_tilts};
use serde::{Deserialize, Serialize};

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

/// ln of the e-value against "the candidate's rate is at most `ratio` times the baseline's": grows when it is violated.
///
/// **Null hypothesis:** p_b(t) ≤ ratio·p_a(t) at all times, with any predictable weights and any common drift. Given that
/// an event happened it is then the candidate's with probability at most ratio·w_b/(ratio·w_b + w_a), whatever the rates.
/// Without restarts. Epochs with a propensity that is zero (or anything outside \[10⁻⁹, 1\]) are skipped; a `ratio` that is not
/// positive and finite gives 0 (no evidence).
///
/// Source: Lindon & Malek (2022), anytime-valid inference for multinomial counts; Lindon, Sanden & Shirikian (2022).
#[must_use]
pub fn log_e_violated(epochs: &[PairEpoch], ratio: f64) -> f64 {
    mixed(epochs, ratio, 1.0)
}

/// ln of the e-value against "the candidate's rate is at least `ratio` times the baseline's": grows when the guardrail
/// holds.
///
/// **Null hypothesis:** p_b(t) ≥ ratio·p_a(t) at all times. A guardrail needs `ratio` > 1 for equal versions ever to meet
/// it. Otherwise as [`log_e_violated`], with the same source.
#[must_use]
pub fn log_e_met(epochs: &[PairEpoch], ratio: f64) -> f64 {
    mixed(epochs, ratio, -1.0)
}

fn mixed(epochs: &[PairEpoch], ratio: f64, sign: f64) -> f64 {
    if !(ratio > 0.0 && ratio.is_finite()) {
        return 0.0;
    }
    mix_tilts(|delta| {
        let logs = epochs.iter().filter(|epoch| usable(epoch)).map(|epoch| {
            let odds = ratio * epoch.candidate_propensity;
            let events = epoch.candidate_events.saturating_add(epoch.baseline_events);
            kernel(sign * delta, epoch.candidate_events, events, odds / (odds + epoch.baseline_propensity))
        });
        logs.sum()
    })
}

fn usable(epoch: &PairEpoch) -> bool {
    is_propensity(epoch.baseline_propensity) && is_propensity(epoch.candidate_propensity)
}
