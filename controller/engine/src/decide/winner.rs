//! Who has won, by evidence alone; belief never names one.

use crate::assess::{Assessment, VersionAssessment};
use crate::spec::{Experiment, Strategy};
use crate::state::State;

/// The evident winner; a canary must also have climbed its ladder and stood its least exposures on the last rung, and nobody wins
/// whom the breaker holds.
pub(super) fn winner(experiment: &Experiment, state: &State, assessment: &Assessment) -> Option<usize> {
    let winner = assessment.winner.as_deref()?;
    let index = experiment.versions.iter().position(|version| version.name == winner)?;
    if state.is_tripped(index) || state.sample_ratio_broken {
        return None;
    }
    match &experiment.strategy {
        Strategy::Canary { steps } if index != experiment.baseline => {
            let climbed = state.rung + 1 >= steps.len();
            assessment.versions.get(index).filter(|version| climbed && stood(experiment, version)).map(|_| index)
        }
        _ => Some(index),
    }
}

/// Whether a canary has its least exposures on this rung.
pub(super) fn stood(experiment: &Experiment, version: &VersionAssessment) -> bool {
    version.settled_at_these_weights >= experiment.min_exposures
}
