//! The recorder: one worker's counts since its last report.
//!
//! Owns the cells, their bounds, and what goes into a report. All versions of an (experiment, epoch, bin) are given room at
//! the first assignment in it or none is, so that what is lost for want of room never depends on a version or an outcome.
//! Knows no clock and sends nothing.

use crate::matching::Experiment;
use crate::outcome::Outcome;
use crate::report::{Cell, Counts, ReportedExperiment};
use crate::reward::Claim;
use crate::tally::Tally;
use crate::token::Token;
use std::collections::BinaryHeap;
use std::rc::Rc;

mod claims;
mod group;
mod room;
mod units;

use claims::Claims;
use group::{Group, buckets_of, is_nothing};
use room::Room;

/// Most cells in memory.
const CELLS: usize = 8_192;
/// Most histogram buckets and unit buckets in memory (up to 16 bytes each) before new bins get no room. What has room may go on
/// growing, to at most 3,414 of the former and four times 16,384 of the latter per cell.
const BUCKETS: usize = 1 << 19;

/// The life of exposures that are tallied and nothing else; no recorder's own.
const TALLIED: u32 = u32::MAX;

/// One worker's counts since its last report.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Sorted by id.
    experiments: Vec<Recorded>,
    cells: usize,
    buckets: usize,
    dropped: u64,
    life: u32,
    claims: Claims,
    compacted_ms: Option<u64>,
    /// Keeps nothing but the tallies of Envoy's stats.
    only_tallies: bool,
}

#[derive(Debug)]
struct Recorded {
    /// That of the last plan that assigned here, so that its experiments are known without a look at the text.
    id: Rc<str>,
    bin_ms: u64,
    /// The longest of the plans that assigned here.
    deadline_ms: u64,
    /// The watermark of the last report.
    watermark: u64,
    /// The latest bin that a report carried.
    reported: Option<u64>,
    /// Sorted by bin, then epoch: the one that is assigned to is nearly always the last.
    groups: Vec<Group>,
    /// Taken for the report that is being drained.
    taken: Vec<Cell>,
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
    #[inline]
    pub fn experiment(&self) -> &Rc<Experiment> {
        &self.experiment
    }

    /// The token that a reward of it comes with, under a random number. `None`: a plan with more versions than a token can name.
    #[must_use]
    pub fn token(&self, incarnation: u128, nonce: u64) -> Option<Token> {
        // Of what is not reported nothing can be told later.
        if self.life == TALLIED {
            return None;
        }
        let version = u8::try_from(self.version).ok()?;
        Some(Token { incarnation, epoch: self.experiment.epoch, version, bin: self.bin, nonce, bucket: self.bucket })
    }

    /// It has ended after its deadline: no count but one in Envoy's stats.
    pub fn late(&self) {
        if let Some(tally) = tally_of(&self.experiment, self.version) {
            tally.late();
        }
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
    /// Whether counts or claims are left that found no room.
    pub more: bool,
    /// For the report.
    pub claims: Vec<Claim>,
    /// For the report.
    pub lost_claims: u64,
}

impl Drained {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.experiments.is_empty() && self.dropped == 0 && self.claims.is_empty() && self.lost_claims == 0
    }
}

#[inline]
fn tally_of(experiment: &Experiment, version: usize) -> Option<&Tally> {
    experiment.versions.get(version)?.tally.get().map(Rc::as_ref)
}

impl Recorder {
    /// One for a plan that nobody is told of: it keeps nothing but the tallies.
    #[must_use]
    pub fn only_tallies() -> Self {
        Self { only_tallies: true, ..Self::default() }
    }

    /// Records an assignment, in a sticky experiment with its unit's bucket, at a time of the bin clock. `None`: there is no
    /// room; it is counted as dropped.
    #[inline]
    pub fn assign(
        &mut self,
        experiment: &Rc<Experiment>,
        version: usize,
        bucket: Option<u16>,
        now_ms: u64,
    ) -> Option<Exposure> {
        let exposure = if self.only_tallies {
            Some(Exposure { experiment: Rc::clone(experiment), version, bin: 0, bucket: None, life: TALLIED })
        } else {
            self.record(experiment, version, bucket, now_ms)
        };
        if let Some(tally) = tally_of(experiment, version) {
            tally.assigned(exposure.is_some());
        }
        exposure
    }

    #[inline]
    fn record(
        &mut self,
        experiment: &Rc<Experiment>,
        version: usize,
        bucket: Option<u16>,
        now_ms: u64,
    ) -> Option<Exposure> {
        let bin = floor_to(now_ms, experiment.bin_ms);
        // Nearly every request: its bin has room already.
        let (recorded, at) = match self.group(experiment, bin) {
            Some(places) => places,
            None => {
                self.open(experiment, bin, now_ms)?;
                self.group(experiment, bin)?
            }
        };
        let recorded = self.experiments.get_mut(recorded)?;
        recorded.bin_ms = experiment.bin_ms;
        recorded.deadline_ms = recorded.deadline_ms.max(experiment.deadline_ms);
        let more = recorded.groups.get_mut(at)?.assign(version, bucket)?;
        self.buckets = self.buckets.saturating_add(more);
        Some(Exposure { experiment: Rc::clone(experiment), version, bin, bucket, life: self.life })
    }

    /// Makes room for a bin. `None`: there is none; it is counted as dropped.
    #[inline(never)]
    fn open(&mut self, experiment: &Rc<Experiment>, bin: u64, now_ms: u64) -> Option<()> {
        if !self.make_room(experiment.versions.len(), now_ms) {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        let at = self.experiments.binary_search_by(|recorded| recorded.id.cmp(&experiment.id)).unwrap_or_else(|at| {
            let recorded = Recorded {
                id: Rc::clone(&experiment.id),
                bin_ms: experiment.bin_ms,
                deadline_ms: experiment.deadline_ms,
                watermark: 0,
                reported: None,
                groups: Vec::new(),
                taken: Vec::new(),
            };
            self.experiments.insert(at, recorded);
            at
        });
        let recorded = self.experiments.get_mut(at)?;
        recorded.id = Rc::clone(&experiment.id);
        if let Err(at) = recorded.place((bin, experiment.epoch)) {
            recorded.groups.insert(at, Group::new(experiment, bin));
            self.cells = self.cells.saturating_add(experiment.versions.len());
        }
        Some(())
    }

    #[inline(never)]
    fn search(&self, experiment: &Experiment) -> Option<usize> {
        let at = self.experiments.binary_search_by(|recorded| recorded.id.cmp(&experiment.id)).ok()?;
        experiment.place.set(at);
        Some(at)
    }

    /// Where what is recorded of an experiment is, and where in it the group of a bin.
    #[inline]
    fn group(&self, experiment: &Experiment, bin: u64) -> Option<(usize, usize)> {
        // Where it was the last time, which only a new or forgotten experiment changes.
        let known = experiment.place.get();
        let there = self.experiments.get(known).filter(|there| Rc::ptr_eq(&there.id, &experiment.id));
        let (at, recorded) = match there {
            Some(recorded) => (known, recorded),
            None => {
                let at = self.search(experiment)?;
                (at, self.experiments.get(at)?)
            }
        };
        Some((at, recorded.place((bin, experiment.epoch)).ok()?))
    }

    /// Notes that an exposure, just assigned, is the first of a unit that got its key from us.
    pub fn new_unit(&mut self, exposure: &Exposure) {
        if let Some(counts) = self.counts_of(exposure) {
            counts.new_units = counts.new_units.saturating_add(1);
        }
    }

    /// Notes that no reward can come of an exposure, just assigned: its unit keeps the token of an earlier one.
    pub fn repeat(&mut self, exposure: &Exposure) {
        if let Some(counts) = self.counts_of(exposure) {
            counts.repeats = counts.repeats.saturating_add(1);
        }
    }

    #[inline(never)]
    fn counts_of(&mut self, exposure: &Exposure) -> Option<&mut Counts> {
        let Exposure { experiment, version, bin, .. } = exposure;
        let (recorded, at) = self.group(experiment, *bin)?;
        self.experiments.get_mut(recorded)?.groups.get_mut(at)?.counts.get_mut(*version)
    }

    /// Records how an exposure ended, if by its deadline; later ends change nothing.
    #[inline]
    pub fn complete(&mut self, exposure: &Exposure, observation: Observation) {
        let Exposure { experiment, bin, life, .. } = exposure;
        if observation.age_nanos > experiment.deadline_nanos {
            return;
        }
        if let Some(tally) = tally_of(experiment, exposure.version) {
            tally.ended(observation);
        }
        if *life != self.life {
            return;
        }
        let Some((recorded, at)) = self.group(experiment, *bin) else { return };
        let Some(recorded) = self.experiments.get_mut(recorded) else { return };
        if *bin < recorded.watermark {
            return;
        }
        let Some(group) = recorded.groups.get_mut(at) else { return };
        let (before, after) = group.end(exposure, observation);
        self.buckets = self.buckets.saturating_add(after).saturating_sub(before);
    }

    /// Notes a reward, not zero, for whatever exposure a token names: once, while it waits. Beyond four reports of them it is lost,
    /// and counted as such.
    pub fn claim(&mut self, experiment: &Rc<str>, assignment: String, reward: f64) {
        // Without reports nobody is told, and nobody was given a token.
        if self.only_tallies {
            return;
        }
        self.claims.add(experiment, assignment, reward);
    }

    /// Counts a reward that there is no claim for, as lost.
    pub fn lose_claim(&mut self) {
        if !self.only_tallies {
            self.claims.lose();
        }
    }

    /// Takes what fits into one report, oldest bins first, at a time of the bin clock.
    ///
    /// The watermark of each experiment promises that no later report adds to a bin before it: it stops at the oldest bin
    /// that found no room.
    pub fn drain(&mut self, now_ms: u64) -> Drained {
        self.drain_into(now_ms, Room::of_a_report())
    }

    fn drain_into(&mut self, now_ms: u64, mut room: Room) -> Drained {
        let mut drained = Drained { dropped: std::mem::take(&mut self.dropped), ..Drained::default() };
        // Before anything is taken: what is overdue belongs into the report whose watermark passes it.
        for recorded in &mut self.experiments {
            let (before, after) = recorded.close(now_ms);
            self.buckets = self.buckets.saturating_add(after).saturating_sub(before);
        }
        (drained.claims, drained.lost_claims) = self.claims.take(&mut room);
        drained.more = !self.claims.is_empty();
        self.take_cells(&mut drained, &mut room);
        for recorded in &mut self.experiments {
            let cells = std::mem::take(&mut recorded.taken);
            recorded.reported = recorded.reported.max(cells.iter().map(|cell| cell.bin).max());
            let watermark = recorded.final_before(now_ms);
            let settles = watermark > recorded.watermark && recorded.reported >= Some(recorded.watermark);
            if !cells.is_empty() || (settles && room.take_experiment(&recorded.id)) {
                recorded.watermark = watermark;
                drained.experiments.push(ReportedExperiment { id: recorded.id.to_string(), watermark, cells });
            }
            let cells = &mut self.cells;
            recorded.groups.retain(|group| {
                let over = group.bin < watermark && group.is_reported();
                if over {
                    *cells = cells.saturating_sub(group.counts.len());
                }
                !over
            });
        }
        self.experiments.retain(|recorded| {
            !recorded.groups.is_empty() || recorded.reported.is_some_and(|reported| reported >= recorded.watermark)
        });
        drained
    }

    fn take_cells(&mut self, drained: &mut Drained, room: &mut Room) {
        // A heap, as its sort is a tenth of the code of the one for slices.
        let order: BinaryHeap<(u64, u32, usize, usize)> = (0..)
            .zip(&self.experiments)
            .flat_map(|(experiment, recorded)| {
                (0..).zip(&recorded.groups).map(move |(at, group)| (experiment, at, group))
            })
            .map(|(experiment, at, group)| (group.bin, group.experiment.epoch, experiment, at))
            .collect();
        for (bin, epoch, experiment, at) in order.into_sorted_vec() {
            let Some(Recorded { id, groups, taken, .. }) = self.experiments.get_mut(experiment) else { continue };
            let Some(group) = groups.get_mut(at) else { continue };
            for (version, counts) in group.experiment.versions.iter().zip(&mut group.counts) {
                if is_nothing(counts) {
                    continue;
                }
                let fits = (!taken.is_empty() || room.take_experiment(id)) && room.take_cell(counts, &version.name);
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
    /// Answers how many exposures that were.
    pub fn start_over(&mut self, refused: u64) -> u64 {
        let lost = self
            .experiments
            .iter()
            .flat_map(|recorded| &recorded.groups)
            .flat_map(|group| &group.counts)
            .fold(refused, |lost, counts| lost.saturating_add(counts.assigned));
        *self = Self {
            dropped: self.dropped.saturating_add(lost),
            life: self.life.wrapping_add(1),
            // They are about exposures that may be others'.
            claims: std::mem::take(&mut self.claims),
            ..Self::default()
        };
        lost
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
        self.experiments.iter_mut().for_each(|recorded| recorded.compact(now_ms));
        let groups = || self.experiments.iter().flat_map(|recorded| &recorded.groups);
        self.cells = groups().map(|group| group.counts.len()).sum();
        self.buckets = groups().map(Group::buckets).sum();
        has_room(self)
    }
}

impl Recorded {
    /// Where the group of a bin and epoch is, or belongs.
    #[inline]
    fn place(&self, place: (u64, u32)) -> Result<usize, usize> {
        match self.groups.last() {
            Some(last) if last.bin == place.0 && last.experiment.epoch == place.1 => {
                Ok(self.groups.len().saturating_sub(1))
            }
            _ => self.search(place),
        }
    }

    #[inline(never)]
    fn search(&self, place: (u64, u32)) -> Result<usize, usize> {
        self.groups.binary_search_by_key(&place, Group::place)
    }

    /// Bins that begin before this are final at a time of the bin clock.
    fn settled_before(&self, now_ms: u64) -> u64 {
        floor_to(now_ms.saturating_sub(self.deadline_ms), self.bin_ms)
    }

    /// The same, but not past a bin with counts that are still to be reported or still to come, and never back.
    fn final_before(&self, now_ms: u64) -> u64 {
        let oldest_left = self
            .groups
            .iter()
            .find(|group| !group.is_reported() || !group.is_final(self.deadline_ms, now_ms))
            .map_or(u64::MAX, |group| group.bin);
        self.settled_before(now_ms).min(oldest_left).max(self.watermark)
    }

    /// Notes which units have exposures overdue, in the bins that are final by now. Answers how many buckets these had before, and
    /// have after.
    fn close(&mut self, now_ms: u64) -> (usize, usize) {
        let (mut before, mut after) = (0, 0);
        let settled = self.settled_before(now_ms);
        for group in self.groups.iter_mut().take_while(|group| group.bin < settled) {
            if group.in_flight.is_empty() || !group.is_final(self.deadline_ms, now_ms) {
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
        let mut kept: Vec<Group> = Vec::new();
        // Of each epoch, the group that takes the others.
        let mut oldest: Vec<(u32, usize)> = Vec::new();
        for group in std::mem::take(&mut self.groups) {
            let is_final = group.is_final(self.deadline_ms, now_ms);
            if is_final && group.is_reported() {
                continue;
            }
            if is_final && !group.reported {
                let epoch = group.experiment.epoch;
                let first = oldest.iter().find(|(known, _)| *known == epoch).map(|(_, first)| *first);
                if let Some(first) = first.and_then(|first| kept.get_mut(first)) {
                    first.counts.iter_mut().zip(&group.counts).for_each(|(counts, more)| counts.merge(more));
                    continue;
                }
                oldest.push((epoch, kept.len()));
            }
            kept.push(group);
        }
        self.groups = kept;
    }
}

#[inline]
fn floor_to(time: u64, step: u64) -> u64 {
    time - time.checked_rem(step).unwrap_or(0)
}

#[cfg(test)]
mod tests;
