//! The keeper: the one thread that owns the ledger and its mirror, and the handle by which everybody else asks.
//!
//! Whatever waits is done in one transaction (group commit), and nobody is answered before it is durable. When a
//! transaction fails nothing of it happened: the mirror is read again from the ledger and everybody hears of it.

mod applying;
mod commands;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod order_tests;
mod orders;
mod rewards;
#[cfg(test)]
mod rewards_tests;
mod tags;
#[cfg(test)]
mod tests;
mod views;

pub(crate) use applying::{Applied, ApplyError, Change};
pub(crate) use commands::{Judged, Snapshot};
pub(crate) use orders::{OrderError, Wanted, WantedCommand};
pub(crate) use rewards::{RewardError, Rewarded};
pub(crate) use tags::{Precondition, Unmet};
pub(crate) use views::ExperimentView;

use crate::clock::Clock;
use crate::events::{Events, Kind, Pending};
use crate::explain::Basis;
use crate::ingest::Refused;
use crate::ledger::{Ledger, LedgerError, Told};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::publish::{Published, Publisher, Subscriber, make};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use weir_core::plan::InvalidPlan;
use weir_core::report::{Acknowledgement, Report};
use weir_engine::journal::Actor;
use weir_engine::spec::Experiment;

/// Commands that may wait; more wait outside.
const QUEUE: usize = 1_024;
/// Most commands in one transaction.
const BATCH: usize = 512;

/// Why the keeper gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum KeeperError {
    /// The transaction failed.
    #[error("the ledger cannot be written: {0}")]
    Ledger(Arc<LedgerError>),
    /// The batch failed before this was reached, or the keeper has ended.
    #[error("the controller gave no answer: its ledger failed, or it is shutting down")]
    Gone,
}

/// Why a keeper does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the ledger's experiments make no valid plan")]
    Plan(#[from] InvalidPlan),
    #[error("cannot start the ledger's thread")]
    Thread(#[source] std::io::Error),
}

type Reply<T> = oneshot::Sender<Result<T, KeeperError>>;

/// What can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Count a report.
    Report(Box<Report>, Reply<Result<Acknowledgement, Refused>>),
    /// Reward exposures of the experiment of a name, by their tokens.
    Rewards(String, Vec<(String, f64)>, Reply<Result<Rewarded, RewardError>>),
    /// Create or change experiments, all or none; only say what would happen if `dry_run`.
    Apply {
        document: String,
        experiments: Vec<Experiment>,
        dry_run: bool,
        by: Actor,
        reply: Reply<Result<Vec<Applied>, ApplyError>>,
    },
    /// Delete the experiment of a name. The id of what was deleted.
    Delete { name: String, by: Actor, reason: String, reply: Reply<Option<String>> },
    /// Carry out a person's command.
    Order(Box<Wanted>, Reply<Result<Told, OrderError>>),
    /// Do something if a precondition holds of the experiment of a name.
    If { name: String, wanted: Precondition, command: Box<Command>, unmet: oneshot::Sender<Unmet> },
    /// Every experiment.
    List(Reply<Vec<ExperimentView>>),
    /// The experiment of a name.
    Get(String, Reply<Option<Box<ExperimentView>>>),
    /// Its id, by which a reader of the ledger finds the rest.
    Find(String, Reply<Option<String>>),
    /// What its story is told from, beside the journal.
    Explain(String, Reply<Option<Box<Basis>>>),
    /// What the steward judges.
    Snapshot(Reply<Vec<Snapshot>>),
    /// What the steward decided.
    Decide(Vec<Judged>, Reply<()>),
    /// Whether the ledger can be written.
    Probe(Reply<()>),
}

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce(Result<(), KeeperError>) + Send>;

/// See the module. Without its thread it is a plain state machine, which is what tests use.
pub(crate) struct Keeper {
    ledger: Ledger,
    mirror: Mirror,
    publisher: Publisher,
    metrics: Metrics,
    clock: Clock,
    /// Whether a transaction is under way.
    writing: bool,
    /// Whether the mirror may differ from the ledger, so that it must be read again.
    suspect: bool,
    /// What has happened, told after the commit.
    happened: Vec<Pending>,
    events: Events,
    /// Set by what changes the plan: published after the commit.
    plan: Option<Published>,
    /// Live workers, as last counted.
    live_workers: usize,
    housekept_at: u64,
}

impl Keeper {
    /// Opens the ledger and publishes what it holds.
    pub(crate) fn open(path: &Path, clock: Clock, metrics: Metrics) -> Result<(Self, Subscriber), StartError> {
        let ledger = Ledger::open(path)?;
        let now = clock.now();
        let mut mirror = Mirror::load(&ledger, now)?;
        commands::begin_journals(&ledger, &mut mirror, now)?;
        let plan = make(mirror.planned())?;
        mirror.published = Some((now, plan.revision.clone()));
        let (publisher, subscriber) = Publisher::new(plan);
        let mut keeper = Self {
            ledger,
            mirror,
            publisher,
            metrics,
            clock,
            writing: false,
            suspect: false,
            happened: Vec::new(),
            events: Events::new(&life()?),
            plan: None,
            live_workers: 0,
            housekept_at: 0,
        };
        keeper.count();
        Ok((keeper, subscriber))
    }

    /// Does everything in one transaction, then answers.
    pub(crate) fn handle(&mut self, commands: impl IntoIterator<Item = Command>) {
        let mut answers: Vec<Answer> = Vec::new();
        let mut done = self.refresh();
        for command in commands {
            // After a failure the rest is dropped unanswered, which its askers are told as `Gone`.
            if done.is_ok() {
                done = self.run(command, &mut answers);
            }
        }
        let done = done.and_then(|()| self.commit()).map_err(|error| {
            tracing::error!(error = %Chain(&error), "the ledger failed; nothing of this batch counts");
            self.metrics.ledger_failures.inc();
            self.ledger.roll_back();
            self.writing = false;
            self.plan = None;
            self.happened.clear();
            self.suspect = true;
            KeeperError::Ledger(Arc::new(error))
        });
        for answer in answers {
            answer(done.clone());
        }
    }

    /// Reads the mirror again if it may be wrong.
    fn refresh(&mut self) -> Result<(), LedgerError> {
        if self.suspect {
            let now = self.clock.now();
            let mut loaded = Mirror::load(&self.ledger, now)?;
            loaded.published = self.mirror.published.take();
            self.mirror = loaded;
            self.suspect = false;
        }
        Ok(())
    }

    /// Begins the batch's transaction, if that has not been done.
    fn write(&mut self) -> Result<(), LedgerError> {
        if !self.writing {
            self.ledger.begin()?;
            self.writing = true;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        if self.mirror.is_dirty() {
            self.write()?;
            self.mirror.write_dirty(&self.ledger)?;
        }
        if std::mem::take(&mut self.writing) {
            let began = Instant::now();
            self.ledger.commit()?;
            self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
        }
        if let Some(plan) = self.plan.take() {
            let revision = plan.revision.clone();
            if self.publisher.publish(plan) {
                self.mirror.published = Some((self.clock.now(), revision.clone()));
                self.metrics.plans.inc();
                tracing::info!(revision, "plan published");
            }
        }
        self.events.publish(self.happened.drain(..));
        self.metrics.experiments.set(i64::try_from(self.mirror.experiments.len()).unwrap_or(i64::MAX));
        self.metrics.forgotten_claims.inc_by(self.mirror.take_forgotten_claims());
        self.metrics.waiting_claims.set(i64::try_from(self.mirror.waiting_claims()).unwrap_or(i64::MAX));
        self.metrics.open_cells.set(i64::try_from(self.mirror.open_cells()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// By which others hear what happens.
    pub(crate) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Tells of something once it is on disk.
    fn tell(&mut self, kind: Kind, name: &str, id: &str, what: impl Serialize) -> Result<(), LedgerError> {
        self.happened.push(Pending::new(kind, name, id, what)?);
        Ok(())
    }

    fn count(&mut self) {
        self.live_workers = self.mirror.live_workers(self.clock.now());
        self.metrics.live_workers.set(i64::try_from(self.live_workers).unwrap_or(i64::MAX));
    }

    /// How many more writes of the ledger succeed; negative: all of them.
    #[cfg(test)]
    pub(crate) fn fault(&self) -> Arc<std::sync::atomic::AtomicI64> {
        Arc::clone(&self.ledger.fault)
    }

    /// What it holds, for tests that spoil it.
    #[cfg(test)]
    pub(crate) fn mirror(&mut self) -> &mut Mirror {
        &mut self.mirror
    }

    /// Runs until every handle is gone.
    pub(crate) fn spawn(mut self) -> Result<(Handle, JoinHandle<()>), StartError> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || {
                let mut batch = Vec::with_capacity(BATCH);
                while receiver.blocking_recv_many(&mut batch, BATCH) > 0 {
                    self.handle(batch.drain(..));
                }
            })
            .map_err(StartError::Thread)?;
        Ok((Handle { commands: sender }, thread))
    }
}

/// Tells this life of a controller from others.
fn life() -> Result<String, LedgerError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| LedgerError::Random)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// By which everybody asks the keeper.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Asks, and waits for the answer. `command` is given where to reply.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| KeeperError::Gone)?;
        answer.await.unwrap_or(Err(KeeperError::Gone))
    }
}
