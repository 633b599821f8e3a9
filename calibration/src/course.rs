//! A run's course: traffic, looks, epochs. The evidence is the engine's own.

use crate::case::Outcome;
use crate::traffic::{At, Traffic, seeded};
use std::collections::VecDeque;
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::decide::{begin_epoch, decide, is_due, remember};
use weir_engine::health::Health;
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, Observations, Outcome as Ending, Phase, State, Verdict};

/// Milliseconds between looks: what a decision interval is.
const LOOK_MS: u64 = 2_000;

/// How often and how long is looked, and by which weights requests are split.
#[derive(Clone, Copy)]
pub(crate) struct Course {
    /// Requests before the first look that counts; looked at every `before_step` (at least one, and evidence carries on).
    pub(crate) before: u64,
    pub(crate) before_step: u64,
    /// Requests from then on.
    pub(crate) horizon: u64,
    /// Requests between looks.
    pub(crate) step: u64,
    /// Weights by time; `None` keeps those that the experiment begins with.
    pub(crate) weights: Option<fn(At) -> Vec<u32>>,
}

impl Course {
    /// Every 200 requests to 20,000.
    pub(crate) const USUAL: Self = Self { before: 0, before_step: 1, horizon: 20_000, step: 200, weights: None };
}

/// Runs a course on evidence alone, whatever would be decided, until `claimed` says so.
pub(crate) fn on_evidence(
    experiment: &Experiment,
    course: Course,
    mut traffic: impl Traffic,
    seed: u64,
    claimed: impl Fn(&Assessment) -> bool,
) -> Outcome {
    let mut random = seeded(seed);
    let mut state = State::begin(experiment, 0);
    if let (Some(weights), Some(epoch)) = (course.weights, state.epochs.last_mut()) {
        epoch.weights = weights(0);
    }
    let mut observations = Observations::default();
    let mut assessor = Assessor::default();
    let (mut at, mut now) = (0, 0);
    while at < course.before + course.horizon {
        let requests = if at < course.before { course.before_step } else { course.step };
        serve(&mut traffic, &mut random, at, requests, &state, &mut observations);
        at += requests;
        now += LOOK_MS;
        let assessment = assessor.assess(experiment, &state, &observations, Depth::Evidence);
        if claimed(&assessment) {
            return Outcome::Claimed(at.saturating_sub(course.before));
        }
        state = remember(&state, &assessment);
        let weights = course.weights.map_or_else(|| state.weights().to_vec(), |weights| weights(at));
        if weights.as_slice() != state.weights() || is_due(&state, &assessment, now) {
            begin_epoch(&mut state, weights, &assessment, now);
        }
    }
    Outcome::Never
}

/// Runs a course in which the last so many looks' exposures have not settled, whatever would be decided, until the breaker would pause
/// a version. Outcomes are known at once: the worst for a version that fails fast.
pub(crate) fn on_doubt(
    experiment: &Experiment,
    course: Course,
    unsettled: usize,
    mut traffic: impl Traffic,
    seed: u64,
) -> Outcome {
    let mut random = seeded(seed);
    let mut state = State::begin(experiment, 0);
    let (mut observations, mut assessor) = (Observations::default(), Assessor::default());
    let mut open: VecDeque<(u32, Vec<Counts>)> = VecDeque::new();
    let (mut at, mut now) = (0, 0);
    while at < course.horizon {
        let Some(epoch) = state.epoch() else { break };
        let mut counts = vec![Counts::default(); epoch.weights.len()];
        traffic.serve(&mut random, at, course.step, epoch, &mut counts);
        open.push_back((epoch.epoch, counts));
        at += course.step;
        now += LOOK_MS;
        if open.len() > unsettled
            && let Some((epoch, counts)) = open.pop_front()
        {
            add(&mut of_epoch(&mut observations, epoch, counts.len()).settled, &counts);
        }
        for counts in observations.epochs.values_mut() {
            counts.unsettled.fill(Counts::default());
        }
        for (epoch, counts) in &open {
            add(&mut of_epoch(&mut observations, *epoch, counts.len()).unsettled, counts);
        }
        let assessment = assessor.assess(experiment, &state, &observations, Depth::Evidence);
        if assessment.versions.iter().any(|version| version.doubt.is_some_and(|doubt| doubt.trips())) {
            return Outcome::Claimed(at);
        }
        state = remember(&state, &assessment);
        if is_due(&state, &assessment, now) {
            let weights = state.weights().to_vec();
            begin_epoch(&mut state, weights, &assessment, now);
        }
    }
    Outcome::Never
}

fn of_epoch(observations: &mut Observations, epoch: u32, versions: usize) -> &mut EpochCounts {
    observations.epochs.entry(epoch).or_insert_with(|| EpochCounts {
        settled: vec![Counts::default(); versions],
        unsettled: vec![Counts::default(); versions],
    })
}

fn add(into: &mut [Counts], counts: &[Counts]) {
    into.iter_mut().zip(counts).for_each(|(into, counts)| into.merge(counts));
}

/// How an experiment that decides for itself went on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Decided {
    /// Who was rolled back, and after how many requests.
    pub(crate) rolled_back: Vec<(usize, u64)>,
    /// Who was promoted, and after how many requests.
    pub(crate) promoted: Option<(usize, u64)>,
}

impl Decided {
    /// Whether a version was rolled back.
    pub(crate) fn rolls_back(&self, version: usize) -> Outcome {
        let found = self.rolled_back.iter().find(|(who, _)| *who == version);
        found.map_or(Outcome::Never, |(_, at)| Outcome::Claimed(*at))
    }

    /// Whether a version was promoted.
    pub(crate) fn promotes(&self, version: usize) -> Outcome {
        self.promoted.filter(|(who, _)| *who == version).map_or(Outcome::Never, |(_, at)| Outcome::Claimed(at))
    }
}

/// Runs an experiment as the controller does, each decision carried out, until it concludes or the horizon comes.
pub(crate) fn on_decisions(
    experiment: &Experiment,
    course: Course,
    mut traffic: impl Traffic,
    seed: u64,
    depth: Depth,
) -> Decided {
    let mut random = seeded(seed);
    let mut state = State::begin(experiment, 0);
    let mut observations = Observations::default();
    let mut assessor = Assessor::default();
    let mut decided = Decided::default();
    let (mut at, mut now) = (0, 0);
    while at < course.horizon && state.is_running() {
        serve(&mut traffic, &mut random, at, course.step, &state, &mut observations);
        at += course.step;
        now += LOOK_MS;
        let assessment = assessor.assess(experiment, &state, &observations, depth);
        let before = state.out.clone();
        state = decide(experiment, &state, &assessment, &Health::default(), now).state;
        let fell = state.out.iter().zip(&before).enumerate().filter(|(_, (now, before))| **now && !**before);
        decided.rolled_back.extend(fell.map(|(version, _)| (version, at)));
        if let Phase::Concluded { outcome: Ending::Promoted, version, .. } = state.phase {
            decided.promoted = Some((version, at));
        }
    }
    decided
}

fn serve(
    traffic: &mut impl Traffic,
    random: &mut crate::traffic::Random,
    at: At,
    requests: u64,
    state: &State,
    observations: &mut Observations,
) {
    let Some(epoch) = state.epoch() else { return };
    let versions = epoch.weights.len();
    let counts = observations
        .epochs
        .entry(epoch.epoch)
        .or_insert_with(|| EpochCounts { settled: vec![Counts::default(); versions], unsettled: Vec::new() });
    traffic.serve(random, at, requests, epoch, &mut counts.settled);
}

/// The claim that a version breaks its limits: what rolls it back.
pub(crate) fn violated(version: usize) -> impl Fn(&Assessment) -> bool {
    move |assessment| {
        assessment.versions.get(version).is_some_and(|version| {
            version.log_e_roll_back >= version.roll_back_at
                || version.gates.iter().any(|gate| gate.verdict == Verdict::Violated)
        })
    }
}

/// The claim that a version meets one of its limits.
pub(crate) fn met(version: usize, gate: usize) -> impl Fn(&Assessment) -> bool {
    move |assessment| {
        let gate = assessment.versions.get(version).and_then(|version| version.gates.get(gate));
        gate.is_some_and(|gate| gate.verdict == Verdict::Met)
    }
}

/// The claim that a version is not the best.
pub(crate) fn beaten(version: usize) -> impl Fn(&Assessment) -> bool {
    move |assessment| assessment.versions.get(version).is_some_and(|version| !version.may_be_best)
}

/// The claim that a version wins.
pub(crate) fn wins(version: usize) -> impl Fn(&Assessment) -> bool {
    move |assessment| {
        let name = assessment.versions.get(version).map(|version| version.name.as_str());
        name.is_some() && assessment.winner.as_deref() == name
    }
}

/// The claim that exposures do not follow the weights.
pub(crate) fn mismatch(assessment: &Assessment) -> bool {
    assessment.sample_ratio.is_some_and(|test| test.broken)
}
