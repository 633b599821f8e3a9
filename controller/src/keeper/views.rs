//! What people are shown of an experiment: the engine's own types, side by side.

use crate::mirror::Live;
use serde::Serialize;
use std::sync::Arc;
use weir_engine::assess::Assessment;
use weir_engine::decide::Decision;
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, State};

/// An experiment, as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExperimentView {
    name: String,
    id: String,
    service: String,
    /// `pending`, `running`, `paused` or `concluded`; `state` says how.
    phase: &'static str,
    /// Unix milliseconds.
    created_at: u64,
    /// In the experiment's order, in basis points.
    weights: Vec<WeightView>,
    experiment: Arc<Experiment>,
    state: State,
    /// The last, on current counts; absent before the first.
    assessment: Option<Arc<Assessment>>,
    /// The last; absent before the first.
    decision: Option<Decision>,
    /// The last that moved traffic or concluded; absent before the first.
    last_change: Option<Decision>,
    /// What the user wrote; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct WeightView {
    version: String,
    weight: u32,
}

/// A state as people are shown it: sets of unit buckets are long, and say nothing to them.
fn shown(state: &State) -> State {
    State { units: Vec::new(), ..state.clone() }
}

/// A decision as people are shown it.
pub(super) fn told(decision: &Decision) -> Decision {
    Decision { state: shown(&decision.state), ..decision.clone() }
}

impl ExperimentView {
    pub(super) fn new(live: &Live, with_document: bool) -> Self {
        let names = live.spec.versions.iter().map(|version| version.name.clone());
        Self {
            name: live.spec.name.clone(),
            id: live.id.clone(),
            service: live.spec.service.clone(),
            phase: match live.state.phase {
                Phase::Pending => "pending",
                Phase::Running => "running",
                Phase::Paused { .. } => "paused",
                Phase::Concluded { .. } => "concluded",
            },
            created_at: live.created_at,
            weights: names.zip(live.weights()).map(|(version, weight)| WeightView { version, weight }).collect(),
            experiment: Arc::clone(&live.spec),
            state: shown(&live.state),
            assessment: live.assessment.clone(),
            decision: live.decision.as_ref().map(told),
            last_change: live.last_change.as_ref().map(told),
            document: with_document.then(|| live.document.clone()),
        }
    }
}
