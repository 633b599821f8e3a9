//! The recorder: one worker's counts since its last report.
//!
//! Owns the cells, their bounds, and what goes into a report. All versions of an (experiment, epoch, bin) are given room at
//! the first assignment in it or none is, so that what is lost for want of room never depends on a version or an outcome.
//! Knows no clock and sends nothing.

use crate::histogram::Histogram;
use crate::matching::Experiment;
use crate::outcome::Outcome;
use crate::plan::MAX_EXPERIMENTS;
use crate::report::{Cell, Counts, MAX_CELLS, MAX_REPORT_BYTES, ReportedExperiment};
use std::collections::BTreeMap;
use std::rc::Rc;

mod units;

use units::InFlight;

/// Most cells in memory.
const CELLS: usize = 8_192;
/// Most histogram buckets and unit buckets in memory (up to 16 bytes each) before new bins get no room. What has room may go on
/// growing, to at most 3,414 of the former and four times 16,384 of the latter per cell.
const BUCKETS: usize = 1 << 19;
/// Room left in a report for what is not an experiment.
const REPORT_OVERHEAD: usize = 2_048;

/// One worker's counts since its last report.
#[derive(Debug, Default)]
pub struct Recorder {
    experiments: BTreeMap<Rc<str>, Recorded>,
    cells: usize,
    buckets: usize,
    dropped: u64,
    life: u32,
    compacted_ms: Option<u64>,
}

#[derive(Debug)]
struct Recorded {
    bin_ms: u64,
    /// The longest of the plans that assigned here.
    deadline_ms: u64,
    /// The watermark of the last report.
    watermark: u64,
    /// The latest bin that a report carried.
    reported: Option<u64>,
    /// By bin, then epoch.
    groups: BTreeMap<(u64, u32), Group>,
    /// Taken for the report that is being drained.
    taken: Vec<Cell>,
}

/// The cells of all versions of one (experiment, epoch, bin).
#[derive(Debug)]
struct Group {
    experiment: Rc<Experiment>,
    /// Whether a report has carried counts of it. Its assignments are then known elsewhere under this bin, and what is
    /// still to come must arrive there too.
    reported: bool,
    counts: Vec<Counts>,
    /// Of each version, in a sticky experiment; empty in others.
    in_flight: Vec<InFlight>,
}

/// A recorded exposure, until it ends.
#[derive(Debug)]
pub struct Exposure {
    experiment: Rc<Experiment>,
    version: usize,
    bin: u64,
    /// Of the unit, in a sticky experiment.
    bucket: Option<u16>,
    life: u32,
}

impl Exposure {
    /// The experiment as it was at the assignment.
    #[must_use]
    pub fn experiment(&self) -> &Rc<Experiment> {
        &self.experiment
    }
}

/// What an exposure showed by its deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// How it ended.
    pub outcome: Outcome,
    /// Its age then, in nanoseconds.
    pub age_nanos: u64,
    /// Zero: none. Finite.
    pub reward: f64,
}

/// What a report takes out of the recorder.
#[derive(Debug, Default)]
pub struct Drained {
    /// For the report.
    pub experiments: Vec<ReportedExperiment>,
    /// For the report.
    pub dropped: u64,
    /// Exposures in `experiments`, for the books should the report be refused.
    pub assigned: u64,
    /// Whether counts are left that found no room.
    pub more: bool,
}

impl Drained {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.experiments.is_empty() && self.dropped == 0
    }
}

impl Recorder {
    /// Records an assignment, in a sticky experiment with its unit's bucket, at a time of the bin clock. `None`: there is no
    /// room; it is counted as dropped.
    pub fn assign(
        &mut self,
        experiment: &Rc<Experiment>,
        version: usize,
        bucket: Option<u16>,
        now_ms: u64,
    ) -> Option<Exposure> {
        let bin = floor_to(now_ms, experiment.bin_ms);
        let known = self
            .experiments
            .get(&experiment.id)
            .is_some_and(|recorded| recorded.groups.contains_key(&(bin, experiment.epoch)));
        if !known && !self.make_room(experiment.versions.len(), now_ms) {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        let recorded = self.experiments.entry(Rc::clone(&experiment.id)).or_insert_with(|| Recorded {
            bin_ms: experiment.bin_ms,
            deadline_ms: experiment.deadline_ms,
            watermark: 0,
            reported: None,
            groups: BTreeMap::new(),
            taken: Vec::new(),
        });
        recorded.bin_ms = experiment.bin_ms;
        recorded.deadline_ms = recorded.deadline_ms.max(experiment.deadline_ms);
        let cells = &mut self.cells;
        let group = recorded.groups.entry((bin, experiment.epoch)).or_insert_with(|| {
            *cells = cells.saturating_add(experiment.versions.len());
            let counts = experiment.versions.iter().map(|_| Counts::default()).collect();
            Group { experiment: Rc::clone(experiment), reported: false, counts, in_flight: Vec::new() }
        });
        let counts = group.counts.get_mut(version)?;
        counts.assigned = counts.assigned.saturating_add(1);
        if let Some(bucket) = bucket {
            self.buckets = self.buckets.saturating_add(group.begin(version, bucket));
        }
        Some(Exposure { experiment: Rc::clone(experiment), version, bin, bucket, life: self.life })
    }

    /// Records how an exposure ended, if by its deadline; later ends change nothing.
    pub fn complete(&mut self, exposure: &Exposure, observation: Observation) {
        let Exposure { experiment, version, bin, bucket, life } = exposure;
        if *life != self.life || observation.age_nanos > experiment.deadline_ms.saturating_mul(1_000_000) {
            return;
        }
        let Some(recorded) = self.experiments.get_mut(&experiment.id) else { return };
        if *bin < recorded.watermark {
            return;
        }
        let Some(group) = recorded.groups.get_mut(&(*bin, experiment.epoch)) else { return };
        let Some(counts) = group.counts.get_mut(*version) else { return };
        let mut before = buckets_of(counts);
        let rewarded = observe(counts, observation);
        if let Some(bucket) = *bucket {
            let slow_us = experiment.versions.get(*version).and_then(|version| version.slow_us);
            units::note(counts, bucket, observation, slow_us, rewarded);
            if let Some(in_flight) = group.in_flight.get_mut(*version) {
                before = before.saturating_add(in_flight.len());
                in_flight.end(bucket);
                self.buckets = self.buckets.saturating_add(in_flight.len());
            }
        }
        self.buckets = self.buckets.saturating_add(buckets_of(counts)).saturating_sub(before);
    }

    /// Takes what fits into one report, oldest bins first, at a time of the bin clock.
    ///
    /// The watermark of each experiment promises that no later report adds to a bin before it: it stops at the oldest bin
    /// that found no room.
    pub fn drain(&mut self, now_ms: u64) -> Drained {
        self.drain_into(
            now_ms,
            Room {
                bytes: MAX_REPORT_BYTES.saturating_sub(REPORT_OVERHEAD),
                cells: MAX_CELLS,
                experiments: MAX_EXPERIMENTS,
            },
        )
    }

    fn drain_into(&mut self, now_ms: u64, mut room: Room) -> Drained {
        let mut drained = Drained { dropped: std::mem::take(&mut self.dropped), ..Drained::default() };
        // Before anything is taken: what is overdue belongs into the report whose watermark passes it.
        for recorded in self.experiments.values_mut() {
            let (before, after) = recorded.close(now_ms);
            self.buckets = self.buckets.saturating_add(after).saturating_sub(before);
        }
        self.take_cells(&mut drained, &mut room);
        for (id, recorded) in &mut self.experiments {
            let cells = std::mem::take(&mut recorded.taken);
            recorded.reported = recorded.reported.max(cells.iter().map(|cell| cell.bin).max());
            let watermark = recorded.final_before(now_ms);
            let settles = watermark > recorded.watermark && recorded.reported >= Some(recorded.watermark);
            if !cells.is_empty() || (settles && room.take_experiment(id)) {
                recorded.watermark = watermark;
                drained.experiments.push(ReportedExperiment { id: id.to_string(), watermark, cells });
            }
            let is_over = |bin: u64, group: &Group| bin < watermark && group.is_done();
            let cells = &mut self.cells;
            recorded.groups.retain(|(bin, _), group| {
                let over = is_over(*bin, group);
                if over {
                    *cells = cells.saturating_sub(group.counts.len());
                }
                !over
            });
        }
        self.experiments.retain(|_, recorded| {
            !recorded.groups.is_empty() || recorded.reported.is_some_and(|reported| reported >= recorded.watermark)
        });
        drained
    }

    fn take_cells(&mut self, drained: &mut Drained, room: &mut Room) {
        let mut order: Vec<(u64, u32, Rc<str>)> = self
            .experiments
            .iter()
            .flat_map(|(id, recorded)| recorded.groups.keys().map(|(bin, epoch)| (*bin, *epoch, Rc::clone(id))))
            .collect();
        order.sort_unstable();
        for (bin, epoch, id) in order {
            let Some(Recorded { groups, taken, .. }) = self.experiments.get_mut(&id) else { continue };
            let Some(group) = groups.get_mut(&(bin, epoch)) else { continue };
            for (version, counts) in group.experiment.versions.iter().zip(&mut group.counts) {
                if is_nothing(counts) {
                    continue;
                }
                let fits = (!taken.is_empty() || room.take_experiment(&id)) && room.take_cell(counts, &version.name);
                if !fits {
                    drained.more = true;
                    return;
                }
                self.buckets = self.buckets.saturating_sub(buckets_of(counts));
                drained.assigned = drained.assigned.saturating_add(counts.assigned);
                group.reported = true;
                let counts = std::mem::take(counts);
                taken.push(Cell { epoch, version: version.name.to_string(), bin, counts });
            }
        }
    }

    /// Forgets every count and every exposure in flight: a report was refused for good, so this worker's bins can never
    /// become complete. Everything unreported, and what the refused report carried, is counted as dropped.
    pub fn start_over(&mut self, refused: u64) {
        let lost = self
            .experiments
            .values()
            .flat_map(|recorded| recorded.groups.values())
            .flat_map(|group| &group.counts)
            .fold(refused, |lost, counts| lost.saturating_add(counts.assigned));
        *self = Self { dropped: self.dropped.saturating_add(lost), life: self.life.wrapping_add(1), ..Self::default() };
    }

    /// Whether a bin of `versions` more cells has room, if need be after merging bins that are final.
    fn make_room(&mut self, versions: usize, now_ms: u64) -> bool {
        let has_room = |this: &Self| this.cells.saturating_add(versions) <= CELLS && this.buckets < BUCKETS;
        if has_room(self) {
            return true;
        }
        // Once a second: a look at every cell is no work for every request.
        if self.compacted_ms.is_some_and(|last| now_ms < last.saturating_add(1_000)) {
            return false;
        }
        self.compacted_ms = Some(now_ms);
        self.experiments.values_mut().for_each(|recorded| recorded.compact(now_ms));
        let groups = || self.experiments.values().flat_map(|recorded| recorded.groups.values());
        self.cells = groups().map(|group| group.counts.len()).sum();
        self.buckets = groups().map(Group::buckets).sum();
        has_room(self)
    }
}

/// What still fits into a report.
struct Room {
    bytes: usize,
    cells: usize,
    experiments: usize,
}

impl Room {
    fn take_experiment(&mut self, id: &str) -> bool {
        // Field names, a watermark; quotes in an id are escaped.
        let left = self.bytes.checked_sub(64 + 2 * id.len());
        match (left, self.experiments.checked_sub(1)) {
            (Some(bytes), Some(experiments)) => {
                (self.bytes, self.experiments) = (bytes, experiments);
                true
            }
            _ => false,
        }
    }

    fn take_cell(&mut self, counts: &Counts, version: &str) -> bool {
        match (self.bytes.checked_sub(largest_json(counts, version)), self.cells.checked_sub(1)) {
            (Some(bytes), Some(cells)) => {
                (self.bytes, self.cells) = (bytes, cells);
                true
            }
            _ => false,
        }
    }
}

impl Group {
    /// An exposure of a unit has begun. Answers by how many buckets there are more.
    fn begin(&mut self, version: usize, bucket: u16) -> usize {
        if self.in_flight.is_empty() {
            self.in_flight.resize_with(self.counts.len(), InFlight::default);
        }
        let Some(in_flight) = self.in_flight.get_mut(version) else { return 0 };
        let before = in_flight.len();
        in_flight.begin(bucket);
        in_flight.len().saturating_sub(before)
    }

    /// The deadline of every exposure has passed.
    fn close(&mut self) {
        let versions = self.experiment.versions.iter().zip(&mut self.counts);
        for ((version, counts), mut in_flight) in versions.zip(std::mem::take(&mut self.in_flight)) {
            in_flight.close(counts, version.slow_us);
        }
    }

    /// Whether it has nothing that is to be reported, now or at its deadline.
    fn is_done(&self) -> bool {
        self.counts.iter().all(is_nothing) && self.in_flight.iter().all(|in_flight| in_flight.len() == 0)
    }

    fn buckets(&self) -> usize {
        let in_flight = self.in_flight.iter().map(InFlight::len).sum::<usize>();
        self.counts.iter().map(buckets_of).sum::<usize>().saturating_add(in_flight)
    }
}

impl Recorded {
    /// Bins that begin before this are final at a time of the bin clock.
    fn settled_before(&self, now_ms: u64) -> u64 {
        floor_to(now_ms.saturating_sub(self.deadline_ms), self.bin_ms)
    }

    /// The same, but not past a bin with counts that are still to be reported, and never back.
    fn final_before(&self, now_ms: u64) -> u64 {
        let oldest_left = self.groups.iter().find(|(_, group)| !group.is_done()).map_or(u64::MAX, |((bin, _), _)| *bin);
        self.settled_before(now_ms).min(oldest_left).max(self.watermark)
    }

    /// Notes which units have exposures overdue, in the bins that are final by now. Answers how many buckets these had before, and
    /// have after.
    fn close(&mut self, now_ms: u64) -> (usize, usize) {
        let (mut before, mut after) = (0, 0);
        for ((bin, _), group) in self.groups.range_mut(..(self.settled_before(now_ms), 0)) {
            // A bin of an earlier plan may have been longer.
            let ends = bin.saturating_add(group.experiment.bin_ms).saturating_add(self.deadline_ms);
            if group.in_flight.is_empty() || ends > now_ms {
                continue;
            }
            before += group.buckets();
            group.close();
            after += group.buckets();
        }
        (before, after)
    }

    /// Merges the final bins of each epoch into the oldest one, but for those that a report has carried: an outcome moved away
    /// from its assignment would make more ends than exposures. Of these there are no more than a deadline has bins.
    fn compact(&mut self, now_ms: u64) {
        self.close(now_ms);
        let settled = self.settled_before(now_ms);
        let mut kept: BTreeMap<(u64, u32), Group> = BTreeMap::new();
        let mut oldest: Vec<(u32, u64)> = Vec::new();
        for ((bin, epoch), group) in std::mem::take(&mut self.groups) {
            if bin < settled && group.is_done() {
                continue;
            }
            let into = match oldest.iter().find(|(known, _)| *known == epoch) {
                _ if bin >= settled || group.reported || !group.in_flight.is_empty() => bin,
                Some((_, first)) => *first,
                None => {
                    oldest.push((epoch, bin));
                    bin
                }
            };
            match kept.get_mut(&(into, epoch)) {
                Some(first) => {
                    first.counts.iter_mut().zip(&group.counts).for_each(|(counts, more)| counts.merge(more));
                }
                None => {
                    kept.insert((into, epoch), group);
                }
            }
        }
        self.groups = kept;
    }
}

/// Counts an end; answers whether with a reward.
fn observe(counts: &mut Counts, observation: Observation) -> bool {
    let Observation { outcome, age_nanos, reward } = observation;
    match outcome {
        Outcome::Aborted => {
            counts.aborted = counts.aborted.saturating_add(1);
            counts.abort_age.record(age_nanos / 1_000);
            return false;
        }
        Outcome::Failed => counts.failed = counts.failed.saturating_add(1),
        Outcome::Ok => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53 for a hundred days")]
            let seconds = age_nanos as f64 / 1e9;
            counts.latency.record(age_nanos / 1_000);
            counts.latency_sum += seconds;
            counts.latency_sum_squares += seconds * seconds;
        }
    }
    counts.completed = counts.completed.saturating_add(1);
    let (sum, squares) = (counts.reward_sum + reward, counts.reward_sum_squares + reward * reward);
    let rewarded = reward != 0.0 && sum.is_finite() && squares.is_finite();
    if rewarded {
        counts.rewarded = counts.rewarded.saturating_add(1);
        counts.reward_sum = sum;
        counts.reward_sum_squares = squares;
    }
    rewarded
}

fn is_nothing(counts: &Counts) -> bool {
    // Only overdue exposures show their units' buckets without an end.
    counts.assigned == 0 && counts.completed == 0 && counts.aborted == 0 && counts.failed_buckets.is_empty()
}

fn buckets_of(counts: &Counts) -> usize {
    let units = counts.failed_buckets.len() + counts.slow_buckets.len() + counts.rewarded_buckets.len();
    counts.latency.buckets().len() + counts.abort_age.buckets().len() + units
}

/// An upper bound of the bytes of a cell's JSON.
fn largest_json(counts: &Counts, version: &str) -> usize {
    // `[1707,18446744073709551615],` with the digits that the count has.
    let buckets = |histogram: &Histogram| -> usize {
        histogram.buckets().iter().map(|(_, count)| 9 + count.checked_ilog10().unwrap_or(0) as usize).sum()
    };
    // `16383,` at most.
    let units = 6 * (counts.failed_buckets.len() + counts.slow_buckets.len() + counts.rewarded_buckets.len());
    // Field names, seven counts of up to 20 digits, four sums of up to 24 characters; quotes in a name are escaped.
    704 + 2 * version.len() + buckets(&counts.latency) + buckets(&counts.abort_age) + units
}

fn floor_to(time: u64, step: u64) -> u64 {
    time - time.checked_rem(step).unwrap_or(0)
}

#[cfg(test)]
mod tests;
