//! What people are shown of an experiment: the engine's own types, side by side.

use super::tags::tag;
use crate::ledger::{LedgerError, Told};
use crate::mirror::Live;
use crate::server::openapi::wire;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use weir_engine::assess::Assessment;
use weir_engine::health::Health;
use weir_engine::overlap::rank;
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, State};

/// An experiment, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    #[schema(value_type = wire::Experiment)]
    experiment: Arc<Experiment>,
    #[schema(value_type = wire::State)]
    state: State,
    /// The last, on current counts; absent before the first.
    #[schema(value_type = Option<wire::Assessment>)]
    assessment: Option<Arc<Assessment>>,
    /// The last; absent before the first.
    decision: Option<Told>,
    /// The last that moved traffic, or began, paused, resumed or ended it; absent before the first.
    last_change: Option<Told>,
    /// What is known of telemetry.
    #[schema(value_type = wire::Health)]
    health: Health,
    /// What of it is wrong, a sentence each: weights stay meanwhile.
    health_warnings: Vec<String>,
    /// What `If-Match` takes.
    #[serde(skip)]
    tag: String,
    /// Its place among the experiments.
    #[serde(skip)]
    place: (i64, u64),
    /// What the user wrote; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WeightView {
    version: String,
    weight: u32,
}

/// A state as people are shown it: sets of unit buckets are long, and say nothing to them.
fn shown(state: &State) -> State {
    State { units: Vec::new(), ..state.clone() }
}

impl ExperimentView {
    /// What `If-Match` takes.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// Its place in the order of experiments, which no other has.
    pub(crate) fn place(&self) -> (i64, u64, &str) {
        (self.place.0, self.place.1, &self.id)
    }

    pub(super) fn new(live: &Live, health: Health, with_document: bool) -> Result<Self, LedgerError> {
        let names = live.spec.versions.iter().map(|version| version.name.clone());
        Ok(Self {
            tag: tag(live)?,
            place: rank(&live.spec, live.created_at),
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
            decision: live.decision.clone(),
            last_change: live.last_change.clone(),
            health,
            health_warnings: if live.state.is_running() { health.faults() } else { Vec::new() },
            document: with_document.then(|| live.document.clone()),
        })
    }
}
