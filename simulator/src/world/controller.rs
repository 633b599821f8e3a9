//! The controller's side of reports: what is settled and what is open of each worker, and what that says of telemetry.

use super::worker::Worker;
use crate::scenario::TICK_MS;
use weir_core::report::{Counts, ReportedExperiment};
use weir_core::settling::{self, OpenCell};
use weir_engine::cells::{Cell, Tally};
use weir_engine::health::{ClockStep, Health, Heard, LIVE_MS, MAX_GAP_MS, SILENCE_MS, Watch};
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, Observations};

/// A report is so long on its way, and made as often.
const REPORT_MS: u64 = 2 * TICK_MS;

/// What is open of one worker.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Cells whose bin is not final yet.
    cells: Vec<OpenCell>,
    pub(crate) last_seen: u64,
    /// Milliseconds between its last two reports; 0 before the second.
    gap_ms: u64,
    /// What its last report says of its plan: whether that is stale, and its serial.
    stale: bool,
    plan: Option<u32>,
    /// When its last report with counts came, and by how many milliseconds its newest bin cannot be: it begins later than then, or was
    /// long over.
    clock: Option<(u64, u64)>,
}

impl Open {
    /// A report came, of a worker with this plan.
    pub(crate) fn hear(&mut self, now: u64, plan: Option<u32>, stale: bool) {
        self.gap_ms = if self.last_seen > 0 { now.saturating_sub(self.last_seen).min(MAX_GAP_MS) } else { 0 };
        (self.last_seen, self.plan, self.stale) = (now, plan, stale);
    }
}

/// Settled and open counts.
#[derive(Debug)]
pub(crate) struct Controller {
    names: Vec<String>,
    observations: Observations,
    /// What was reported per version as it came, for policies that look at a metrics server.
    seen: Option<Vec<Counts>>,
    /// Whether counts changed since the last look.
    stirred: bool,
    /// Whether any settled since.
    settled: bool,
    /// What was open of workers that died.
    buried: Vec<Open>,
    /// When exposures found no room, and how many then.
    dropped: Vec<(u64, u64)>,
    /// By how much the clock here is ahead.
    clock: i64,
    /// How the clock here was set last.
    stepped: Option<ClockStep>,
    /// When it was away last.
    back_at: u64,
    /// When the plan in force was published, and its serial.
    published: Option<(u64, u32)>,
    /// A report's newest bin is at most so old.
    bin_and_deadline_ms: u64,
}

impl Controller {
    pub(crate) fn new(experiment: &Experiment, sees: bool) -> Self {
        let names: Vec<String> = experiment.versions.iter().map(|version| version.name.clone()).collect();
        Self {
            seen: sees.then(|| vec![Counts::default(); names.len()]),
            names,
            observations: Observations::default(),
            stirred: false,
            settled: false,
            buried: Vec::new(),
            dropped: Vec::new(),
            clock: 0,
            stepped: None,
            back_at: 0,
            published: None,
            bin_and_deadline_ms: experiment.bin_ms + experiment.deadline_ms,
        }
    }

    /// The clock here is ahead by so much: if somebody has set it since, that is seen.
    pub(crate) fn set_clock(&mut self, ahead_ms: i64, now: u64) {
        let forward_ms = ahead_ms - std::mem::replace(&mut self.clock, ahead_ms);
        if forward_ms != 0 {
            self.stepped = Some(ClockStep { at: now, forward_ms });
        }
    }

    /// It is away: nobody can report.
    pub(crate) fn away(&mut self, now: u64) {
        self.back_at = now;
    }

    /// Another plan is in force.
    pub(crate) fn published(&mut self, now: u64, serial: u32) {
        self.published = Some((now, serial));
    }

    pub(crate) fn observations(&self) -> &Observations {
        &self.observations
    }

    pub(crate) fn seen(&self) -> &[Counts] {
        self.seen.as_deref().unwrap_or_default()
    }

    /// A worker died: nobody will finish its bins.
    pub(crate) fn bury(&mut self, open: Open) {
        self.buried.push(open);
    }

    /// Exposures of a worker found no room.
    pub(crate) fn dropped(&mut self, now: u64, count: u64) {
        if count > 0 {
            self.dropped.push((now, count));
        }
    }

    /// What is known of telemetry, as the controller of production finds it out.
    pub(crate) fn health(&mut self, experiment: &Experiment, workers: &[Worker], now: u64) -> Health {
        let watch = Watch {
            now,
            back_at: self.back_at,
            published_at: self.published.map(|(at, _)| at),
            own_step: self.stepped,
            experiment,
        };
        // Who fell silent longer ago is taken for gone.
        let gone = SILENCE_MS.saturating_mul(2).saturating_add(self.bin_and_deadline_ms);
        self.buried.retain(|open| now.saturating_sub(open.last_seen) < gone);
        self.dropped.retain(|(at, _)| watch.lately(*at));
        let in_force = self.published.map(|(_, serial)| serial);
        let heard = |open: &Open| Heard {
            last_seen: open.last_seen,
            gap_ms: open.gap_ms,
            unfinished: !open.cells.is_empty(),
            stale: open.stale,
            other_plan: in_force.is_some() && open.plan.is_some() && open.plan != in_force,
            clock: open.clock,
        };
        let all = workers.iter().map(|worker| &worker.open).chain(&self.buried).filter(|open| open.last_seen > 0);
        watch.health(all.map(heard), self.dropped.iter().copied())
    }

    /// What has settled of a version.
    pub(crate) fn settled_of(&self, version: usize) -> Tally {
        let mut total = Tally::default();
        for counts in self.observations.epochs.values().filter_map(|counts| counts.settled.get(version)) {
            total.merge(&counts.tally());
        }
        total
    }

    /// Takes a report of a worker.
    pub(crate) fn take(&mut self, open: &mut Open, report: ReportedExperiment, now: u64) {
        self.stirred = true;
        if let Some(newest) = report.cells.iter().map(|cell| cell.bin).max() {
            let behind = now.saturating_sub(newest.saturating_add(self.bin_and_deadline_ms + REPORT_MS));
            open.clock = Some((now, newest.saturating_sub(now).max(behind)));
        }
        for cell in report.cells {
            let Some(version) = self.names.iter().position(|name| *name == cell.version) else { continue };
            if let Some(seen) = self.seen.as_mut().and_then(|seen| seen.get_mut(version)) {
                seen.merge(&cell.counts);
            }
            settling::add(&mut open.cells, cell.bin, cell.epoch, version, &cell.counts);
        }
        for OpenCell { epoch, version, counts, .. } in settling::settle(&mut open.cells, report.watermark) {
            self.settled = true;
            if let Some(total) = self.of_epoch(epoch).settled.get_mut(version) {
                total.merge(&counts);
            }
        }
    }

    fn of_epoch(&mut self, epoch: u32) -> &mut EpochCounts {
        let none = || vec![Counts::default(); self.names.len()];
        self.observations.epochs.entry(epoch).or_insert_with(|| EpochCounts { settled: none(), unsettled: none() })
    }

    /// Sums what is open of live workers; answers whether anything changed since the last look, and whether anything settled.
    pub(crate) fn open_counts(&mut self, workers: &[Worker], now: u64) -> (bool, bool) {
        let settled = std::mem::take(&mut self.settled);
        if !std::mem::take(&mut self.stirred) {
            return (false, false);
        }
        for counts in self.observations.epochs.values_mut() {
            counts.unsettled.fill_with(Counts::default);
        }
        for Open { cells, last_seen, .. } in workers.iter().map(|worker| &worker.open) {
            if now.saturating_sub(*last_seen) >= LIVE_MS {
                continue;
            }
            for OpenCell { epoch, version, counts, .. } in cells {
                // How many, not how long: nothing that decides looks at latencies that are not settled.
                if let Some(total) = self.of_epoch(*epoch).unsettled.get_mut(*version) {
                    total.assigned += counts.assigned;
                    total.completed += counts.completed;
                    total.failed += counts.failed;
                    total.aborted += counts.aborted;
                    total.rewarded += counts.rewarded;
                }
            }
        }
        (true, settled)
    }
}
