//! Several workers with the filter's own recorder, in virtual time: requests end when they end, reports come late and, over workers,
//! out of order, and workers die. What enters evidence is what a watermark has passed.

use crate::case::Outcome;
use crate::traffic::{Random, seeded};
use rand::RngExt;
use rand_distr::{Distribution, Exp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use weir_core::matching::{Compiled, Experiment as Matched};
use weir_core::outcome::Outcome as Ended;
use weir_core::plan::Plan;
use weir_core::recorder::{Exposure, Observation, Recorder};
use weir_core::report::{Counts, ReportedExperiment};
use weir_core::settling::{self, OpenCell};
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::decide::{begin_epoch, is_due, remember};
use weir_engine::planning::planned;
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, Observations, State};

/// One step of virtual time, in milliseconds: reports are made and looks taken as often.
const TICK_MS: u64 = 1_000;

/// How the fleet behaves.
#[derive(Clone, Copy)]
pub(crate) struct Fleet {
    pub(crate) workers: u64,
    /// Requests of all workers per second.
    pub(crate) per_second: u64,
    /// For how many seconds requests come; afterwards the last ones settle.
    pub(crate) seconds: u64,
    /// Whether a request of a version fails, and after how many milliseconds.
    pub(crate) behaviour: fn(&mut Random, usize) -> (bool, u64),
    /// Mean milliseconds by which a report is late; zero: never.
    pub(crate) late_ms: f64,
    /// Probability that a worker dies at some time of the run, with all that it had not reported, and another takes its place.
    pub(crate) dies: f64,
    /// Whether outcomes count when they are seen, and exposures when they have ended: the mistake that settled cells avoid.
    pub(crate) by_completion: bool,
}

/// One life of a worker, and what the controller has of it.
#[derive(Default)]
struct Worker {
    recorder: Recorder,
    /// Ends to come: when, in which order begun, whether failed, after how long.
    in_flight: BinaryHeap<Reverse<(u64, u64, bool, u64)>>,
    exposures: BTreeMap<u64, Exposure>,
    begun: u64,
    /// Reports under way: when they arrive. In order, as a report is resent until acknowledged.
    reports: VecDeque<(u64, ReportedExperiment)>,
    /// Cells whose bin is not final yet.
    open: Vec<OpenCell>,
    dies_at: Option<u64>,
}

impl Fleet {
    /// Runs until `claimed` says so.
    pub(crate) fn run(self, experiment: &Experiment, seed: u64, claimed: impl Fn(&Assessment) -> bool) -> Outcome {
        let mut random = seeded(seed);
        let mut state = State::begin(experiment, 0);
        let mut plan = compiled(experiment, &state);
        let (mut observations, mut assessor) = (Observations::default(), Assessor::default());
        let mut workers: Vec<Worker> = (0..self.workers).map(|_| self.worker(&mut random)).collect();
        let mut served = 0;
        let end = self.seconds * 1_000;
        // Until the last bin is final and its report has come, at ten times the mean delay.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive delay")]
        let last = end + experiment.deadline_ms + 2 * experiment.bin_ms + (10.0 * self.late_ms) as u64;
        for now in (0..last).step_by(usize::try_from(TICK_MS).unwrap_or(1)) {
            for at in 0..if now < end { self.per_second } else { 0 } {
                let time = now + at * TICK_MS / self.per_second;
                let worker = random.random_range(0..workers.len());
                let Some(worker) = workers.get_mut(worker) else { continue };
                worker.finish_until(time);
                worker.begin(&plan, time, self.behaviour, &mut random);
                served += 1;
            }
            let then = now + TICK_MS;
            for worker in &mut workers {
                worker.finish_until(then);
                worker.report(then, self.late_ms, &mut random);
                worker.arrive(then, &plan, &mut observations, self.by_completion);
                if worker.dies_at.is_some_and(|at| at < then) {
                    // What was under way is lost with it; its unfinished bins never settle.
                    *worker = Worker::default();
                }
            }
            let assessment = assessor.assess(experiment, &state, &observations, Depth::Evidence);
            if claimed(&assessment) {
                return Outcome::Claimed(served);
            }
            state = remember(&state, &assessment);
            if is_due(&state, &assessment, then) {
                let weights = state.weights().to_vec();
                begin_epoch(&mut state, weights, &assessment, then);
                plan = compiled(experiment, &state);
            }
        }
        Outcome::Never
    }

    fn worker(&self, random: &mut Random) -> Worker {
        let dies_at = random.random_bool(self.dies).then(|| random.random_range(0..self.seconds * 1_000));
        Worker { dies_at, ..Worker::default() }
    }
}

/// What the filters know of the experiment.
fn compiled(experiment: &Experiment, state: &State) -> Rc<Matched> {
    let mut plan = Plan::empty("calibration");
    plan.experiments.push(planned(experiment, "calibration-0123456789abcdef", state));
    #[expect(clippy::indexing_slicing, reason = "it was put there a line above")]
    Rc::clone(&Compiled::new(&plan, &[]).experiments()[0])
}

impl Worker {
    fn begin(
        &mut self,
        plan: &Rc<Matched>,
        time: u64,
        behaviour: fn(&mut Random, usize) -> (bool, u64),
        random: &mut Random,
    ) {
        let Some(version) = plan.assigner.by_random(random.random()) else { return };
        let (failed, after) = behaviour(random, version);
        if let Some(exposure) = self.recorder.assign(plan, version, None, time) {
            self.begun += 1;
            self.exposures.insert(self.begun, exposure);
            self.in_flight.push(Reverse((time + after, self.begun, failed, after)));
        }
    }

    fn finish_until(&mut self, time: u64) {
        while let Some(Reverse((at, begun, failed, after))) = self.in_flight.peek().copied() {
            if at > time {
                return;
            }
            self.in_flight.pop();
            if let Some(exposure) = self.exposures.remove(&begun) {
                let outcome = if failed { Ended::Failed } else { Ended::Ok };
                let observation = Observation { outcome, age_nanos: after * 1_000_000, reward: 0.0 };
                self.recorder.complete(&exposure, observation);
            }
        }
    }

    fn report(&mut self, now: u64, late_ms: f64, random: &mut Random) {
        let late = if late_ms > 0.0 { Exp::new(1.0 / late_ms).map_or(0.0, |late| late.sample(random)) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive delay")]
        let at = (now + late as u64).max(self.reports.back().map_or(0, |(at, _)| *at));
        self.reports.extend(self.recorder.drain(now).experiments.into_iter().map(|report| (at, report)));
    }

    /// Takes the reports that have come, and settles what their watermarks have passed.
    fn arrive(&mut self, now: u64, plan: &Rc<Matched>, observations: &mut Observations, by_completion: bool) {
        while self.reports.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, report)) = self.reports.pop_front() else { return };
            for cell in report.cells {
                let Some(version) = plan.versions.iter().position(|version| *version.name == *cell.version) else {
                    continue;
                };
                if by_completion {
                    // As if an exposure began when its end is seen.
                    let ended = Counts { assigned: cell.counts.completed, ..cell.counts };
                    enter(observations, plan.versions.len(), cell.epoch, version, &ended);
                } else {
                    settling::add(&mut self.open, cell.bin, cell.epoch, version, &cell.counts);
                }
            }
            for OpenCell { epoch, version, counts, .. } in settling::settle(&mut self.open, report.watermark) {
                enter(observations, plan.versions.len(), epoch, version, &counts);
            }
        }
    }
}

/// Settled counts enter what decides.
fn enter(observations: &mut Observations, versions: usize, epoch: u32, version: usize, counts: &Counts) {
    let of_epoch = observations
        .epochs
        .entry(epoch)
        .or_insert_with(|| EpochCounts { settled: vec![Counts::default(); versions], unsettled: Vec::new() });
    if let Some(total) = of_epoch.settled.get_mut(version) {
        total.merge(counts);
    }
}
