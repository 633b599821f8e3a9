//! The cells of one (experiment, epoch, bin), and how an exposure's end is counted in them.
//!
//! Knows no reports; which units have what is `units`'s.

use super::units::{self, InFlight};
use super::{Exposure, Observation, Outcome};
use crate::matching::Experiment;
use crate::report::Counts;
use std::rc::Rc;

/// The cells of all versions of one (experiment, epoch, bin).
#[derive(Debug)]
pub(super) struct Group {
    /// When its bin begins.
    pub(super) bin: u64,
    /// The first of its epoch that assigned.
    pub(super) experiment: Rc<Experiment>,
    /// Whether a report has carried counts of it. Its assignments are then known elsewhere under this bin, and what is
    /// still to come must arrive there too.
    pub(super) reported: bool,
    pub(super) counts: Vec<Counts>,
    /// Of each version, in a sticky experiment; empty in others.
    pub(super) in_flight: Vec<InFlight>,
}

impl Group {
    pub(super) fn new(experiment: &Rc<Experiment>, bin: u64) -> Self {
        let counts = experiment.versions.iter().map(|_| Counts::default()).collect();
        Self { bin, experiment: Rc::clone(experiment), reported: false, counts, in_flight: Vec::new() }
    }

    /// What it is sorted by.
    pub(super) fn place(&self) -> (u64, u32) {
        (self.bin, self.experiment.epoch)
    }

    #[inline]
    /// Counts an exposure that has begun. Answers by how many buckets there are more; `None`: there is no such version.
    pub(super) fn assign(&mut self, version: usize, bucket: Option<u16>) -> Option<usize> {
        let counts = self.counts.get_mut(version)?;
        counts.assigned = counts.assigned.saturating_add(1);
        Some(bucket.map_or(0, |bucket| self.begin(version, bucket)))
    }

    /// An exposure of a unit has begun. Answers by how many buckets there are more.
    #[inline]
    fn begin(&mut self, version: usize, bucket: u16) -> usize {
        if self.in_flight.is_empty() {
            self.in_flight.resize_with(self.counts.len(), InFlight::default);
        }
        let Some(in_flight) = self.in_flight.get_mut(version) else { return 0 };
        let before = in_flight.len();
        in_flight.begin(bucket);
        in_flight.len().saturating_sub(before)
    }

    #[inline]
    /// Counts how an exposure of it ended. Answers how many buckets its version had before, and has after.
    pub(super) fn end(&mut self, exposure: &Exposure, observation: Observation) -> (usize, usize) {
        let Exposure { experiment, version, bucket, .. } = exposure;
        let Some(counts) = self.counts.get_mut(*version) else { return (0, 0) };
        let before = buckets_of(counts);
        let rewarded = observe(counts, observation);
        let Some(bucket) = *bucket else { return (before, buckets_of(counts)) };
        // The version as it was at the assignment.
        let slow_us = experiment.versions.get(*version).and_then(|version| version.slow_us);
        units::note(counts, bucket, observation, slow_us, rewarded);
        let after = buckets_of(counts);
        let Some(in_flight) = self.in_flight.get_mut(*version) else { return (before, after) };
        let were = in_flight.len();
        in_flight.end(bucket);
        (before + were, after + in_flight.len())
    }

    /// The deadline of every exposure has passed.
    pub(super) fn close(&mut self) {
        let versions = self.experiment.versions.iter().zip(&mut self.counts);
        for ((version, counts), mut in_flight) in versions.zip(std::mem::take(&mut self.in_flight)) {
            in_flight.close(counts, version.slow_us);
        }
    }

    /// Whether nothing can come any more of its bin, `deadline_ms` after its end. By its own length: that
    /// of an earlier plan may have been another.
    pub(super) fn is_final(&self, deadline_ms: u64, now_ms: u64) -> bool {
        self.bin.saturating_add(self.experiment.bin_ms).saturating_add(deadline_ms) <= now_ms
    }

    /// Whether it has nothing to report now.
    pub(super) fn is_reported(&self) -> bool {
        self.counts.iter().all(is_nothing)
    }

    pub(super) fn buckets(&self) -> usize {
        let in_flight = self.in_flight.iter().map(InFlight::len).sum::<usize>();
        self.counts.iter().map(buckets_of).sum::<usize>().saturating_add(in_flight)
    }
}

/// Counts an end; answers whether with a reward.
#[inline]
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

pub(super) fn is_nothing(counts: &Counts) -> bool {
    // Only overdue exposures show their units' buckets without an end.
    counts.assigned == 0 && counts.completed == 0 && counts.aborted == 0 && counts.failed_buckets.is_empty()
}

#[inline]
pub(super) fn buckets_of(counts: &Counts) -> usize {
    let units = counts.failed_buckets.len() + counts.slow_buckets.len() + counts.rewarded_buckets.len();
    counts.latency.buckets().len() + counts.abort_age.buckets().len() + units
}
