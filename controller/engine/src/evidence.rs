//! What may be acted on: the gates of every objective, and who may still be the best.
//!
//! Settled counts only, and only where each request is its own unit; elsewhere no claim is made (e-value 1).

use crate::assess::{Gate, Stretch, VersionAssessment};
use crate::spec::{Direction, Experiment, Limit};
use crate::state::{State, Verdict};
use weir_stats::rate::{self, EpochRate};
use weir_stats::reward::{self, Arm, RewardEpoch};
use weir_stats::{best, rate::log_e_broken};

/// Natural log of the e-value at which a version is rolled back: Ville's inequality at α_R.
pub(crate) fn roll_back_at(experiment: &Experiment) -> f64 {
    (1.0 / experiment.alpha.roll_back).ln()
}

/// Natural log of the mean e-value at which a version is beaten (card J): Ville's inequality at α_P.
pub(crate) fn beaten_at(experiment: &Experiment) -> f64 {
    (1.0 / experiment.alpha.promotion).ln()
}

/// ln of the mean of e-values, each given by its natural log; of none: 0 (no claim).
pub(crate) fn log_mean(log_es: impl Iterator<Item = f64>) -> f64 {
    let log_es: Vec<f64> = log_es.collect();
    if log_es.is_empty() { 0.0 } else { best::log_mean_e(&log_es, log_es.len() + 1) }
}

/// Per version, its gates in the order of the objectives (card D).
pub(crate) fn gates(experiment: &Experiment, state: &State, stretches: &[Stretch<'_>]) -> Vec<Vec<Gate>> {
    #[expect(clippy::cast_precision_loss, reason = "at most 64 objectives and 16 versions")]
    let (gates, candidates) = (experiment.objectives.len().max(1) as f64, experiment.candidates().max(1) as f64);
    let violated_at = (gates / experiment.alpha.roll_back).ln();
    let met_at = (candidates / experiment.alpha.promotion).ln();
    (0..experiment.versions.len())
        .map(|version| {
            let epochs: Vec<EpochRate> = stretches
                .iter()
                .filter(|_| experiment.requests_are_units())
                .map(|stretch| {
                    let (exposures, bad, _) = stretch.settled(version);
                    EpochRate { bad, exposures }
                })
                .collect();
            experiment
                .objectives
                .iter()
                .enumerate()
                .map(|(index, objective)| {
                    let max = match objective.limit {
                        Limit::ErrorRate { max } => max,
                        Limit::Latency { .. } => f64::NAN,
                    };
                    let (log_e_violated, log_e_met) = (log_e_broken(&epochs, max), rate::log_e_met(&epochs, max));
                    let latched =
                        state.latched.get(index).and_then(|row| row.get(version)).copied().unwrap_or_default();
                    let now = if log_e_violated >= violated_at {
                        Verdict::Violated
                    } else if log_e_met >= met_at {
                        Verdict::Met
                    } else {
                        Verdict::NotEnoughEvidence
                    };
                    Gate {
                        objective: objective.name.clone(),
                        // `Violated` is the greatest: it overrides, and what fired stays fired.
                        verdict: now.max(latched),
                        log_e_violated,
                        violated_at,
                        log_e_met,
                        met_at,
                    }
                })
                .collect()
        })
        .collect()
}

/// Per version k, ln Ē_k of card J: evidence that some version that is not out has a better reward. `None` without a
/// reward.
pub(crate) fn beaten(experiment: &Experiment, state: &State, stretches: &[Stretch<'_>]) -> Vec<Option<f64>> {
    let versions = experiment.versions.len();
    let Some(reward) = &experiment.reward else { return vec![None; versions] };
    (0..versions)
        .map(|k| {
            let log_es: Vec<f64> = (0..versions)
                .filter(|b| *b != k && !state.is_out(*b))
                .map(|b| {
                    if experiment.requests_are_units() { log_e_better(stretches, reward.direction, k, b) } else { 0.0 }
                })
                .collect();
            // Without anyone to compare with it is −∞, which JSON cannot say.
            Some(best::log_mean_e(&log_es, versions).clamp(f64::MIN, f64::MAX))
        })
        .collect()
}

/// ln E(b > a) of card G.
fn log_e_better(stretches: &[Stretch<'_>], direction: Direction, a: usize, b: usize) -> f64 {
    let epochs: Vec<RewardEpoch> = stretches
        .iter()
        .map(|stretch| {
            let arm = |version: usize| {
                let (exposures, _, rewarded) = stretch.settled(version);
                // Less is better: the event is then the absence of the reward.
                let rewarded = match direction {
                    Direction::Maximize => rewarded,
                    Direction::Minimize => exposures.saturating_sub(rewarded),
                };
                Arm { propensity: stretch.epoch.propensity(version), exposures, rewarded }
            };
            let centre = match direction {
                Direction::Maximize => stretch.epoch.centre,
                Direction::Minimize => 1.0 - stretch.epoch.centre,
            };
            RewardEpoch { centre, a: arm(a), b: arm(b) }
        })
        .collect();
    reward::log_e_better(&epochs)
}

/// The version that is the best of the feasible, if the evidence suffices (card J): nobody else may still be the best, it
/// meets every objective (the baseline, which runs already, need not prove that), and every version that is in has its
/// least exposures.
pub(crate) fn winner(experiment: &Experiment, versions: &[VersionAssessment]) -> Option<usize> {
    if !experiment.requests_are_units() {
        return None;
    }
    let enough = versions.iter().all(|version| version.out || version.settled.assigned >= experiment.min_exposures);
    let met = |version: &VersionAssessment| version.objectives.iter().all(|gate| gate.verdict == Verdict::Met);
    if experiment.reward.is_none() {
        // One candidate (the document's rule): safe is all that was asked of it.
        let candidate = versions.iter().position(|version| !version.baseline && !version.out)?;
        return versions.get(candidate).filter(|version| enough && met(version)).map(|_| candidate);
    }
    let mut left = versions.iter().enumerate().filter(|(_, version)| version.may_be_best);
    match (left.next(), left.next()) {
        (Some((index, version)), None) if enough && (version.baseline || met(version)) => Some(index),
        _ => None,
    }
}
