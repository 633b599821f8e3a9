//! What the ledger's rows hold, as the rest of the controller sees it.

use super::LedgerError;
use crate::server::openapi::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use weir_core::report::Counts;
use weir_core::settling::OpenCell;
use weir_engine::assess::Assessment;
use weir_engine::decide::{Action, Decision};
use weir_engine::journal::Order;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

/// An experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExperimentRow {
    /// Unique for ever.
    pub(crate) id: String,
    /// What the user wrote.
    pub(crate) document: String,
    /// What remains of it once it is valid.
    pub(crate) spec: Experiment,
    /// Where it stands.
    pub(crate) state: State,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
}

/// Settled counts of one (experiment, epoch, version).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SettledRow {
    pub(crate) experiment: String,
    pub(crate) epoch: u32,
    /// By index in the experiment.
    pub(crate) version: usize,
    pub(crate) counts: Counts,
    /// What the journal has of them, if that is not all.
    pub(crate) journaled: Option<Counts>,
}

/// One incarnation of one worker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerRow {
    pub(crate) node: String,
    pub(crate) incarnation: String,
    /// Of the last report counted.
    pub(crate) last_sequence: u64,
    /// Unix milliseconds.
    pub(crate) last_seen: u64,
    pub(crate) body: WorkerBody,
}

/// What a worker has not finished.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WorkerBody {
    /// Bins that begin before this are ignored whole: they may have been counted for an incarnation that is forgotten.
    pub(crate) ignore_before: u64,
    /// No bin reported so far begins later than this.
    pub(crate) latest_bin: u64,
    /// By experiment id.
    pub(crate) experiments: BTreeMap<String, OpenExperiment>,
}

/// A worker's unsettled counts of one experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OpenExperiment {
    /// Bins that begin before this are settled.
    pub(crate) watermark: u64,
    /// The others, each (bin, epoch, version) once, in that order.
    pub(crate) cells: Vec<OpenCell>,
}

/// A decision with what it was made on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionRow {
    /// Counts up within the experiment; given by the ledger.
    pub(crate) number: u64,
    #[serde(flatten)]
    pub(crate) told: Told,
    #[schema(value_type = wire::Assessment)]
    pub(crate) assessment: Assessment,
}

/// A decision as people are told of it: with whoever ordered it, and without what says nothing to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    #[serde(flatten)]
    #[schema(value_type = wire::Decision)]
    pub(crate) decision: Decision,
    /// Who ordered it; absent where the engine decided by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Order>, required = false)]
    pub(crate) ordered: Option<Order>,
}

impl Told {
    /// A decision without the sets of unit buckets and the epochs that are over: they are long, and the journal has them.
    pub(crate) fn of(decision: &Decision, ordered: Option<Order>) -> Self {
        let state = &decision.state;
        let epochs = state.epochs.last().cloned().into_iter().collect();
        let state = State { units: Vec::new(), epochs, ..state.clone() };
        Self { decision: Decision { state, ..decision.clone() }, ordered }
    }
}

/// The name of an action, the same in the ledger, in JSON and in metrics.
pub(crate) const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Hold => "hold",
        Action::Renew => "renew",
        Action::Shift => "shift",
        Action::RollBack => "rollBack",
        Action::Promote => "promote",
        Action::Conclude => "conclude",
        Action::Start => "start",
        Action::Pause => "pause",
        Action::Resume => "resume",
        Action::Ask => "ask",
        Action::Trip => "trip",
        Action::Release => "release",
    }
}

/// Reads a JSON column.
pub(super) fn read<T: DeserializeOwned>(table: &'static str, key: &str, text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|source| LedgerError::Unreadable { table, key: key.to_owned(), source })
}

/// Reads a decision's columns.
pub(super) fn told(key: &str, decision: &str, ordered: Option<String>) -> Result<Told, LedgerError> {
    Ok(Told {
        decision: read("decision", key, decision)?,
        ordered: ordered.map(|text| read("decision", key, &text)).transpose()?,
    })
}
