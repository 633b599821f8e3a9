//! Who is beaten, by whom, and who has won: evidence about rewards (cards G, H, J), never belief.

use super::{Better, VersionAssessment};
use crate::evidence::{Fold, RealRewards, finite};
use crate::gates;
use crate::spec::Experiment;
use crate::state::State;
use weir_stats::best;

/// ln Ē_k of card J: evidence that some version that is not out has a better reward than k. `None` without a reward, or where no
/// other version is in.
pub(super) fn beaten(experiment: &Experiment, state: &State, fold: &Fold, real: &RealRewards, k: usize) -> Option<f64> {
    experiment.reward.as_ref()?;
    let versions = experiment.versions.len();
    let log_es: Vec<f64> =
        (0..versions).filter(|b| *b != k && !state.is_out(*b)).map(|b| better(fold, real, b, k)).collect();
    // Nobody is left who could be better.
    if log_es.is_empty() {
        return None;
    }
    Some(finite(best::log_mean_e(&log_es, versions)))
}

/// ln E(b > k): evidence that `b` has a better reward than `k`; 0 where there is none.
fn better(fold: &Fold, real: &RealRewards, b: usize, k: usize) -> f64 {
    fold.log_e_better(b, k).or_else(|| real.log_e_better(b, k)).unwrap_or(0.0)
}

/// Every pair of more than two versions: of two, the one's being beaten is the other's being better.
pub(super) fn all_better(experiment: &Experiment, fold: &Fold, real: &RealRewards) -> Vec<Better> {
    let versions = experiment.versions.len();
    if versions < 3 || experiment.reward.is_none() {
        return Vec::new();
    }
    let pairs = (0..versions).flat_map(|b| (0..versions).filter(move |k| *k != b).map(move |k| (b, k)));
    let log_e = |b, k| fold.log_e_better(b, k).or_else(|| real.log_e_better(b, k)).map(finite);
    pairs.filter_map(|(b, k)| Some(Better { version: b, than: k, log_e: log_e(b, k)? })).collect()
}

/// Whether `b` itself has beaten every other version that is in: E(b > k) ≥ (K − 1)/α_P each. Then the best of the versions that keep
/// their limits, unless it was rolled back falsely, is passed over with probability at most α_P, by the union over the K − 1 that could
/// be promoted in its stead. Card J's mean alone would not say so: another version, out by now, may have supplied the evidence.
pub(super) fn beats_all(experiment: &Experiment, state: &State, fold: &Fold, real: &RealRewards, b: usize) -> bool {
    let versions = experiment.versions.len();
    let mut others = (0..versions).filter(|k| *k != b && !state.is_out(*k));
    others.all(|k| finite(best::log_mean_e(&[better(fold, real, b, k)], versions)) >= gates::beaten_at(experiment))
}

/// The version that is the best of the feasible, if the evidence suffices: it has beaten everybody else who is in, nobody else may
/// still be the best (card J), it meets every gate that evidence covers (the baseline, which runs already, need not prove that), and
/// every version that is in has its least exposures.
pub(super) fn winner(
    experiment: &Experiment,
    versions: &[VersionAssessment],
    beats_all: impl Fn(usize) -> bool,
) -> Option<usize> {
    let enough = versions.iter().all(|version| version.out || version.settled.assigned >= experiment.min_exposures);
    if experiment.reward.is_none() {
        // One candidate (the document's rule): safe is all that was asked of it.
        let candidate = versions.iter().position(|version| !version.baseline && !version.out)?;
        return versions.get(candidate).filter(|version| enough && version.meets_every_gate()).map(|_| candidate);
    }
    // The baseline has nobody to beat then, and stays without winning.
    if versions.iter().all(|version| version.out || version.baseline) {
        return None;
    }
    let kept = |version: &VersionAssessment| {
        version.baseline || version.meets_every_gate() || version.gates.iter().all(|gate| !gate.covered)
    };
    let mut left = versions.iter().enumerate().filter(|(_, version)| version.may_be_best);
    match (left.next(), left.next()) {
        (Some((index, version)), None) if enough && kept(version) && beats_all(index) => Some(index),
        _ => None,
    }
}
