//! Documents applied and experiments deleted: all of a document or nothing, journaled with who did it. Inside a batch's transaction.

use super::Keeper;
use super::commands::{KEEP_DECISIONS, RELEASE};
use crate::apply::{self, Conflict, Edit};
use crate::events::{Kind, Pending};
use crate::ledger::{DecisionRow, ExperimentRow, LedgerError, Told};
use crate::mirror::Live;
use crate::publish::make;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::ToSchema;
use weir_core::plan::{InvalidPlan, PlannedExperiment};
use weir_engine::decide::Decision;
use weir_engine::journal::{Actor, Entry, Event, Trace, trace};
use weir_engine::overlap::{Overlap, rank, refuse_overlap};
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, State};

/// What was done for one experiment of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Applied {
    pub(crate) name: String,
    /// Absent in a dry run that would create it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) result: Change,
    /// What an edit changes, field by field, and what becomes of the weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) reasons: Vec<String>,
}

/// How an experiment changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Change {
    /// As the API says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What applying makes of one experiment, and, of one that was there, the decision that says what changes.
type Planned = (ExperimentRow, Change, Option<Decision>);

/// Why documents are not applied; nothing of them is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{name}: {conflict}")]
    Conflict { name: String, conflict: Conflict },
    #[error("{0}: is there twice")]
    Twice(String),
    #[error("{0}")]
    Overlap(Overlap),
    #[error(
        "{first} has concluded and still routes requests that {second} could match: delete {first}, or give {second} a `priority` above \
         {priority}, which takes them over",
        first = .0.first,
        second = .0.second,
        priority = .0.priority
    )]
    StillRoutes(Overlap),
    #[error("together with the other experiments it makes no valid plan: {0}")]
    Plan(InvalidPlan),
    #[error("the operating system gave no randomness for an id")]
    Random,
}

impl Keeper {
    pub(super) fn apply(
        &mut self,
        document: &str,
        wanted: Vec<Experiment>,
        dry_run: bool,
        by: &Actor,
    ) -> Result<Result<Vec<Applied>, ApplyError>, LedgerError> {
        let now = self.clock.now();
        let (changes, plan) = match self.plan_changes(wanted, document, now) {
            Ok(changes) => changes,
            Err(error) => return Ok(Err(error)),
        };
        let mut applied = Vec::new();
        for (row, change, edit) in changes {
            let created = change == Change::Created;
            let id = (!(dry_run && created)).then(|| row.id.clone());
            let reasons = edit.as_ref().map(|decision| decision.reasons.clone()).unwrap_or_default();
            applied.push(Applied { name: row.spec.name.clone(), id, result: change, reasons });
            if dry_run || change == Change::Unchanged {
                continue;
            }
            self.write()?;
            tracing::info!(experiment = row.id, ?change, "experiment applied");
            let (id, name) = (row.id.clone(), row.spec.name.clone());
            let experiment = Box::new(row.spec.clone());
            let by = by.clone();
            let entry = if created {
                let event = Event::Begin { experiment, by, release: RELEASE.to_owned() };
                let entry = Entry { at: now, event, trace: trace(None, &row.state) };
                self.ledger.insert_experiment(&row)?;
                self.mirror.insert(Live::new(row, None, None));
                entry
            } else {
                self.ledger.update_experiment(&row)?;
                let Some(live) = self.mirror.experiments.get_mut(&row.id) else { continue };
                let trace = match &edit {
                    Some(decision) => Trace::of(&live.state, decision),
                    None => trace(Some(&live.state), &row.state),
                };
                live.document = row.document;
                live.spec = Arc::new(row.spec);
                live.state = row.state;
                live.generation += 1;
                live.stirred = true;
                live.reusable = None;
                if let Some(decision) = edit.filter(|_| live.state.phase != Phase::Pending) {
                    let told = Told::of(&decision, None);
                    if let Some(assessment) = live.assessment.clone() {
                        let row = DecisionRow { number: 0, told: told.clone(), assessment: (*assessment).clone() };
                        self.ledger.insert_decision(&id, &row, KEEP_DECISIONS)?;
                    }
                    if decision.action.moves_traffic() {
                        live.last_change = Some(told.clone());
                    }
                    live.decision = Some(told);
                }
                Entry { at: now, event: Event::Edit { experiment, by }, trace }
            };
            self.journal(&id, &entry, None)?;
            let what = serde_json::json!({ "at": now, "result": change.name() });
            self.tell(Kind::Experiment, &name, &id, what)?;
        }
        if !dry_run {
            self.plan = Some(plan);
        }
        Ok(Ok(applied))
    }

    /// What applying would do, and the plan it would make. Changes nothing.
    fn plan_changes(
        &self,
        wanted: Vec<Experiment>,
        document: &str,
        now: u64,
    ) -> Result<(Vec<Planned>, crate::publish::Published), ApplyError> {
        let mut names = BTreeSet::new();
        let mut entries: Vec<_> = self.mirror.in_order().into_iter().map(|live| self.ranked(live)).collect();
        let mut changes = Vec::new();
        let latest = self.mirror.experiments.values().map(|live| live.created_at).max().unwrap_or(0);
        // Times of creation order the plan, so no two are the same.
        let times = now.max(latest.saturating_add(1))..;
        for (created_at, spec) in times.zip(wanted) {
            if !names.insert(spec.name.clone()) {
                return Err(ApplyError::Twice(spec.name));
            }
            let Some(live) = self.mirror.named(&spec.name) else {
                let id = new_id(&spec.name)?;
                let state = State::begin(&spec, now);
                entries.push((rank(&spec, created_at), self.mirror.entry(&spec, &id, &state)));
                changes.push((
                    ExperimentRow { id, document: document.to_owned(), spec, state, created_at },
                    Change::Created,
                    None,
                ));
                continue;
            };
            let edit = apply::edit(&live.spec, &live.state, &spec, now)
                .map_err(|conflict| ApplyError::Conflict { name: spec.name.clone(), conflict })?;
            let (state, change, edit) = match edit {
                Edit::Unchanged => (live.state.clone(), Change::Unchanged, None),
                Edit::Changed(decision) => (decision.state.clone(), Change::Changed, Some(*decision)),
            };
            if let Some(entry) = entries.iter_mut().find(|(_, entry)| entry.id == live.id) {
                *entry = (rank(&spec, live.created_at), self.mirror.entry(&spec, &live.id, &state));
            }
            let row = ExperimentRow {
                id: live.id.clone(),
                document: document.to_owned(),
                spec,
                state,
                created_at: live.created_at,
            };
            changes.push((row, change, edit));
        }
        self.check_overlaps(&changes)?;
        // As [`Mirror::in_order`] will have it.
        entries.sort_by(|(rank, entry), (other, of_other)| (rank, &entry.id).cmp(&(other, &of_other.id)));
        Ok((changes, make(entries.into_iter().map(|(_, entry)| entry).collect()).map_err(ApplyError::Plan)?))
    }

    /// The plan's entry of an experiment, and its place.
    fn ranked(&self, live: &Live) -> ((i64, u64), PlannedExperiment) {
        (rank(&live.spec, live.created_at), self.mirror.entry(&live.spec, &live.id, &live.state))
    }

    /// Refuses experiments that could match the requests of another, all of them as they are about to be, unless their priorities
    /// say who has them.
    fn check_overlaps(&self, changes: &[Planned]) -> Result<(), ApplyError> {
        let named: BTreeSet<&str> = changes.iter().map(|(row, ..)| row.spec.name.as_str()).collect();
        let others = self.mirror.experiments.values().map(|live| &*live.spec);
        let others: Vec<&Experiment> = others.filter(|other| !named.contains(other.name.as_str())).collect();
        let concluded = |name: &str| self.mirror.named(name).is_some_and(|live| live.state.is_concluded());
        for (at, (row, change, _)) in changes.iter().enumerate() {
            let before = changes.iter().take(at).map(|(row, ..)| &row.spec);
            // What was beside each other stays so.
            let beside = others.iter().copied().filter(|_| *change != Change::Unchanged);
            for other in before.chain(beside) {
                refuse_overlap(other, &row.spec).map_err(|overlap| {
                    if concluded(&overlap.first) {
                        ApplyError::StillRoutes(overlap)
                    } else {
                        ApplyError::Overlap(overlap)
                    }
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &str, by: Actor, reason: String) -> Result<Option<String>, LedgerError> {
        let Some(id) = self.mirror.named(name).map(|live| live.id.clone()) else { return Ok(None) };
        self.write()?;
        let at = self.clock.now();
        self.journal(&id, &Entry { at, event: Event::Delete { by, reason }, trace: Trace::default() }, None)?;
        self.ledger.delete_experiment(&id, at)?;
        self.mirror.remove(&id);
        let what = serde_json::json!({ "at": at, "result": "deleted" });
        self.happened.push(Pending::new(Kind::Experiment, name, &id, what)?.last());
        self.republish();
        tracing::info!(experiment = id, "experiment deleted");
        Ok(Some(id))
    }
}

/// The name and 64 random bits: unique for ever.
fn new_id(name: &str) -> Result<String, ApplyError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| ApplyError::Random)?;
    Ok(format!("{name}-{:016x}", u64::from_be_bytes(bytes)))
}
