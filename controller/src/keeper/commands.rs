//! What the keeper does for each command. Everything here happens inside a batch's transaction.

use super::{Answer, Command, ExperimentView, Keeper, Reply};
use crate::events::{Kind, Pending};
use crate::explain::Basis;
use crate::health::health;
use crate::ingest::{Reason, Refused, ingest, needs_room};
use crate::ledger::{DecisionRow, Ledger, LedgerError, Told, action_name};
use crate::mirror::{Live, Mirror};
use crate::publish::{Published, make};
use crate::standing::Standing;
use std::sync::Arc;
use weir_core::plan::InvalidPlan;
use weir_core::report::{Acknowledgement, Report};
use weir_engine::assess::Assessment;
use weir_engine::decide::{Action, Decision};
use weir_engine::health::{ClockStep, Health, LATELY_MS};
use weir_engine::journal::{CellCounts, Entry, Event, Observed, Trace, trace, unsettled};
use weir_engine::spec::{Experiment, TOTAL_WEIGHT};
use weir_engine::state::{Observations, State};

/// Decisions that changed nothing but the epoch are kept so many; others ten times as many.
pub(super) const KEEP_DECISIONS: u32 = 200;
/// At most one decision to hold is kept per so many milliseconds, …
const HOLD_EVERY_MS: u64 = 60_000;
/// … and per this part of the experiment's age: a journal grows with the logarithm of time while nothing happens.
const HOLD_PART: u64 = 500;
/// An assessment is made afresh after so many milliseconds even if no count changed: workers fall silent.
const ASSESS_EVERY_MS: u64 = 10_000;
const HOUSEKEEP_EVERY_MS: u64 = 60_000;
/// Counts and decisions of a deleted experiment are kept for 90 days.
const KEEP_DELETED_MS: u64 = 90 * 86_400_000;

/// What journals say that decides.
pub(super) const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What the steward judges of one experiment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) generation: u64,
    pub(crate) spec: Arc<Experiment>,
    pub(crate) state: State,
    pub(crate) observations: Arc<Observations>,
    /// What had not settled: of the same time as the assessment, if there is one.
    pub(crate) unsettled: Arc<Vec<CellCounts>>,
    /// What is known of telemetry.
    pub(crate) health: Health,
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
    /// What it was made on: the snapshot's.
    pub(crate) observations: Arc<Observations>,
    pub(crate) unsettled: Arc<Vec<CellCounts>>,
    pub(crate) health: Health,
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
            Command::Apply { document, experiments, dry_run, by, reply } => {
                later(answers, reply, self.apply(&document, experiments, dry_run, &by)?);
            }
            Command::Delete { name, by, reason, reply } => later(answers, reply, self.delete(&name, by, reason)?),
            Command::Rewards(name, rewards, reply) => later(answers, reply, self.rewards(&name, &rewards)),
            Command::Order(wanted, reply) => later(answers, reply, self.order(*wanted)?),
            Command::If { name, wanted, command, unmet } => self.run_if(&name, &wanted, *command, unmet, answers)?,
            Command::List(reply) => {
                let live = self.mirror.in_order();
                let views = live.into_iter().map(|live| ExperimentView::new(live, self.health(live), false));
                later(answers, reply, views.collect::<Result<_, _>>()?);
            }
            Command::Get(name, reply) => {
                let live = self.mirror.named(&name);
                let view = live.map(|live| ExperimentView::new(live, self.health(live), true)).transpose()?;
                later(answers, reply, view.map(Box::new));
            }
            Command::Find(name, reply) => later(answers, reply, self.mirror.named(&name).map(|live| live.id.clone())),
            Command::Explain(name, reply) => later(answers, reply, self.basis(&name).map(Box::new)),
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

    pub(super) fn health(&self, live: &Live) -> Health {
        health(&self.mirror, &live.id, &live.spec, self.clock.now())
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
                accepted.claims.iter().for_each(|claimed| self.metrics.claimed(*claimed));
                if !accepted.duplicate {
                    self.metrics.lost_claims.inc_by(report.lost_claims);
                }
                if !accepted.duplicate && report.dropped > 0 {
                    self.mirror.dropped.push_back((now, report.dropped));
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

    /// Adds an entry to an experiment's journal. `seen` are the observations that it has.
    pub(super) fn journal(&mut self, id: &str, entry: &Entry, seen: Option<&Observations>) -> Result<(), LedgerError> {
        self.write()?;
        let Some(live) = self.mirror.experiments.get_mut(id) else { return Ok(()) };
        live.entries += 1;
        self.ledger.insert_entry(id, live.entries, entry)?;
        if let Some(seen) = seen {
            self.mirror.journaled(id, seen);
        }
        Ok(())
    }

    /// What the story of an experiment is told from. A story is told from what has settled: all of that is there, while what has
    /// not is as of the last look, for which all workers' counts were gone through.
    fn basis(&self, name: &str) -> Option<Basis> {
        let live = self.mirror.named(name)?;
        Some(Basis {
            id: live.id.clone(),
            health: self.health(live),
            experiment: Arc::clone(&live.spec),
            state: live.state.clone(),
            observations: Arc::clone(live.observations()),
            decision: live.decision.clone(),
            now: self.clock.now(),
        })
    }

    /// The plan, were an experiment in this state.
    pub(super) fn plan_with(&mut self, id: &str, state: &State) -> Result<Published, InvalidPlan> {
        let swap = |mirror: &mut Mirror, state: State| {
            let live = mirror.experiments.get_mut(id)?;
            Some(std::mem::replace(&mut live.state, state))
        };
        let before = swap(&mut self.mirror, state.clone());
        let plan = make(self.mirror.planned());
        before.and_then(|before| swap(&mut self.mirror, before));
        plan
    }

    /// Has the plan that the mirror now makes published. It was checked before the mirror changed, or lost an entry.
    pub(super) fn republish(&mut self) {
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
        if let Some(step) = self.clock.step() {
            tracing::warn!(milliseconds = step, "the clock stepped; weights stay for a while");
            self.mirror.stepped = Some(ClockStep { at: now, forward_ms: step });
        }
        self.mirror.dropped.retain(|(at, _)| now.saturating_sub(*at) < LATELY_MS);
        if now.saturating_sub(self.housekept_at) >= HOUSEKEEP_EVERY_MS {
            self.housekept_at = now;
            self.write()?;
            self.mirror.forget_silent(&self.ledger, now)?;
            self.mirror.forget_claims(now);
            self.ledger.prune_deleted(now.saturating_sub(KEEP_DELETED_MS))?;
        }
        let mut observations = self.mirror.observations(now);
        let specs = self.mirror.experiments.iter().map(|(id, live)| (id.clone(), Arc::clone(&live.spec)));
        let specs: Vec<_> = specs.collect();
        let healths = specs.iter().map(|(id, spec)| health(&self.mirror, id, spec, now)).collect::<Vec<_>>();
        let stand = self
            .mirror
            .experiments
            .values()
            .zip(&healths)
            .map(|(live, health)| Standing::of(&live.spec, &live.state, live.assessment.as_deref(), health));
        self.metrics.standings.set(stand.collect());
        let mut snapshots = Vec::new();
        // Both in the order of ids.
        for (live, health) in self.mirror.experiments.values_mut().zip(healths) {
            let reusable = live.reusable.clone().filter(|_| !live.stirred);
            let reusable = reusable.filter(|_| now.saturating_sub(live.assessed_at) < ASSESS_EVERY_MS);
            if live.state.is_concluded() && !live.stirred && live.assessment.is_some() {
                continue;
            }
            let fresh = reusable.is_some();
            if !fresh {
                live.stirred = false;
                live.assessed_at = now;
                live.reusable = None;
            }
            let observations = observations.remove(&live.id).unwrap_or_default();
            snapshots.push(Snapshot {
                id: live.id.clone(),
                generation: live.generation,
                spec: Arc::clone(&live.spec),
                state: live.state.clone(),
                unsettled: reusable.unwrap_or_else(|| Arc::new(unsettled(&observations))),
                observations,
                health,
                assessment: if fresh { live.assessment.clone() } else { None },
            });
        }
        Ok(snapshots)
    }

    fn decide(&mut self, judged: Judged) -> Result<(), LedgerError> {
        let Judged { id, generation, assessment, observations, unsettled, health, decision } = judged;
        let Some(live) = self.mirror.experiments.get_mut(&id) else { return Ok(()) };
        if live.generation != generation {
            // Edited in between: what was decided was about something else.
            live.stirred = true;
            return Ok(());
        }
        let anew = live.assessment.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &assessment));
        live.assessment = Some(Arc::clone(&assessment));
        if anew && self.events.are_heard() {
            let what = serde_json::json!({ "at": self.clock.now(), "assessment": *assessment });
            self.happened.push(Pending::new(Kind::Assessment, &live.spec.name, &id, what)?);
        }
        live.reusable = Some(Arc::clone(&unsettled));
        let Some(decision) = decision else { return Ok(()) };
        if let Err(problem) = check(live, &decision.state) {
            self.metrics.steward_failures.inc();
            tracing::error!(experiment = id, problem, "a decision is not carried out");
            return Ok(());
        }
        let action = decision.action;
        self.metrics.decided(action_name(action));
        let moves = decision.state != live.state;
        let trace = Trace::of(&live.state, &decision);
        let before = moves.then(|| std::mem::replace(&mut live.state, decision.state.clone()));
        let held = !(action.changes_the_plan() || action.moves_traffic());
        let every = HOLD_EVERY_MS.max(decision.at.saturating_sub(live.state.started_at) / HOLD_PART);
        let tell = if held {
            let last = live.held.as_ref();
            last.is_none_or(|(at, reasons)| *reasons != decision.reasons && decision.at.saturating_sub(*at) >= every)
        } else {
            true
        } || action == Action::Ask;
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
        let told = Told::of(&decision, None);
        if moves || tell {
            self.write()?;
            let Some(live) = self.mirror.experiments.get(&id) else { return Ok(()) };
            let observed = live.observed(&observations, &unsettled);
            let entry = Entry { at: decision.at, event: Event::Look { observed, health }, trace };
            self.journal(&id, &entry, Some(&observations))?;
        }
        if moves {
            self.ledger.update_state(&id, &decision.state)?;
        }
        if tell {
            let row = DecisionRow { number: 0, told: told.clone(), assessment: (*assessment).clone() };
            self.ledger.insert_decision(&id, &row, KEEP_DECISIONS)?;
        }
        let Some(live) = self.mirror.experiments.get_mut(&id) else { return Ok(()) };
        if tell {
            self.happened.push(Pending::new(Kind::Decision, &live.spec.name, &id, &told)?);
        }
        if moves {
            live.generation += 1;
            live.stirred = true;
            live.reusable = None;
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
            live.last_change = Some(told.clone());
        }
        live.decision = Some(told);
        Ok(())
    }
}

/// Whether a state can be carried out: the last line before filters act on a mistake.
pub(super) fn check(live: &Live, next: &State) -> Result<(), &'static str> {
    let Some(epoch) = next.epoch() else { return Err("the state has no epoch") };
    if epoch.weights.len() != live.spec.versions.len() || epoch.weights.iter().sum::<u32>() != TOTAL_WEIGHT {
        return Err("the weights do not sum to the whole");
    }
    if live.state.epoch().is_some_and(|before| epoch.epoch < before.epoch) {
        return Err("the epoch goes back");
    }
    Ok(())
}

/// Begins the journal of every experiment that has none: those of an older release.
pub(super) fn begin_journals(ledger: &Ledger, mirror: &mut Mirror, now: u64) -> Result<(), LedgerError> {
    let without: Vec<String> =
        mirror.experiments.values().filter(|live| live.entries == 0).map(|live| live.id.clone()).collect();
    if without.is_empty() {
        return Ok(());
    }
    ledger.begin()?;
    for id in without {
        let Some(live) = mirror.experiments.get_mut(&id) else { continue };
        live.entries = 1;
        let observations = Arc::clone(live.observations());
        let event = Event::Continue {
            experiment: Box::new((*live.spec).clone()),
            state: Box::new(live.state.clone()),
            observed: Observed::all(&observations),
            release: RELEASE.to_owned(),
        };
        ledger.insert_entry(&id, 1, &Entry { at: now, event, trace: trace(None, &live.state) })?;
        mirror.journaled(&id, &observations);
    }
    mirror.write_dirty(ledger)?;
    ledger.commit()
}
