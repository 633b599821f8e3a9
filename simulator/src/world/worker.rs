//! One worker of an Envoy: the filter's recorder, its plan, and its reports on their way.

use super::controller::{Controller, Open};
use super::plan::Published;
use crate::scenario::TICK_MS;
use weir_core::recorder::{Exposure, Observation, Recorder};
use weir_core::report::ReportedExperiment;

/// Without a valid answer for so long, a filter sends running experiments to the baseline, unrecorded: the filter's default.
const STALENESS_MS: u64 = 60_000;

/// One life of a worker, and what the controller has of it.
pub(crate) struct Worker {
    pub(crate) recorder: Recorder,
    pub(crate) plan: Option<Published>,
    heard_at: u64,
    /// Milliseconds by which its bin clock is ahead; negative: behind.
    clock: i64,
    /// Ends to come, by step of virtual time.
    later: Vec<Vec<(Exposure, Observation)>>,
    /// Frozen until it is acknowledged; what is counted meanwhile waits for the next.
    outbox: Option<Vec<ReportedExperiment>>,
    pub(crate) open: Open,
}

impl Worker {
    pub(crate) fn new(plan: Option<Published>, now: u64, clock: i64) -> Self {
        Self {
            recorder: Recorder::default(),
            plan,
            heard_at: now,
            clock,
            later: Vec::new(),
            outbox: None,
            open: Open::default(),
        }
    }

    /// Whether its plan is too old for running experiments.
    pub(crate) fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.heard_at) >= STALENESS_MS
    }

    /// A time on its bin clock.
    pub(crate) fn bin_clock(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.clock)
    }

    /// An exposure will end in a later step.
    pub(crate) fn ends_later(&mut self, at: u64, exposure: Exposure, observation: Observation) {
        if self.later.is_empty() {
            // A deadline never changes while an experiment runs: one slot for each step that it may last.
            let steps = exposure.experiment().deadline_ms / TICK_MS + 2;
            self.later.resize_with(usize::try_from(steps).unwrap_or(2), Vec::new);
        }
        let length = self.later.len();
        if let Some(slot) = usize::try_from(at / TICK_MS).ok().and_then(|step| self.later.get_mut(step % length)) {
            slot.push((exposure, observation));
        }
    }

    /// Records the ends that were waiting for this step.
    pub(crate) fn finish(&mut self, now: u64) {
        let length = self.later.len();
        let step = usize::try_from(now / TICK_MS).unwrap_or(0);
        if let Some(slot) = self.later.get_mut(step.checked_rem(length).unwrap_or(0)) {
            for (exposure, observation) in slot.drain(..) {
                self.recorder.complete(&exposure, observation);
            }
        }
    }

    /// Makes a report, unless one is still on its way. Answers how many exposures found no room.
    pub(crate) fn report(&mut self, now: u64) -> u64 {
        if self.outbox.is_some() {
            return 0;
        }
        let drained = self.recorder.drain(self.bin_clock(now));
        let dropped = drained.dropped;
        self.outbox = (!drained.is_empty()).then_some(drained.experiments);
        dropped
    }

    pub(crate) fn has_report(&self) -> bool {
        self.outbox.is_some()
    }

    /// Its report arrives and is acknowledged; at a time, and what the controller's clock shows then.
    pub(crate) fn deliver(&mut self, controller: &mut Controller, now: u64, received: u64) {
        self.heard(now, received);
        for report in self.outbox.take().into_iter().flatten() {
            controller.take(&mut self.open, report, received);
        }
    }

    /// Silence for ten intervals ends with an empty report, as the filter's sender has it.
    pub(crate) fn heartbeat(&mut self, now: u64, received: u64) {
        if self.outbox.is_none() && self.open.last_seen > 0 && received >= self.open.last_seen + 10 * TICK_MS {
            self.heard(now, received);
        }
    }

    fn heard(&mut self, now: u64, received: u64) {
        let stale = self.is_stale(now);
        self.open.hear(received, self.plan.as_ref().map(|plan| plan.serial), stale);
    }

    /// A valid answer to its question for a plan.
    pub(crate) fn hear(&mut self, plan: &Published, now: u64) {
        self.heard_at = now;
        if self.plan.as_ref().is_none_or(|known| known.serial != plan.serial) {
            self.plan = Some(plan.clone());
        }
    }
}
