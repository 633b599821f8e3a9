//! What the keeper does for each command. Everything here happens inside a batch's transaction.

use super::{Answer, Command, ExperimentView, Keeper, Reply, views};
use crate::apply::{self, Conflict, Edit};
use crate::ingest::{Reason, Refused, ingest, needs_room};
use crate::ledger::{DecisionRow, ExperimentRow, LedgerError, action_name};
use crate::mirror::Live;
use crate::publish::make;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::plan::InvalidPlan;
use weir_core::report::{Acknowledgement, Report};
use weir_engine::assess::Assessment;
use weir_engine::decide::Decision;
use weir_engine::planning::planned;
use weir_engine::spec::{Experiment, TOTAL_WEIGHT};
use weir_engine::state::{Observations, State};

/// Decisions that changed nothing but the epoch are kept so many; others ten times as many.
const KEEP_DECISIONS: u32 = 200;
/// At most one decision to hold is kept per so many milliseconds.
const HOLD_EVERY_MS: u64 = 60_000;
/// An assessment is made afresh after so many milliseconds even if no count changed: workers fall silent.
const ASSESS_EVERY_MS: u64 = 10_000;
const HOUSEKEEP_EVERY_MS: u64 = 60_000;
/// Counts and decisions of a deleted experiment are kept for 90 days.
const KEEP_DELETED_MS: u64 = 90 * 86_400_000;
/// Most decisions in one answer.
pub(super) const MAX_DECISIONS: u32 = 1_000;

/// What was done for one experiment of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Applied {
    pub(crate) name: String,
    /// Absent in a dry run that would create it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) result: Change,
}

/// How an experiment changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Change {
    Created,
    Changed,
    Unchanged,
}

/// Why documents are not applied; nothing of them is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{name}: {conflict}")]
    Conflict { name: String, conflict: Conflict },
    #[error("{0}: is there twice")]
    Twice(String),
    #[error("together with the other experiments it makes no valid plan: {0}")]
    Plan(InvalidPlan),
    #[error("the operating system gave no randomness for an id")]
    Random,
}

/// What the steward judges of one experiment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) generation: u64,
    pub(crate) spec: Arc<Experiment>,
    pub(crate) state: State,
    pub(crate) observations: Arc<Observations>,
    /// The last, if nothing has changed since.
    pub(crate) assessment: Option<Arc<Assessment>>,
}

/// What the steward thinks of one experiment.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) id: String,
    /// The snapshot's.
    pub(crate) generation: u64,
    pub(crate) assessment: Arc<Assessment>,
    /// None of a concluded experiment.
    pub(crate) decision: Option<Decision>,
}

/// Answers once the batch is durable.
fn later<T: Send + 'static>(answers: &mut Vec<Answer>, reply: Reply<T>, value: T) {
    // Nobody may be waiting any more: a client that went away.
    answers.push(Box::new(move |done| drop(reply.send(done.map(|()| value)))));
}

impl Keeper {
    pub(super) fn run(&mut self, command: Command, answers: &mut Vec<Answer>) -> Result<(), LedgerError> {
        match command {
            Command::Report(report, reply) => later(answers, reply, self.report(&report)?),
            Command::Apply { document, experiments, dry_run, reply } => {
                later(answers, reply, self.apply(&document, experiments, dry_run)?);
            }
            Command::Delete(name, reply) => later(answers, reply, self.delete(&name)?),
            Command::List(reply) => {
                let views = self.mirror.in_order().into_iter().map(|live| ExperimentView::new(live, false)).collect();
                later(answers, reply, views);
            }
            Command::Get(name, reply) => {
                let view = self.mirror.named(&name).map(|live| Box::new(ExperimentView::new(live, true)));
                later(answers, reply, view);
            }
            Command::Decisions(name, limit, reply) => {
                let decisions = match self.mirror.named(&name) {
                    Some(live) => {
                        let mut rows = self.ledger.decisions(&live.id, limit.min(MAX_DECISIONS))?;
                        rows.iter_mut().for_each(|row| row.decision = views::told(&row.decision));
                        Some(rows)
                    }
                    None => None,
                };
                later(answers, reply, decisions);
            }
            Command::Snapshot(reply) => later(answers, reply, self.snapshot()?),
            Command::Decide(judged, reply) => {
                for judged in judged {
                    self.decide(judged)?;
                }
                later(answers, reply, ());
            }
            Command::Probe(reply) => {
                self.write()?;
                self.ledger.put_setting("probedAt", self.clock.now())?;
                later(answers, reply, ());
            }
        }
        Ok(())
    }

    fn report(&mut self, report: &Report) -> Result<Result<Acknowledgement, Refused>, LedgerError> {
        let now = self.clock.now();
        if needs_room(&self.mirror, report) {
            self.write()?;
            self.mirror.make_room(&self.ledger, now)?;
        }
        Ok(match ingest(&mut self.mirror, report, self.live_workers, now) {
            Ok(accepted) => {
                self.metrics.report_accepted(accepted.duplicate);
                self.metrics.before_horizon.inc_by(accepted.before_horizon);
                if !accepted.duplicate && report.dropped > 0 {
                    self.metrics.dropped.inc_by(report.dropped);
                    tracing::warn!(node = report.node, dropped = report.dropped, "exposures were not recorded");
                }
                Ok(accepted.acknowledgement)
            }
            Err(refused) => {
                self.metrics.report_refused(refused.reason);
                if refused.reason != Reason::Full {
                    tracing::warn!(node = report.node, incarnation = report.incarnation, sequence = report.sequence, %refused, "report refused");
                }
                Err(refused)
            }
        })
    }

    fn apply(
        &mut self,
        document: &str,
        wanted: Vec<Experiment>,
        dry_run: bool,
    ) -> Result<Result<Vec<Applied>, ApplyError>, LedgerError> {
        let now = self.clock.now();
        let (changes, plan) = match self.plan_changes(wanted, document, now) {
            Ok(changes) => changes,
            Err(error) => return Ok(Err(error)),
        };
        let mut applied = Vec::new();
        for (row, change) in changes {
            let created = change == Change::Created;
            let id = (!(dry_run && created)).then(|| row.id.clone());
            applied.push(Applied { name: row.spec.name.clone(), id, result: change });
            if dry_run || change == Change::Unchanged {
                continue;
            }
            self.write()?;
            tracing::info!(experiment = row.id, ?change, "experiment applied");
            if created {
                self.ledger.insert_experiment(&row)?;
                self.mirror.insert(Live::new(row, None, None));
            } else {
                self.ledger.update_experiment(&row)?;
                if let Some(live) = self.mirror.experiments.get_mut(&row.id) {
                    live.document = row.document;
                    live.spec = Arc::new(row.spec);
                    live.state = row.state;
                    live.generation += 1;
                    live.stirred = true;
                }
            }
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
    ) -> Result<(Vec<(ExperimentRow, Change)>, crate::publish::Published), ApplyError> {
        let mut names = BTreeSet::new();
        let mut entries = self.mirror.planned();
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
                entries.push(planned(&spec, &id, &state));
                changes.push((
                    ExperimentRow { id, document: document.to_owned(), spec, state, created_at },
                    Change::Created,
                ));
                continue;
            };
            let edit = apply::edit(&live.spec, &live.state, &spec, now)
                .map_err(|conflict| ApplyError::Conflict { name: spec.name.clone(), conflict })?;
            let (state, change) = match edit {
                Edit::Unchanged => (live.state.clone(), Change::Unchanged),
                Edit::Changed(state) => (*state, Change::Changed),
            };
            if let Some(entry) = entries.iter_mut().find(|entry| entry.id == live.id) {
                *entry = planned(&spec, &live.id, &state);
            }
            let row = ExperimentRow {
                id: live.id.clone(),
                document: document.to_owned(),
                spec,
                state,
                created_at: live.created_at,
            };
            changes.push((row, change));
        }
        Ok((changes, make(entries).map_err(ApplyError::Plan)?))
    }

    fn delete(&mut self, name: &str) -> Result<Option<String>, LedgerError> {
        let Some(id) = self.mirror.named(name).map(|live| live.id.clone()) else { return Ok(None) };
        self.write()?;
        self.ledger.delete_experiment(&id, self.clock.now())?;
        self.mirror.remove(&id);
        self.republish();
        tracing::info!(experiment = id, "experiment deleted");
        Ok(Some(id))
    }

    /// Has the plan that the mirror now makes published. It was checked before the mirror changed, or lost an entry.
    fn republish(&mut self) {
        match make(self.mirror.planned()) {
            Ok(plan) => self.plan = Some(plan),
            Err(error) => {
                self.metrics.steward_failures.inc();
                tracing::error!(%error, "the experiments make no valid plan; the last one stays in force");
            }
        }
    }

    fn snapshot(&mut self) -> Result<Vec<Snapshot>, LedgerError> {
        let now = self.clock.now();
        self.count();
        if now.saturating_sub(self.housekept_at) >= HOUSEKEEP_EVERY_MS {
            self.housekept_at = now;
            self.write()?;
            self.mirror.forget_silent(&self.ledger, now)?;
            self.ledger.prune_deleted(now.saturating_sub(KEEP_DELETED_MS))?;
        }
        let mut observations = self.mirror.observations(now);
        let mut snapshots = Vec::new();
        for live in self.mirror.experiments.values_mut() {
            let fresh = !live.stirred && now.saturating_sub(live.assessed_at) < ASSESS_EVERY_MS;
            if live.state.is_concluded() && !live.stirred && live.assessment.is_some() {
                continue;
            }
            if !fresh {
                live.stirred = false;
                live.assessed_at = now;
            }
            snapshots.push(Snapshot {
                id: live.id.clone(),
                generation: live.generation,
                spec: Arc::clone(&live.spec),
                state: live.state.clone(),
                observations: observations.remove(&live.id).unwrap_or_default(),
                assessment: if fresh { live.assessment.clone() } else { None },
            });
        }
        Ok(snapshots)
    }

    fn decide(&mut self, judged: Judged) -> Result<(), LedgerError> {
        let Judged { id, generation, assessment, decision } = judged;
        let Some(live) = self.mirror.experiments.get_mut(&id) else { return Ok(()) };
        if live.generation != generation {
            // Edited in between: what was decided was about something else.
            live.stirred = true;
            return Ok(());
        }
        live.assessment = Some(Arc::clone(&assessment));
        let Some(decision) = decision else { return Ok(()) };
        if let Err(problem) = check(live, &decision.state) {
            self.metrics.steward_failures.inc();
            tracing::error!(experiment = id, problem, "a decision is not carried out");
            return Ok(());
        }
        let action = decision.action;
        self.metrics.decided(action_name(action));
        let moves = decision.state != live.state;
        let before = moves.then(|| std::mem::replace(&mut live.state, decision.state.clone()));
        let held = !action.changes_the_plan();
        let tell = if held {
            let last = live.held.as_ref();
            last.is_none_or(|(at, reasons)| {
                *reasons != decision.reasons && decision.at.saturating_sub(*at) >= HOLD_EVERY_MS
            })
        } else {
            true
        };
        if action.changes_the_plan() {
            match make(self.mirror.planned()) {
                Ok(plan) => self.plan = Some(plan),
                Err(error) => {
                    if let (Some(live), Some(before)) = (self.mirror.experiments.get_mut(&id), before) {
                        live.state = before;
                    }
                    self.metrics.steward_failures.inc();
                    tracing::error!(experiment = id, %error, "a decision makes no valid plan and is not carried out");
                    return Ok(());
                }
            }
        }
        if moves || tell {
            self.write()?;
        }
        if moves {
            self.ledger.update_state(&id, &decision.state)?;
        }
        if tell {
            let row = DecisionRow { number: 0, decision: decision.clone(), assessment: (*assessment).clone() };
            self.ledger.insert_decision(&id, &row, KEEP_DECISIONS)?;
        }
        let Some(live) = self.mirror.experiments.get_mut(&id) else { return Ok(()) };
        if moves {
            live.generation += 1;
            live.stirred = true;
        }
        if held && tell {
            live.held = Some((decision.at, decision.reasons.clone()));
        }
        if !held {
            tracing::info!(
                experiment = id,
                action = action_name(action),
                reasons = decision.reasons.join(" "),
                "decided"
            );
        }
        // A concluded experiment keeps showing why it did.
        if action.moves_traffic() {
            live.last_change = Some(decision.clone());
        }
        live.decision = Some(decision);
        Ok(())
    }
}

/// Whether a state can be carried out: the last line before filters act on a mistake.
fn check(live: &Live, next: &State) -> Result<(), &'static str> {
    let Some(epoch) = next.epoch() else { return Err("the state has no epoch") };
    if epoch.weights.len() != live.spec.versions.len() || epoch.weights.iter().sum::<u32>() != TOTAL_WEIGHT {
        return Err("the weights do not sum to the whole");
    }
    if live.state.epoch().is_some_and(|before| epoch.epoch < before.epoch) {
        return Err("the epoch goes back");
    }
    Ok(())
}

/// The name and 64 random bits: unique for ever.
fn new_id(name: &str) -> Result<String, ApplyError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| ApplyError::Random)?;
    Ok(format!("{name}-{:016x}", u64::from_be_bytes(bytes)))
}
