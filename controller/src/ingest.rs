//! Ingest: what a report adds to what is known. Checks everything before it changes anything, so that a bad report changes
//! nothing; counts each (node, incarnation, sequence) once; settles what a watermark has passed.
//!
//! **Sequences.** An incarnation begins with 1 and leaves none out. A report that skips one is refused: the lost one may
//! have carried outcomes of exposures already counted here, and those would look overdue, which is a bad event. A filter
//! whose report is refused begins a new incarnation, so it is never stuck, also when the ledger was replaced or restored;
//! the old incarnation's unfinished bins stay unsettled and so are never evidence.
//!
//! **Forgotten workers.** A replayed report of an incarnation that was forgotten looks like the first of a new one. So the
//! mirror keeps a horizon that no forgotten worker's bin reaches, and a worker that is new ignores whole bins before it.
//! Only a proxy whose clock is behind the horizon (a day, unless the fleet outgrew the limit) loses counts by that.

#[cfg(test)]
mod tests;

use crate::ledger::OpenExperiment;
use crate::mirror::{Claimed, ClockSaid, LIVE_MS, Live, MAX_AHEAD_MS, MAX_WORKERS, Mirror, Said, Settled, Worker};
use weir_core::report::{Acknowledgement, Cell, MAX_CELLS, Report, ReportedExperiment};
use weir_core::settling::{self, OpenCell};
use weir_engine::health::MAX_GAP_MS;

/// Most unsettled cells of all workers together: bounds memory.
const MAX_OPEN_CELLS: usize = 4_000_000;
/// Largest absolute value of a sum, so that no number of them adds up to infinity.
const MAX_SUM: f64 = 1e150;
/// A worker's first report may be an old one, sent again and again: for so many milliseconds its age says nothing of its clock.
const FIRST_MS: u64 = 5_000;
/// Live workers per second of report interval: beyond so many, the interval grows.
const WORKERS_PER_SECOND: usize = 500;

/// A report that is now part of the mirror, or was already.
#[derive(Debug, PartialEq)]
pub(crate) struct Accepted {
    /// To be sent once the ledger is durable.
    pub(crate) acknowledgement: Acknowledgement,
    /// Whether it had been counted before.
    pub(crate) duplicate: bool,
    /// Cells left out because they lie before the horizon.
    pub(crate) before_horizon: u64,
    /// What became of its claims, each.
    pub(crate) claims: Vec<Claimed>,
}

/// Why a report is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct Refused {
    /// For metrics.
    pub(crate) reason: Reason,
    /// As in `experiments[0].cells[3].bin`.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) problem: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A sequence was left out.
    Gap,
    /// An incarnation that is another node's.
    OtherNode,
    /// An id that never was.
    UnknownExperiment,
    /// Not one of the experiment's versions.
    UnknownVersion,
    /// Not begun yet.
    UnknownEpoch,
    /// Not a multiple of the bin, or ahead of time.
    BadTime,
    /// Adds to what was final.
    Settled,
    /// More ends than exposures, or a sum out of range.
    Contradictory,
    /// More than is bearable, from this worker.
    TooMuch,
    /// More than is bearable, from all: to be sent again.
    Full,
}

impl Reason {
    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::OtherNode => "otherNode",
            Self::UnknownExperiment => "unknownExperiment",
            Self::UnknownVersion => "unknownVersion",
            Self::UnknownEpoch => "unknownEpoch",
            Self::BadTime => "badTime",
            Self::Settled => "settled",
            Self::Contradictory => "contradictory",
            Self::TooMuch => "tooMuch",
            Self::Full => "full",
        }
    }
}

/// The room that must be there before [`ingest`]: whether the worker is new and the mirror has no room for it.
pub(crate) fn needs_room(mirror: &Mirror, report: &Report) -> bool {
    mirror.node_of(&report.incarnation).is_none() && mirror.known_workers() >= MAX_WORKERS
}

/// Adds a valid report (see [`Report::validate`]) to the mirror.
///
/// # Errors
/// [`Refused`]; the mirror is as it was.
pub(crate) fn ingest(mirror: &mut Mirror, report: &Report, live: usize, now: u64) -> Result<Accepted, Refused> {
    let key = key(report);
    // A token names no more than the incarnation: under two nodes, what is final of one would be open for the other.
    if let Some(node) = mirror.node_of(&report.incarnation).filter(|node| **node != report.node) {
        let problem = format!("is `{}`; this incarnation began as `{node}`: begin a new one", report.node);
        return Err(refused(Reason::OtherNode, "node", problem));
    }
    let known = mirror.worker(&key);
    let last = known.map_or(0, |worker| worker.last_sequence);
    let mut accepted = Accepted {
        acknowledgement: Acknowledgement {
            acknowledged: report.sequence,
            interval_ms: interval(live),
            ignored: Vec::new(),
        },
        duplicate: report.sequence <= last,
        before_horizon: 0,
        claims: Vec::new(),
    };
    if accepted.duplicate {
        return Ok(accepted);
    }
    if report.sequence != last + 1 {
        let problem = format!(
            "is {}, the last that counted for this incarnation is {last}: what lies between is lost; begin a new incarnation",
            report.sequence
        );
        return Err(refused(Reason::Gap, "sequence", problem));
    }
    if known.is_none() && mirror.known_workers() >= MAX_WORKERS {
        return Err(refused(
            Reason::Full,
            "node",
            format!("{MAX_WORKERS} workers are known already; send it again later"),
        ));
    }
    let mut worker = known.cloned().unwrap_or_else(|| {
        let mut worker = Worker::default();
        worker.body.ignore_before = mirror.horizon();
        worker
    });
    let cells_before = worker.cells();
    let passed = now.saturating_sub(worker.last_seen);
    let gap = if known.is_some() { passed.min(MAX_GAP_MS) } else { 0 };
    let Said { clocks, catching_up_until: until, .. } = std::mem::take(&mut worker.said);
    // Nobody knows how long a worker that is new here has tried to send this.
    let late = known.is_none() || passed > MAX_GAP_MS;
    let catching_up_until = if late { now.saturating_add(gap.max(FIRST_MS)) } else { until };
    worker.said = Said { plan: report.plan.clone(), stale: report.stale, gap, clocks, catching_up_until };
    worker.last_sequence = report.sequence;
    worker.last_seen = now;
    // What has been deleted since is of no use to anybody.
    worker.body.experiments.retain(|id, _| mirror.experiments.contains_key(id));
    worker.said.clocks.retain(|id, _| mirror.experiments.contains_key(id));

    let mut settled = Vec::new();
    for (at, reported) in report.experiments.iter().enumerate() {
        let path = format!("experiments[{at}]");
        let Some(live) = mirror.experiments.get(&reported.id) else {
            if mirror.was_deleted(&reported.id) {
                accepted.acknowledgement.ignored.push(reported.id.clone());
                continue;
            }
            let problem = format!("`{}` is not, and never was, an experiment of this controller", reported.id);
            return Err(refused(Reason::UnknownExperiment, &format!("{path}.id"), problem));
        };
        let mut entry = Entry { live, reported, path: &path, now };
        let open = worker.body.experiments.remove(&reported.id).unwrap_or_default();
        entry.check_watermark(&open)?;
        let merged = entry.merge(open, worker.body.ignore_before, &mut accepted)?;
        if let Some(latest) = reported.cells.iter().map(|cell| cell.bin).max() {
            worker.body.latest_bin = worker.body.latest_bin.max(latest);
        }
        let off = entry.clock_off(&worker.said);
        worker.said.clocks.insert(reported.id.clone(), ClockSaid { at: now, off });
        let open = entry.settle(merged, &mut settled);
        worker.body.experiments.insert(reported.id.clone(), open);
    }
    let cells = worker.cells();
    if cells > MAX_CELLS {
        let problem = format!("leaves {cells} cells unsettled for this worker; at most {MAX_CELLS}");
        return Err(refused(Reason::TooMuch, "experiments", problem));
    }
    if mirror.open_cells().saturating_sub(cells_before) + cells > MAX_OPEN_CELLS {
        let problem = format!("{MAX_OPEN_CELLS} cells are unsettled already; send it again later");
        return Err(refused(Reason::Full, "experiments", problem));
    }
    // Before anything settles: a worker may see a reward of its own exposures last.
    accepted.claims = report
        .claims
        .iter()
        .map(|claim| mirror.claim(&claim.experiment, &claim.assignment, claim.reward, now))
        .collect();
    mirror.put_worker(key, worker, &settled);
    Ok(accepted)
}

fn key(report: &Report) -> (String, String) {
    (report.node.clone(), report.incarnation.clone())
}

fn refused(reason: Reason, path: &str, problem: String) -> Refused {
    Refused { reason, path: path.to_owned(), problem }
}

/// When the next report is wanted. A small fleet is left to its own configuration.
fn interval(live: usize) -> Option<u64> {
    let seconds = u64::try_from(live.div_ceil(WORKERS_PER_SECOND)).unwrap_or(u64::MAX);
    // Never as long as the silence after which a worker's unsettled counts are not shown any more.
    (seconds > 1).then(|| seconds.saturating_mul(1_000).min(LIVE_MS / 2))
}

/// One experiment's entry in a report, and the experiment.
struct Entry<'a> {
    live: &'a Live,
    reported: &'a ReportedExperiment,
    path: &'a str,
    now: u64,
}

impl Entry<'_> {
    fn refuse<T>(&self, reason: Reason, field: &str, problem: String) -> Result<T, Refused> {
        Err(refused(reason, &format!("{}.{field}", self.path), problem))
    }

    fn check_watermark(&self, open: &OpenExperiment) -> Result<(), Refused> {
        let watermark = self.reported.watermark;
        self.check_time("watermark", watermark)?;
        if watermark < open.watermark {
            let problem = format!("{watermark} is before {}, the one before it: it never goes back", open.watermark);
            return self.refuse(Reason::Settled, "watermark", problem);
        }
        Ok(())
    }

    fn check_time(&self, field: &str, time: u64) -> Result<(), Refused> {
        let bin = self.live.spec.bin_ms;
        if !time.is_multiple_of(bin) {
            return self.refuse(Reason::BadTime, field, format!("{time} is not a multiple of the bin, {bin} ms"));
        }
        let latest = self.now.saturating_add(MAX_AHEAD_MS);
        if time > latest {
            let problem = format!("{time} is more than an hour after {}, the time here: check the clock", self.now);
            return self.refuse(Reason::BadTime, field, problem);
        }
        Ok(())
    }

    /// By how many milliseconds, at least, the worker's clock is off. It has reached its newest bin, and the deadline of what it
    /// calls final; what is final moves with its clock, so that neither is long ago unless a report was long under way.
    fn clock_off(&self, said: &Said) -> u64 {
        let spec = &self.live.spec;
        let newest = self.reported.cells.iter().map(|cell| cell.bin).max().unwrap_or(0);
        let reached = newest.max(self.reported.watermark.saturating_add(spec.deadline_ms));
        let patience = spec.bin_ms.saturating_mul(2).saturating_add(said.gap.saturating_mul(2));
        let behind = self.now.saturating_sub(reached).saturating_sub(patience);
        let behind = if self.now < said.catching_up_until { 0 } else { behind };
        behind.max(newest.saturating_sub(self.now))
    }

    /// The open cells with the reported ones.
    fn merge(
        &mut self,
        mut open: OpenExperiment,
        ignore_before: u64,
        accepted: &mut Accepted,
    ) -> Result<OpenExperiment, Refused> {
        let published = self.live.state.epoch().map_or(0, |epoch| epoch.epoch);
        for (index, cell) in self.reported.cells.iter().enumerate() {
            let field = |name: &str| format!("cells[{index}].{name}");
            let Some(version) = self.live.spec.versions.iter().position(|version| version.name == cell.version) else {
                let problem = format!("`{}` is not a version of {}", cell.version, self.live.spec.name);
                return self.refuse(Reason::UnknownVersion, &field("version"), problem);
            };
            self.check_time(&field("bin"), cell.bin)?;
            if cell.bin < open.watermark {
                let problem = format!("{} is before {}, where this worker's bins are final", cell.bin, open.watermark);
                return self.refuse(Reason::Settled, &field("bin"), problem);
            }
            check_sums(cell)
                .or_else(|name| self.refuse(Reason::Contradictory, &field(name), format!("is beyond {MAX_SUM:e}")))?;
            if cell.epoch > published {
                if self.live.state.counts() {
                    let problem = format!("{} has not begun; the epoch in force is {published}", cell.epoch);
                    return self.refuse(Reason::UnknownEpoch, &field("epoch"), problem);
                }
                if accepted.acknowledgement.ignored.last() != Some(&self.live.id) {
                    accepted.acknowledgement.ignored.push(self.live.id.clone());
                }
                continue;
            }
            if cell.bin < ignore_before {
                accepted.before_horizon += 1;
                continue;
            }
            let merged = settling::add(&mut open.cells, cell.bin, cell.epoch, version, &cell.counts);
            // The sum of all so far, not this report's part of it: outcomes come after their assignments. Refused now, it
            // cannot stand in the way of every later report.
            if merged.is_contradictory() {
                let problem = "makes more ends than exposures in its bin".to_owned();
                return self.refuse(Reason::Contradictory, &field("counts"), problem);
            }
        }
        Ok(open)
    }

    /// Moves what the new watermark has passed to `settled`.
    fn settle(&self, open: OpenExperiment, settled: &mut Vec<Settled>) -> OpenExperiment {
        let OpenExperiment { mut cells, .. } = open;
        let watermark = self.reported.watermark;
        let is_final = settling::settle(&mut cells, watermark).into_iter();
        settled.extend(is_final.map(|OpenCell { epoch, version, counts, .. }| Settled {
            id: self.reported.id.clone(),
            epoch,
            version,
            counts,
        }));
        OpenExperiment { watermark, cells }
    }
}

/// The name of a sum that is out of range.
fn check_sums(cell: &Cell) -> Result<(), &'static str> {
    let counts = &cell.counts;
    let sums = [
        ("latencySum", counts.latency_sum),
        ("latencySumSquares", counts.latency_sum_squares),
        ("rewardSum", counts.reward_sum),
        ("rewardSumSquares", counts.reward_sum_squares),
    ];
    sums.into_iter().find(|(_, sum)| sum.abs() > MAX_SUM).map_or(Ok(()), |(name, _)| Err(name))
}
