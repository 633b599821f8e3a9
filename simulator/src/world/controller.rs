//! The controller's side of reports: what is settled and what is open of each worker, and what that says of telemetry.

use super::worker::Worker;
use crate::scenario::TICK_MS;
use weir_core::report::{Counts, ReportedExperiment};
use weir_core::settling::{self, OpenCell};
use weir_engine::cells::{Cell, Tally};
use weir_engine::health::{Health, QUIET_MS, SILENCE_MS};
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, Observations};

/// A worker is live when it reported within so many milliseconds, as in the controller.
const LIVE_MS: u64 = 120_000;
/// That a clock stepped matters for so many milliseconds, as in the controller.
const LATELY_MS: u64 = 120_000;
/// Of so many workers one may have a clock of its own, as in the controller.
const ONE_OF: usize = 10;

/// A report is so long on its way, and made as often.
const REPORT_MS: u64 = 2 * TICK_MS;

/// What is open of one worker.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Cells whose bin is not final yet.
    cells: Vec<OpenCell>,
    pub(crate) last_seen: u64,
    /// By how many milliseconds the newest bin of the last report cannot be: it begins later than now, or is long over.
    off_ms: u64,
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
    /// When exposures found no room last, and how many then.
    dropped: Option<(u64, u64)>,
    /// By how much the clock here is ahead.
    clock: i64,
    /// When the clock here was set last, and by how much.
    stepped: Option<(u64, u64)>,
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
            dropped: None,
            clock: 0,
            stepped: None,
            bin_and_deadline_ms: experiment.bin_ms + experiment.deadline_ms,
        }
    }

    /// The clock here is ahead by so much: if somebody has set it since, that is seen.
    pub(crate) fn set_clock(&mut self, ahead_ms: i64, now: u64) {
        let step = ahead_ms.abs_diff(std::mem::replace(&mut self.clock, ahead_ms));
        if step > 0 {
            self.stepped = Some((now, step));
        }
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
            self.dropped = Some((now, count));
        }
    }

    /// What is known of telemetry.
    pub(crate) fn health(&mut self, workers: &[Worker], now: u64) -> Health {
        self.buried.retain(|open| now.saturating_sub(open.last_seen) < SILENCE_MS);
        let all = || workers.iter().map(|worker| &worker.open).chain(&self.buried).filter(|open| open.last_seen > 0);
        let age = |open: &Open| now.saturating_sub(open.last_seen);
        let count = |found: &dyn Fn(&Open) -> bool| all().filter(|open| found(open)).count() as u64;
        Health {
            live: count(&|open| age(open) < QUIET_MS),
            silent: count(&|open| (QUIET_MS..SILENCE_MS).contains(&age(open)) && !open.cells.is_empty()),
            newest_report_ms: all().map(age).min(),
            clock_step_ms: self.clock_step(workers, now),
            dropped: self.dropped.filter(|(at, _)| now.saturating_sub(*at) < QUIET_MS).map_or(0, |(_, count)| count),
            ..Health::default()
        }
    }

    /// The largest step of a clock: of the one here lately, or of what a tenth of the workers are off by.
    fn clock_step(&self, workers: &[Worker], now: u64) -> u64 {
        let own = self.stepped.filter(|(at, _)| now.saturating_sub(*at) < LATELY_MS).map_or(0, |(_, step)| step);
        let live =
            workers.iter().map(|worker| &worker.open).filter(|open| now.saturating_sub(open.last_seen) < LIVE_MS);
        let mut off: Vec<u64> = live.map(|open| open.off_ms).collect();
        off.sort_unstable_by(|a, b| b.cmp(a));
        own.max(off.get(off.len() / ONE_OF).copied().unwrap_or(0))
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
        open.last_seen = now;
        self.stirred = true;
        if let Some(newest) = report.cells.iter().map(|cell| cell.bin).max() {
            let behind = now.saturating_sub(newest.saturating_add(self.bin_and_deadline_ms + REPORT_MS));
            open.off_ms = newest.saturating_sub(now).max(behind);
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
