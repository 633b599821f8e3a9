//! What the controller's tests share: experiments, reports, a keeper on a ledger of its own with a clock to be set.

use crate::clock::Clock;
use crate::keeper::{Applied, ApplyError, Command, Keeper, KeeperError, OrderError, Wanted, WantedCommand};
use crate::ledger::{DecisionRow, JournalRow, Ledger, Told};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::publish::Subscriber;
use crate::steward::judge;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::sync::oneshot;
use weir_core::histogram::Histogram;
use weir_core::plan::{FORMAT, Plan};
use weir_core::report::{Cell, Counts, Report, ReportedExperiment};
use weir_engine::assess::Assessor;
use weir_engine::document;
use weir_engine::journal::Actor;
use weir_engine::spec::Experiment;

/// When tests begin: a multiple of a second.
pub(crate) const START: u64 = 1_800_000_000_000;

/// The document of a bandit with versions v1 and v2, bins of 1 s and a deadline of 2 s.
pub(crate) fn document(name: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: {name}}}
spec:
  service: shop
  match: {{hosts: [{name}.example]}}
  versions:
    - {{name: v1, baseline: true}}
    - {{name: v2}}
  objectives: [{{name: errors, errorRate: {{max: 2%}}}}]
  reward: {{responseHeader: x-weir-reward, direction: maximize}}
  deadline: 2s
  bin: 1s
  minExposures: 200
  maxDuration: 7d
"
    )
}

/// The experiment of [`document`].
pub(crate) fn experiment(name: &str) -> Experiment {
    document::read(&document(name)).expect("a valid document").remove(0)
}

/// So many exposures, completed without failure.
pub(crate) fn counts(assigned: u64, completed: u64) -> Counts {
    let mut latency = Histogram::default();
    latency.add(300, completed);
    Counts { assigned, completed, latency, ..Counts::default() }
}

/// Cells of the first epoch.
pub(crate) fn cell(version: &str, bin: u64, counts: Counts) -> Cell {
    Cell { epoch: 1, version: version.to_owned(), bin, counts }
}

/// A report of an incarnation about one experiment.
pub(crate) fn report(incarnation: u32, sequence: u64, id: &str, watermark: u64, cells: Vec<Cell>) -> Report {
    Report {
        format: FORMAT,
        node: "node".to_owned(),
        incarnation: format!("{incarnation:032x}"),
        sequence,
        plan: "r".to_owned(),
        stale: false,
        dropped: 0,
        experiments: vec![ReportedExperiment { id: id.to_owned(), watermark, cells }],
        claims: Vec::new(),
        lost_claims: 0,
    }
}

/// A keeper without its thread.
pub(crate) struct Bench {
    /// None between [`Self::crash`] and [`Self::restart`].
    keeper: Option<(Keeper, Subscriber)>,
    pub(crate) metrics: Metrics,
    now: Arc<AtomicU64>,
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut bench = Self {
            keeper: None,
            metrics: Metrics::new(),
            now: Arc::new(AtomicU64::new(START)),
            folder: tempfile::tempdir().expect("a folder"),
        };
        bench.restart();
        bench
    }

    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.folder.path().join("weir.db")
    }

    pub(crate) fn set_time(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::from_fn(move || now.load(Ordering::Relaxed))
    }

    /// Ends it without any farewell.
    pub(crate) fn crash(&mut self) {
        self.keeper = None;
    }

    /// Ends it, if it runs, and starts it on the same ledger.
    pub(crate) fn restart(&mut self) {
        self.crash();
        self.keeper =
            Some(Keeper::open(&self.ledger_file(), self.clock(), self.metrics.clone()).expect("the ledger opens"));
    }

    /// One look of the steward, without what it remembers between looks.
    pub(crate) fn look(&mut self) {
        let snapshots = self.ask(Command::Snapshot).expect("an answer");
        let now = self.now.load(Ordering::Relaxed);
        let judged = snapshots.into_iter();
        let judged =
            judged.map(|snapshot| judge(snapshot, Assessor::default(), now, &self.metrics).expect("it computes").0);
        let judged = judged.collect();
        self.ask(|reply| Command::Decide(judged, reply)).expect("an answer");
    }

    /// Carries out a person's command.
    pub(crate) fn order(&mut self, name: &str, command: WantedCommand) -> Result<Told, OrderError> {
        let by = Actor { who: "ada".to_owned(), says: String::new(), from: "127.0.0.1".to_owned() };
        let wanted = Wanted { name: name.to_owned(), command, by, reason: "a test".to_owned() };
        self.ask(|reply| Command::Order(Box::new(wanted), reply)).expect("an answer")
    }

    /// The journal of an experiment, in pages of a few entries.
    pub(crate) fn journal(&mut self, name: &str) -> Vec<JournalRow> {
        let id = self.ask(|reply| Command::Find(name.to_owned(), reply)).expect("an answer").expect("the experiment");
        let ledger = Ledger::read_only(&self.ledger_file()).expect("it opens");
        let mut entries: Vec<JournalRow> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |row| row.number);
            let page = ledger.journal(&id, after, 7, 1 << 20).expect("a page");
            if page.is_empty() {
                return entries;
            }
            entries.extend(page);
        }
    }

    /// The latest decisions of an experiment, newest first.
    pub(crate) fn decisions(&mut self, name: &str) -> Vec<DecisionRow> {
        let id = self.ask(|reply| Command::Find(name.to_owned(), reply)).expect("an answer").expect("the experiment");
        Ledger::read_only(&self.ledger_file()).expect("it opens").decisions(&id, 10).expect("decisions")
    }

    /// Deletes an experiment; its id.
    pub(crate) fn delete(&mut self, name: &str, reason: &str) -> Option<String> {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        self.ask(|reply| Command::Delete { name, by: Actor::default(), reason, reply }).expect("an answer")
    }

    /// Changes what the keeper holds of an experiment, behind its back.
    pub(crate) fn spoil(&mut self, id: &str, change: impl FnOnce(&mut Experiment)) {
        let (keeper, _) = self.keeper.as_mut().expect("a keeper");
        let live = keeper.mirror().experiments.get_mut(id).expect("the experiment");
        change(Arc::make_mut(&mut live.spec));
    }

    /// The keeper's ledger fails after so many more writes; negative: never.
    pub(crate) fn fail_after(&self, writes: i64) {
        let (keeper, _) = self.keeper.as_ref().expect("a keeper");
        keeper.fault().store(writes, Ordering::Relaxed);
    }

    /// Gives the keeper away, for its thread.
    pub(crate) fn take(&mut self) -> (Keeper, Subscriber) {
        self.keeper.take().expect("a keeper")
    }

    /// Has commands done in one batch.
    pub(crate) fn batch(&mut self, commands: Vec<Command>) {
        self.keeper.as_mut().expect("a keeper").0.handle(commands);
    }

    /// Asks for one thing.
    pub(crate) fn ask<T>(
        &mut self,
        command: impl FnOnce(oneshot::Sender<Result<T, KeeperError>>) -> Command,
    ) -> Result<T, KeeperError> {
        let (reply, mut answer) = oneshot::channel();
        self.batch(vec![command(reply)]);
        answer.try_recv().unwrap_or(Err(KeeperError::Gone))
    }

    pub(crate) fn try_apply(
        &mut self,
        experiments: Vec<Experiment>,
        dry_run: bool,
    ) -> Result<Vec<Applied>, ApplyError> {
        self.ask(|reply| Command::Apply {
            document: "document".to_owned(),
            experiments,
            dry_run,
            by: Actor::default(),
            reply,
        })
        .expect("an answer")
    }

    /// Applies an experiment and gives its id.
    pub(crate) fn apply(&mut self, experiment: Experiment) -> String {
        let applied = self.try_apply(vec![experiment], false).expect("it is applied");
        applied[0].id.clone().expect("an id")
    }

    /// What the published plan says.
    pub(crate) fn plan(&self) -> Plan {
        let (_, subscriber) = self.keeper.as_ref().expect("a keeper");
        Plan::from_json(&subscriber.current().json).expect("a valid plan")
    }

    /// Settled and unsettled exposures and completions per version, over all epochs, as the engine is given them.
    pub(crate) fn totals(&mut self, id: &str) -> Totals {
        let snapshots = self.ask(Command::Snapshot).expect("an answer");
        let snapshot = snapshots.into_iter().find(|snapshot| snapshot.id == id).expect("the experiment");
        let mut totals = Totals::default();
        for counts in snapshot.observations.epochs.values() {
            for (into, from) in [(&mut totals.settled, &counts.settled), (&mut totals.unsettled, &counts.unsettled)] {
                for (into, counts) in into.iter_mut().zip(from) {
                    *into = (into.0 + counts.assigned, into.1 + counts.completed);
                }
            }
        }
        totals
    }

    /// Everything that the ledger holds, as a second reader sees it.
    pub(crate) fn contents(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.ledger_file()).expect("it opens");
        let mut contents = Vec::new();
        for table in ["experiment", "settled", "worker", "decision", "journal", "claim"] {
            let mut statement =
                connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).expect("a table");
            let columns = statement.column_count();
            let mut rows = statement.query([]).expect("rows");
            while let Some(row) = rows.next().expect("a row") {
                let values: Vec<_> =
                    (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).expect("a value")).collect();
                contents.push(format!("{table} {values:?}"));
            }
        }
        contents
    }
}

/// (assigned, completed) per version.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) settled: [(u64, u64); 2],
    pub(crate) unsettled: [(u64, u64); 2],
}

/// A mirror with one running experiment, on no ledger in particular.
pub(crate) fn mirror_with(name: &str) -> (Mirror, String) {
    let mut bench = Bench::new();
    let id = bench.apply(experiment(name));
    bench.crash();
    let ledger = Ledger::open(&bench.ledger_file()).expect("it opens");
    (Mirror::load(&ledger, START).expect("it loads"), id)
}
