//! Who decides. Weir is the engine of production; the others are **our reconstructions** of what neighbours do, written from their
//! public descriptions, to be compared with; none of their code is here.

mod flagger_like;
mod iter8_like;
mod uniform;
mod weir;
mod z_test;

pub use flagger_like::FlaggerLike;
pub use iter8_like::Iter8Like;
pub use uniform::Uniform;
pub use weir::Weir;
pub use z_test::PeekingZTest;

use weir_core::report::Counts;
use weir_engine::decide::{Action, Decision};
use weir_engine::health::Health;
use weir_engine::spec::{Experiment, TOTAL_WEIGHT};
use weir_engine::state::{Epoch, Observations, Outcome, Phase, State};

/// What a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Virtual milliseconds.
    pub now: u64,
    /// Settled and open counts, per epoch.
    pub observations: &'a Observations,
    /// Whether any count changed since the last look.
    pub stirred: bool,
    /// Whether any settled since.
    pub settled: bool,
    /// Per version, all that was reported as it came: what a metrics server shows. Empty unless the policy asks for it.
    pub seen: &'a [Counts],
    /// What is known of telemetry.
    pub health: Health,
}

/// Who decides.
pub trait Policy {
    /// As tables name it.
    fn name(&self) -> String;

    /// Whether it looks at outcomes as they end ([`View::seen`]).
    fn sees_outcomes_as_they_end(&self) -> bool {
        false
    }

    /// The state to begin with.
    fn begin(&mut self, experiment: &Experiment) -> State {
        State::begin(experiment, 0)
    }

    /// What to do at a look.
    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision;
}

/// The policies that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Production's engine.
    Weir,
    /// See [`FlaggerLike::by_default`].
    FlaggerLike,
    /// See [`FlaggerLike::as_in_examples`].
    FlaggerLikeExamples,
    /// See [`PeekingZTest`].
    PeekingZTest,
    /// See [`Uniform`].
    Uniform,
    /// See [`Iter8Like::absolute`].
    Iter8Like,
    /// See [`Iter8Like::relative`].
    Iter8LikeRelative,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Weir,
        Self::FlaggerLike,
        Self::FlaggerLikeExamples,
        Self::PeekingZTest,
        Self::Uniform,
        Self::Iter8Like,
        Self::Iter8LikeRelative,
    ];

    /// A policy for one run.
    #[must_use]
    pub fn make(self, seed: u64) -> Box<dyn Policy> {
        match self {
            Self::Weir => Box::<Weir>::default(),
            Self::FlaggerLike => Box::new(FlaggerLike::by_default()),
            Self::FlaggerLikeExamples => Box::new(FlaggerLike::as_in_examples()),
            Self::PeekingZTest => Box::<PeekingZTest>::default(),
            Self::Uniform => Box::new(Uniform),
            Self::Iter8Like => Box::new(Iter8Like::absolute()),
            Self::Iter8LikeRelative => Box::new(Iter8Like::relative(seed)),
        }
    }

    /// As a command line names it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::FlaggerLike => "flagger-like",
            Self::FlaggerLikeExamples => "flagger-like-examples",
            Self::PeekingZTest => "peeking-z-test",
            Self::Uniform => "uniform",
            Self::Iter8Like => "iter8-like",
            Self::Iter8LikeRelative => "iter8-like-relative",
        }
    }

    /// The policy of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.word() == word)
    }
}

/// A state with these weights from the beginning.
fn begin_with(experiment: &Experiment, weights: Vec<u32>) -> State {
    let mut state = State::begin(experiment, 0);
    if let Some(epoch) = state.epochs.last_mut() {
        epoch.weights = weights;
    }
    state
}

fn hold(state: &State, now: u64) -> Decision {
    Decision { at: now, action: Action::Hold, reasons: Vec::new(), state: state.clone() }
}

fn shift(state: &State, weights: Vec<u32>, now: u64, reason: String) -> Decision {
    let mut state = state.clone();
    if let Some(last) = state.epoch().cloned() {
        state.epochs.push(Epoch { epoch: last.epoch + 1, began_at: now, weights, ..last });
    }
    Decision { at: now, action: Action::Shift, reasons: vec![reason], state }
}

fn promote(state: &State, version: usize, now: u64, reason: String) -> Decision {
    let mut state = state.clone();
    state.phase = Phase::Concluded { outcome: Outcome::Promoted, version, at: now };
    Decision { at: now, action: Action::Promote, reasons: vec![reason], state }
}

/// Nobody won: the traffic goes to the baseline, and no version is said to be bad.
fn give_up(experiment: &Experiment, state: &State, now: u64, reason: String) -> Decision {
    let mut state = state.clone();
    state.phase = Phase::Concluded { outcome: Outcome::Inconclusive, version: experiment.baseline, at: now };
    Decision { at: now, action: Action::Conclude, reasons: vec![reason], state }
}

/// Everything goes back to the baseline.
fn roll_back(experiment: &Experiment, state: &State, now: u64, reason: String) -> Decision {
    let mut state = state.clone();
    for (version, out) in state.out.iter_mut().enumerate() {
        *out |= version != experiment.baseline;
    }
    state.phase = Phase::Concluded { outcome: Outcome::RolledBack, version: experiment.baseline, at: now };
    Decision { at: now, action: Action::RollBack, reasons: vec![reason], state }
}

/// What a metrics server would say of a version: how many ended, and how many of these failed.
fn ended(seen: &[Counts], version: usize) -> (u64, u64) {
    seen.get(version).map_or((0, 0), |counts| (counts.completed, counts.failed))
}

/// Mean duration of what was served, in milliseconds; `None` of nothing.
fn mean_ms(counts: &Counts) -> Option<f64> {
    let served = counts.completed.saturating_sub(counts.failed);
    #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
    (served > 0).then(|| 1_000.0 * counts.latency_sum / served as f64)
}

/// The share of what ended that failed; `None` of nothing.
fn error_rate(counts: &Counts) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
    (counts.completed > 0).then(|| counts.failed as f64 / counts.completed as f64)
}

/// The one candidate of a canary: reconstructions know two versions.
fn candidate(experiment: &Experiment) -> usize {
    (0..experiment.versions.len()).find(|version| *version != experiment.baseline).unwrap_or(0)
}

/// The canary gets so much, the baseline the rest.
fn canary_weights(experiment: &Experiment, of_canary: u32) -> Vec<u32> {
    let canary = candidate(experiment);
    let of = |version: usize| match version {
        version if version == canary => of_canary,
        version if version == experiment.baseline => TOTAL_WEIGHT - of_canary,
        _ => 0,
    };
    (0..experiment.versions.len()).map(of).collect()
}

/// A look every so often.
#[derive(Debug)]
struct Cadence {
    interval_ms: u64,
    looks: u32,
}

impl Cadence {
    const fn every(interval_ms: u64) -> Self {
        Self { interval_ms, looks: 0 }
    }

    /// Which look it is, from 1; `None` until the next one is due.
    fn look(&mut self, now: u64) -> Option<u32> {
        if now < u64::from(self.looks + 1) * self.interval_ms {
            return None;
        }
        self.looks += 1;
        Some(self.looks)
    }
}
