//! The recorder: one worker's counts since its last report.
//!
//! Owns the cells, their bounds, and what goes into a report. All versions of an (experiment, epoch, bin) are given room at
//! the first assignment in it or none is, so that what is lost for want of room never depends on a version or an outcome.
//! Knows no clock and sends nothing.

use crate::matching::Experiment;
use crate::outcome::Outcome;
use crate::report::{Cell, ReportedExperiment};
use crate::reward::{Claim, MAX_CLAIMS};
use crate::tally::Tally;
use crate::token::Token;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

mod group;
mod room;
mod units;

use group::{Group, buckets_of, is_nothing};
use room::Room;

/// Most cells in memory.
const CELLS: usize = 8_192;
/// Most claims in memory: at four reports of them nobody is answering.
const CLAIMS: usize = 4 * MAX_CLAIMS;
/// Most histogram buckets and unit buckets in memory (up to 16 bytes each) before new bins get no room. What has room may go on
/// growing, to at most 3,414 of the former and four times 16,384 of the latter per cell.
const BUCKETS: usize = 1 << 19;

/// The life of exposures that are tallied and nothing else; no recorder's own.
const TALLIED: u32 = u32::MAX;

/// One worker's counts since its last report.
#[derive(Debug, Default)]
pub struct Recorder {
    experiments: BTreeMap<Rc<str>, Recorded>,
    cells: usize,
    buckets: usize,
    dropped: u64,
    life: u32,
    claims: Vec<Claim>,
    lost_claims: u64,
    compacted_ms: Option<u64>,
    /// Keeps nothing but the tallies of Envoy's stats.
    only_tallies: bool,
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

    fn record(
        &mut self,
        experiment: &Rc<Experiment>,
        version: usize,
        bucket: Option<u16>,
        now_ms: u64,
    ) -> Option<Exposure> {
        let bin = floor_to(now_ms, experiment.bin_ms);
        // Nearly every request: its bin has room already, and one look into each map finds it.
        if let Some(recorded) = self.experiments.get_mut(&experiment.id)
            && let Some(group) = recorded.groups.get_mut(&(bin, experiment.epoch))
        {
            recorded.bin_ms = experiment.bin_ms;
            recorded.deadline_ms = recorded.deadline_ms.max(experiment.deadline_ms);
            let more = group.assign(version, bucket)?;
            self.buckets = self.buckets.saturating_add(more);
            return Some(Exposure { experiment: Rc::clone(experiment), version, bin, bucket, life: self.life });
        }
        if !self.make_room(experiment.versions.len(), now_ms) {
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
            Group::new(experiment)
        });
        let more = group.assign(version, bucket)?;
        self.buckets = self.buckets.saturating_add(more);
        Some(Exposure { experiment: Rc::clone(experiment), version, bin, bucket, life: self.life })
    }

    /// Notes that an exposure, just assigned, is the first of a unit that got its key from us.
    pub fn new_unit(&mut self, exposure: &Exposure) {
        let Exposure { experiment, version, bin, .. } = exposure;
        if let Some(recorded) = self.experiments.get_mut(&experiment.id)
            && let Some(group) = recorded.groups.get_mut(&(*bin, experiment.epoch))
            && let Some(counts) = group.counts.get_mut(*version)
        {
            counts.new_units = counts.new_units.saturating_add(1);
        }
    }

    /// Records how an exposure ended, if by its deadline; later ends change nothing.
    pub fn complete(&mut self, exposure: &Exposure, observation: Observation) {
        let Exposure { experiment, bin, life, .. } = exposure;
        if observation.age_nanos > experiment.deadline_ms.saturating_mul(1_000_000) {
            return;
        }
        if let Some(tally) = tally_of(experiment, exposure.version) {
            tally.ended(observation);
        }
        if *life != self.life {
            return;
        }
        let Some(recorded) = self.experiments.get_mut(&experiment.id) else { return };
        if *bin < recorded.watermark {
            return;
        }
        let Some(group) = recorded.groups.get_mut(&(*bin, experiment.epoch)) else { return };
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
        // A client that repeats itself takes no room from others. Conversions are few, and those that wait fewer.
        if self.claims.iter().any(|claim| claim.assignment == assignment) {
            return;
        }
        if self.claims.len() < CLAIMS {
            self.claims.push(Claim { experiment: experiment.to_string(), assignment, reward });
        } else {
            self.lost_claims = self.lost_claims.saturating_add(1);
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
        for recorded in self.experiments.values_mut() {
            let (before, after) = recorded.close(now_ms);
            self.buckets = self.buckets.saturating_add(after).saturating_sub(before);
        }
        self.take_claims(&mut drained, &mut room);
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
            let is_over = |bin: u64, group: &Group| bin < watermark && group.is_reported();
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

    fn take_claims(&mut self, drained: &mut Drained, room: &mut Room) {
        drained.lost_claims = std::mem::take(&mut self.lost_claims);
        let fit = self.claims.iter().take(MAX_CLAIMS).take_while(|claim| room.take_claim(claim)).count();
        drained.claims = self.claims.drain(..fit).collect();
        drained.more = !self.claims.is_empty();
    }

    fn take_cells(&mut self, drained: &mut Drained, room: &mut Room) {
        // A heap, as its sort is a tenth of the code of the one for slices.
        let order: BinaryHeap<(u64, u32, Rc<str>)> = self
            .experiments
            .iter()
            .flat_map(|(id, recorded)| recorded.groups.keys().map(|(bin, epoch)| (*bin, *epoch, Rc::clone(id))))
            .collect();
        for (bin, epoch, id) in order.into_sorted_vec() {
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
    /// Answers how many exposures that were.
    pub fn start_over(&mut self, refused: u64) -> u64 {
        let lost = self
            .experiments
            .values()
            .flat_map(|recorded| recorded.groups.values())
            .flat_map(|group| &group.counts)
            .fold(refused, |lost, counts| lost.saturating_add(counts.assigned));
        *self = Self {
            dropped: self.dropped.saturating_add(lost),
            life: self.life.wrapping_add(1),
            // They are about exposures that may be others'.
            claims: std::mem::take(&mut self.claims),
            lost_claims: self.lost_claims,
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
        self.experiments.values_mut().for_each(|recorded| recorded.compact(now_ms));
        let groups = || self.experiments.values().flat_map(|recorded| recorded.groups.values());
        self.cells = groups().map(|group| group.counts.len()).sum();
        self.buckets = groups().map(Group::buckets).sum();
        has_room(self)
    }
}

impl Recorded {
    /// Bins that begin before this are final at a time of the bin clock.
    fn settled_before(&self, now_ms: u64) -> u64 {
        floor_to(now_ms.saturating_sub(self.deadline_ms), self.bin_ms)
    }

    /// The same, but not past a bin with counts that are still to be reported or still to come, and never back.
    fn final_before(&self, now_ms: u64) -> u64 {
        let oldest_left = self
            .groups
            .iter()
            .find(|((bin, _), group)| !group.is_reported() || !group.is_final(*bin, self.deadline_ms, now_ms))
            .map_or(u64::MAX, |((bin, _), _)| *bin);
        self.settled_before(now_ms).min(oldest_left).max(self.watermark)
    }

    /// Notes which units have exposures overdue, in the bins that are final by now. Answers how many buckets these had before, and
    /// have after.
    fn close(&mut self, now_ms: u64) -> (usize, usize) {
        let (mut before, mut after) = (0, 0);
        for ((bin, _), group) in self.groups.range_mut(..(self.settled_before(now_ms), 0)) {
            if group.in_flight.is_empty() || !group.is_final(*bin, self.deadline_ms, now_ms) {
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
        let mut kept: BTreeMap<(u64, u32), Group> = BTreeMap::new();
        let mut oldest: Vec<(u32, u64)> = Vec::new();
        for ((bin, epoch), group) in std::mem::take(&mut self.groups) {
            let is_final = group.is_final(bin, self.deadline_ms, now_ms);
            if is_final && group.is_reported() {
                continue;
            }
            let into = match oldest.iter().find(|(known, _)| *known == epoch) {
                _ if !is_final || group.reported => bin,
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

fn floor_to(time: u64, step: u64) -> u64 {
    time - time.checked_rem(step).unwrap_or(0)
}

#[cfg(test)]
mod tests;
