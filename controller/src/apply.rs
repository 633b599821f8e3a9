//! Editing: what applying a document to an experiment that is there already means. Pure.
//!
//! While an experiment runs, nothing that changes the meaning of its evidence may change; bounds and durations may, and
//! begin a new epoch.

use weir_engine::command::Refusal;
use weir_engine::decide::{Decision, edited};
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, State};

/// What applying does.
#[derive(Debug, PartialEq)]
pub(crate) enum Edit {
    /// Nothing: it is there already.
    Unchanged,
    /// The new specification; the decision says what it changes and has the state from here on.
    Changed(Box<Decision>),
}

/// Why a document cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Conflict {
    /// It changes what evidence means.
    #[error("{field} cannot change while the experiment runs: what was counted so far would mean something else")]
    ChangesEvidence {
        /// As in the document.
        field: &'static str,
    },
    /// The engine refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is over.
    #[error("the experiment has concluded; delete it first to begin another of the same name")]
    Concluded,
}

/// Applies `wanted` to an experiment.
///
/// # Errors
/// The first [`Conflict`].
pub(crate) fn edit(current: &Experiment, state: &State, wanted: &Experiment, now: u64) -> Result<Edit, Conflict> {
    if current == wanted {
        return Ok(Edit::Unchanged);
    }
    if state.is_concluded() {
        return Err(Conflict::Concluded);
    }
    if state.phase == Phase::Pending {
        // Nothing was counted yet.
        return Ok(Edit::Changed(Box::new(edited(current, wanted, state, now)?)));
    }
    let strategy_kind = std::mem::discriminant(&current.strategy) == std::mem::discriminant(&wanted.strategy);
    let frozen = [
        ("spec.service", current.service == wanted.service),
        ("spec.match", current.matching == wanted.matching),
        ("spec.unit", current.unit == wanted.unit),
        ("spec.versions", current.versions == wanted.versions && current.baseline == wanted.baseline),
        ("spec.strategy", strategy_kind),
        ("spec.objectives", current.objectives == wanted.objectives),
        ("spec.guardrails", current.guardrails == wanted.guardrails),
        ("spec.reward", current.reward == wanted.reward),
        ("spec.alpha", current.alpha == wanted.alpha),
        ("spec.deadline", current.deadline_ms == wanted.deadline_ms),
        ("spec.bin", current.bin_ms == wanted.bin_ms),
        ("spec.measure", current.measure == wanted.measure),
        ("spec.failure", current.failure == wanted.failure),
    ];
    if let Some((field, _)) = frozen.into_iter().find(|(_, same)| !same) {
        return Err(Conflict::ChangesEvidence { field });
    }
    Ok(Edit::Changed(Box::new(edited(current, wanted, state, now)?)))
}
