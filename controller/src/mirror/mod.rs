//! What the ledger holds, in memory: experiments, settled counts, workers. One owner (the keeper) changes it, and writes what
//! became dirty to the ledger before anybody is told.

mod claims;
mod worker;

pub(crate) use claims::Claimed;
#[cfg(test)]
pub(crate) use claims::MAX_WAITING;
pub(crate) use worker::{ClockSaid, LIVE_MS, Said, Worker, WorkerKey};

use crate::ledger::{DecisionRow, ExperimentRow, Ledger, LedgerError, SettledRow, Told, WorkerRow};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use weir_core::plan::PlannedExperiment;
use weir_core::report::Counts;
use weir_engine::assess::Assessment;
use weir_engine::health::ClockStep;
use weir_engine::journal::{CellCounts, Observed, growth};
use weir_engine::overlap::rank;
use weir_engine::planning::planned;
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, Observations, State};

/// Most workers known at a time.
pub(crate) const MAX_WORKERS: usize = 20_000;
/// A worker silent for so many milliseconds is forgotten.
const FORGET_MS: u64 = 86_400_000;
/// How far ahead of the controller's a worker's clock may be, in milliseconds.
pub(crate) const MAX_AHEAD_MS: u64 = 3_600_000;
const HORIZON: &str = "horizon";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// By id; none is deleted.
    pub(crate) experiments: BTreeMap<String, Live>,
    /// Ids by name.
    names: BTreeMap<String, String>,
    /// Ids of what was deleted.
    deleted: HashSet<String>,
    workers: HashMap<WorkerKey, Worker>,
    /// Their nodes by incarnation, which is all that a token says.
    nodes: HashMap<String, String>,
    claims: claims::Claims,
    /// Makes tokens.
    secret: [u8; 16],
    /// Exposures that workers lately did not record, and when they said so.
    pub(crate) dropped: VecDeque<(u64, u64)>,
    /// When the plan in force was published, and its revision.
    pub(crate) published: Option<(u64, String)>,
    /// How the controller's clock was set last.
    pub(crate) stepped: Option<ClockStep>,
    /// Unsettled cells of all workers.
    open_cells: usize,
    /// No worker that was forgotten reported a bin that begins at or after this.
    horizon: u64,
    /// When this was loaded: silence while the controller was away is not a worker's fault.
    pub(crate) loaded_at: u64,
    dirty_settled: BTreeSet<(String, u32, usize)>,
    dirty_workers: BTreeSet<WorkerKey>,
}

/// An experiment that is not deleted.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: String,
    pub(crate) document: String,
    pub(crate) spec: Arc<Experiment>,
    pub(crate) state: State,
    pub(crate) created_at: u64,
    /// Counts up with every change of specification or state: a decision made on an older one is void.
    pub(crate) generation: u64,
    /// Settled counts; the unsettled ones are filled in when they are asked for.
    observations: Arc<Observations>,
    /// Whether counts changed since the last assessment.
    pub(crate) stirred: bool,
    /// When that was, in Unix milliseconds.
    pub(crate) assessed_at: u64,
    pub(crate) assessment: Option<Arc<Assessment>>,
    /// What had not settled at that assessment, if it may be used again: neither counts nor the state have changed since.
    pub(crate) reusable: Option<Arc<Vec<CellCounts>>>,
    pub(crate) decision: Option<Told>,
    /// The last decision that moved traffic, or began, paused, resumed or ended it.
    pub(crate) last_change: Option<Told>,
    /// The number of the journal's last entry; 0 if it has none.
    pub(crate) entries: u64,
    /// Of the settled counts that have changed since the last entry, by (epoch, version), what they were then.
    unjournaled: BTreeMap<(u32, usize), Counts>,
    /// When a decision to hold was last put into the ledger, and why it held.
    pub(crate) held: Option<(u64, Vec<String>)>,
}

impl Live {
    /// An experiment without counts.
    pub(crate) fn new(row: ExperimentRow, last: Option<DecisionRow>, last_change: Option<Told>) -> Self {
        let (decision, assessment) =
            last.map_or((None, None), |last| (Some(last.told), Some(Arc::new(last.assessment))));
        Self {
            id: row.id,
            document: row.document,
            spec: Arc::new(row.spec),
            state: row.state,
            created_at: row.created_at,
            generation: 0,
            observations: Arc::default(),
            stirred: true,
            assessed_at: 0,
            assessment,
            reusable: None,
            decision,
            last_change,
            entries: 0,
            unjournaled: BTreeMap::new(),
            held: None,
        }
    }

    /// Adds settled counts.
    fn settle(&mut self, epoch: u32, version: usize, counts: &Counts) {
        let versions = self.spec.versions.len();
        let epochs = &mut Arc::make_mut(&mut self.observations).epochs;
        let of_epoch = epochs.entry(epoch).or_insert_with(|| no_counts(versions));
        if let Some(total) = of_epoch.settled.get_mut(version) {
            self.unjournaled.entry((epoch, version)).or_insert_with(|| total.clone());
            total.merge(counts);
        }
        self.stirred = true;
    }

    /// Takes settled counts as the ledger has them.
    fn load(&mut self, row: &SettledRow) {
        self.settle(row.epoch, row.version, &row.counts);
        match &row.journaled {
            Some(journaled) => self.unjournaled.insert((row.epoch, row.version), journaled.clone()),
            None => self.unjournaled.remove(&(row.epoch, row.version)),
        };
    }

    /// All settled counts, and those that are not settled as they were asked for last.
    pub(crate) fn observations(&self) -> &Arc<Observations> {
        &self.observations
    }

    /// What a journal's entry must say of what was observed: what settled since the entry before, and what had not settled.
    pub(crate) fn observed(&self, observations: &Observations, unsettled: &[CellCounts]) -> Observed {
        let added = |(&(epoch, version), before): (&(u32, usize), &Counts)| {
            growth(epoch, version, Some(before), settled_in(observations, epoch, version)?)
        };
        Observed { settled: self.unjournaled.iter().filter_map(added).collect(), unsettled: unsettled.to_vec() }
    }

    fn settled(&self, epoch: u32, version: usize) -> Option<&Counts> {
        settled_in(&self.observations, epoch, version)
    }

    /// The weights in force, per version; a concluded experiment's are all on its outcome.
    pub(crate) fn weights(&self) -> Vec<u32> {
        self.state.weights_in_force(&self.spec)
    }
}

fn settled_in(observations: &Observations, epoch: u32, version: usize) -> Option<&Counts> {
    observations.epochs.get(&epoch)?.settled.get(version)
}

fn no_counts(versions: usize) -> EpochCounts {
    EpochCounts { settled: vec![Counts::default(); versions], unsettled: vec![Counts::default(); versions] }
}

impl Mirror {
    /// Reads everything from the ledger.
    pub(crate) fn load(ledger: &Ledger, now: u64) -> Result<Self, LedgerError> {
        let mut mirror = Self { loaded_at: now, horizon: ledger.setting(HORIZON)?.unwrap_or(0), ..Self::default() };
        mirror.deleted.extend(ledger.deleted()?);
        for row in ledger.experiments()? {
            let last = ledger.decisions(&row.id, 1)?.into_iter().next();
            let change = ledger.last_change(&row.id)?;
            let entries = ledger.entries(&row.id)?;
            mirror.insert(Live { entries, ..Live::new(row, last, change) });
        }
        for row in ledger.settled()? {
            if let Some(live) = mirror.experiments.get_mut(&row.experiment) {
                live.load(&row);
            }
        }
        for row in ledger.workers()? {
            let (last_sequence, last_seen, body) = (row.last_sequence, row.last_seen, row.body);
            let worker = Worker { last_sequence, last_seen, body, said: Said::default() };
            mirror.open_cells += worker.cells();
            mirror.nodes.insert(row.incarnation.clone(), row.node.clone());
            mirror.workers.insert((row.node, row.incarnation), worker);
        }
        for row in ledger.claims()? {
            mirror.claims.add(&row);
        }
        mirror.load_secret(ledger)?;
        Ok(mirror)
    }

    /// Adds an experiment.
    pub(crate) fn insert(&mut self, live: Live) {
        self.names.insert(live.spec.name.clone(), live.id.clone());
        self.experiments.insert(live.id.clone(), live);
    }

    /// Removes an experiment; its id stays known.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(live) = self.experiments.remove(id) {
            self.names.remove(&live.spec.name);
            self.deleted.insert(live.id);
            self.forget_claims_on(id);
        }
    }

    /// The experiment of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Live> {
        self.experiments.get(self.names.get(name)?)
    }

    /// Whether an experiment of this id was deleted.
    pub(crate) fn was_deleted(&self, id: &str) -> bool {
        self.deleted.contains(id)
    }

    /// Every experiment in the order of the plan: by priority, then oldest first.
    pub(crate) fn in_order(&self) -> Vec<&Live> {
        let mut experiments: Vec<&Live> = self.experiments.values().collect();
        experiments.sort_by_key(|live| (rank(&live.spec, live.created_at), &live.id));
        experiments
    }

    /// The plan's entries.
    pub(crate) fn planned(&self) -> Vec<PlannedExperiment> {
        self.in_order().into_iter().map(|live| self.entry(&live.spec, &live.id, &live.state)).collect()
    }

    /// The plan's entry of an experiment.
    pub(crate) fn entry(&self, spec: &Experiment, id: &str, state: &State) -> PlannedExperiment {
        let by_token = spec.reward.as_ref().is_some_and(|reward| reward.source.needs_token());
        PlannedExperiment { secret: by_token.then(|| self.secret(id).to_hex()), ..planned(spec, id, state) }
    }

    /// Every worker.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// A worker, if known.
    pub(crate) fn worker(&self, key: &WorkerKey) -> Option<&Worker> {
        self.workers.get(key)
    }

    /// The node that an incarnation is known under.
    pub(crate) fn node_of(&self, incarnation: &str) -> Option<&str> {
        self.nodes.get(incarnation).map(String::as_str)
    }

    /// How many workers are known.
    pub(crate) fn known_workers(&self) -> usize {
        self.workers.len()
    }

    /// How many of them are live. Looks at each.
    pub(crate) fn live_workers(&self, now: u64) -> usize {
        self.workers.values().filter(|worker| worker.is_live(now)).count()
    }

    /// Unsettled cells of all workers.
    pub(crate) const fn open_cells(&self) -> usize {
        self.open_cells
    }

    /// Before which bins a worker not known yet is ignored.
    pub(crate) const fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Replaces a worker and settles what its report made final.
    pub(crate) fn put_worker(&mut self, key: WorkerKey, worker: Worker, settled: &[Settled]) {
        self.open_cells += worker.cells();
        for id in worker.body.experiments.keys() {
            if let Some(live) = self.experiments.get_mut(id) {
                live.stirred = true;
            }
        }
        self.dirty_workers.insert(key.clone());
        let watermarks: Vec<(String, u64)> = if self.claims.len() == 0 {
            Vec::new()
        } else {
            worker.body.experiments.iter().map(|(id, open)| (id.clone(), open.watermark)).collect()
        };
        let (node, incarnation) = key.clone();
        self.nodes.insert(incarnation.clone(), node);
        if let Some(before) = self.workers.insert(key, worker) {
            self.open_cells = self.open_cells.saturating_sub(before.cells());
        }
        for Settled { id, epoch, version, counts } in settled {
            if let Some(live) = self.experiments.get_mut(id) {
                live.settle(*epoch, *version, counts);
                self.dirty_settled.insert((id.clone(), *epoch, *version));
            }
        }
        self.settle_claims(&incarnation, &watermarks);
    }

    /// The journal has an entry that saw these observations: only what settled since is left for the next.
    pub(crate) fn journaled(&mut self, id: &str, observations: &Observations) {
        let Some(live) = self.experiments.get_mut(id) else { return };
        let all = &live.observations;
        let dirty = &mut self.dirty_settled;
        live.unjournaled.retain(|&(epoch, version), before| {
            dirty.insert((id.to_owned(), epoch, version));
            let seen = settled_in(observations, epoch, version).cloned().unwrap_or_default();
            let rest = settled_in(all, epoch, version) != Some(&seen);
            *before = seen;
            rest
        });
    }

    /// Writes what changed since the last call.
    pub(crate) fn write_dirty(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        for (id, epoch, version) in std::mem::take(&mut self.dirty_settled) {
            let Some(live) = self.experiments.get(&id) else { continue };
            if let Some(counts) = live.settled(epoch, version) {
                ledger.put_settled(&id, epoch, version, counts, live.unjournaled.get(&(epoch, version)))?;
            }
        }
        for write in std::mem::take(&mut self.claims.writes) {
            ledger.write_claim(&write)?;
        }
        for key in std::mem::take(&mut self.dirty_workers) {
            let Some(worker) = self.workers.get(&key) else { continue };
            let (node, incarnation) = key;
            ledger.put_worker(&WorkerRow {
                node,
                incarnation,
                last_sequence: worker.last_sequence,
                last_seen: worker.last_seen,
                body: worker.body.clone(),
            })?;
        }
        Ok(())
    }

    /// Whether anything is to be written.
    pub(crate) fn is_dirty(&self) -> bool {
        !(self.dirty_settled.is_empty() && self.dirty_workers.is_empty() && self.claims.writes.is_empty())
    }

    /// What was observed of an experiment: settled, and unsettled by live workers.
    pub(crate) fn observations(&mut self, now: u64) -> BTreeMap<String, Arc<Observations>> {
        for live in self.experiments.values_mut() {
            for counts in Arc::make_mut(&mut live.observations).epochs.values_mut() {
                counts.unsettled.fill_with(Counts::default);
            }
        }
        for worker in self.workers.values().filter(|worker| worker.is_live(now)) {
            for (id, open) in &worker.body.experiments {
                let Some(live) = self.experiments.get_mut(id) else { continue };
                let versions = live.spec.versions.len();
                let epochs = &mut Arc::make_mut(&mut live.observations).epochs;
                for cell in &open.cells {
                    let of_epoch = epochs.entry(cell.epoch).or_insert_with(|| no_counts(versions));
                    if let Some(counts) = of_epoch.unsettled.get_mut(cell.version) {
                        counts.merge(&cell.counts);
                    }
                }
            }
        }
        self.show_claims();
        self.experiments.iter().map(|(id, live)| (id.clone(), Arc::clone(&live.observations))).collect()
    }

    /// Forgets workers that have been silent for a day, and, when there is no room for another, the one that has been
    /// silent longest. What they had not settled is never evidence.
    pub(crate) fn forget_silent(&mut self, ledger: &Ledger, now: u64) -> Result<(), LedgerError> {
        let silent_since = |worker: &Worker| worker.last_seen.max(self.loaded_at);
        let forgotten: Vec<WorkerKey> = self
            .workers
            .iter()
            .filter(|(_, worker)| now.saturating_sub(silent_since(worker)) >= FORGET_MS)
            .map(|(key, _)| key.clone())
            .collect();
        self.forget(ledger, &forgotten)
    }

    /// Makes room for one more worker by forgetting the one that has been silent longest.
    ///
    /// # Errors
    /// The ledger's. `Ok(false)`: all of them are live.
    pub(crate) fn make_room(&mut self, ledger: &Ledger, now: u64) -> Result<bool, LedgerError> {
        if self.workers.len() < MAX_WORKERS {
            return Ok(true);
        }
        let oldest = self
            .workers
            .iter()
            // A bin ahead of the clock would move the horizon ahead of everybody.
            .filter(|(_, worker)| !worker.is_live(now) && worker.body.latest_bin < now.saturating_sub(LIVE_MS / 2))
            .min_by_key(|(_, worker)| worker.last_seen)
            .map(|(key, _)| key.clone());
        let found = oldest.is_some();
        self.forget(ledger, oldest.as_slice())?;
        Ok(found)
    }

    fn forget(&mut self, ledger: &Ledger, keys: &[WorkerKey]) -> Result<(), LedgerError> {
        for key in keys {
            let Some(worker) = self.workers.remove(key) else { continue };
            self.open_cells = self.open_cells.saturating_sub(worker.cells());
            self.horizon = self.horizon.max(worker.body.latest_bin.saturating_add(1));
            self.dirty_workers.remove(key);
            // A ledger of an earlier release may know an incarnation under two.
            if self.nodes.get(&key.1) == Some(&key.0) {
                self.nodes.remove(&key.1);
                self.forget_claims_of(&key.1);
            }
            ledger.delete_worker(&key.0, &key.1)?;
        }
        if !keys.is_empty() {
            ledger.put_setting(HORIZON, self.horizon)?;
        }
        Ok(())
    }
}

/// Counts that became final.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) epoch: u32,
    pub(crate) version: usize,
    pub(crate) counts: Counts,
}
