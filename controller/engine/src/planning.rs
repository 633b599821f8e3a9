//! What the filters are told of an experiment.

use crate::spec::Experiment;
use crate::state::{Phase, State};
use crate::sticky;
use weir_core::plan::{PlannedExperiment, PlannedVersion, Status};

/// The plan's entry for an experiment. `id` is the ledger's: unique for ever; it also salts the hashes of sticky units, so
/// that a new experiment shuffles users anew.
#[must_use]
pub fn planned(experiment: &Experiment, id: &str, state: &State) -> PlannedExperiment {
    let only = |version: usize| (0..experiment.versions.len()).map(|index| u32::from(index == version)).collect();
    let (status, weights) = match state.phase {
        // To filters "concluded" means: route to the one version that has weight, record nothing.
        Phase::Pending => (Status::Concluded, only(experiment.baseline)),
        Phase::Running | Phase::Paused { .. } => (Status::Running, state.weights().to_vec()),
        Phase::Concluded { version, .. } => (Status::Concluded, only(version)),
    };
    PlannedExperiment {
        id: id.to_owned(),
        name: experiment.name.clone(),
        status,
        epoch: state.epoch().map_or(1, |epoch| epoch.epoch),
        matching: experiment.matching.clone(),
        unit: experiment.unit.clone(),
        // The end of it: that is where the randomness of an id is.
        salt: id.get(id.len().saturating_sub(64)..).unwrap_or(id).to_owned(),
        deadline_ms: experiment.deadline_ms,
        bin_ms: experiment.bin_ms,
        measure: experiment.measure,
        failure: experiment.failure.clone(),
        reward: experiment.reward.as_ref().map(|reward| reward.source.clone()),
        // The ledger has it.
        secret: None,
        override_header: experiment.override_header.clone(),
        baseline: experiment.baseline,
        versions: experiment
            .versions
            .iter()
            .zip(weights)
            .enumerate()
            .map(|(index, (version, weight))| PlannedVersion {
                name: version.name.clone(),
                weight,
                headers: version.headers.clone(),
                slow_us: state.epoch().and_then(|epoch| sticky::slow_us(experiment, epoch, index)),
            })
            .collect(),
    }
}
