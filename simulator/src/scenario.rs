//! What is simulated: an experiment, the traffic, how versions and users behave, and what goes wrong. Plain data; read from a text
//! by `read`, its courses over time computed by `course`.

pub mod course;
mod dated;
mod read;
mod read_faults;
mod read_parts;
#[cfg(test)]
mod tests;

use weir_engine::decide::Action;
use weir_engine::spec::Experiment;

pub use course::{Change, Drift, Leak};
pub use read::{read, read_with};
pub use read_parts::per_second;

/// Milliseconds of one step of virtual time: reports are made as often, as in production by default.
pub const TICK_MS: u64 = 1_000;
/// How long it takes, unless a scenario says otherwise.
pub const DEFAULT_DURATION_MS: u64 = 24 * 3_600_000;
/// Requests per second, unless a scenario says otherwise.
pub const DEFAULT_RATE: f64 = 10.0;
/// Users, where they are the unit, unless a scenario says otherwise.
pub const DEFAULT_USERS: u32 = 10_000;
/// Workers, unless a scenario says otherwise.
pub const DEFAULT_WORKERS: u32 = 4;
/// Most requests per second at any moment, cycle and bursts included.
pub const MOST_RATE: f64 = 1e6;
/// Most requests that one run may be expected to have: half an hour of a core.
pub const MOST_REQUESTS: f64 = 1e10;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The experiment; its name is the scenario's.
    pub experiment: Experiment,
    /// How many requests come.
    pub traffic: Traffic,
    /// How each version behaves, in the experiment's order.
    pub versions: Vec<Behaviour>,
    /// Drift that all versions share.
    pub drift: Vec<Drift>,
    /// Who sends the requests; `None`: each request is somebody else's.
    pub users: Option<Users>,
    /// Workers over which requests are spread evenly.
    pub workers: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// Virtual milliseconds, if it does not conclude before.
    pub duration_ms: u64,
    /// Virtual milliseconds between looks.
    pub interval_ms: u64,
    /// Seeds everything.
    pub seed: u64,
    /// What its author says must come out.
    pub expect: Option<Expect>,
}

/// How many requests come over time.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Requests per second, on average; they come as a Poisson process.
    pub per_second: f64,
    /// A daily (or other) cycle.
    pub cycle: Option<Drift>,
    /// Stretches in which it is a factor more or less.
    pub bursts: Vec<Change>,
}

/// How a version behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Probability that a request fails.
    pub errors: f64,
    /// Latency of answers.
    pub latency: Vec<LogNormal>,
    /// Latency of failures; `None`: that of answers.
    pub error_latency: Option<Vec<LogNormal>>,
    /// Probability that an answer is rewarded.
    pub conversion: f64,
    /// How large a reward is: median and spread; `None`: one.
    pub amount: Option<LogNormal>,
    /// Cycles of its own.
    pub drift: Vec<Drift>,
    /// Incidents.
    pub incidents: Vec<Incident>,
    /// A slow leak.
    pub leak: Option<Leak>,
    /// Whether its author calls it bad; `None`: if it breaks a limit of the experiment at any time.
    pub bad: Option<bool>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            errors: 0.0,
            latency: vec![LogNormal { weight: 1.0, median: 80.0, sigma: 0.5 }],
            error_latency: None,
            conversion: 0.0,
            amount: None,
            drift: Vec::new(),
            incidents: Vec::new(),
            leak: None,
            bad: None,
        }
    }
}

/// One part of a mixture of log-normal distributions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogNormal {
    /// Its share of the mixture, relative to the others'.
    pub weight: f64,
    /// Milliseconds for a latency, whatever unit a reward has.
    pub median: f64,
    /// Standard deviation of the logarithm; zero: always the median.
    pub sigma: f64,
}

/// A stretch in which a version behaves otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incident {
    /// When; its factor is that of errors.
    pub errors: Change,
    /// Factor on latency.
    pub latency: f64,
    /// Factor on conversion.
    pub conversion: f64,
}

/// Who sends the requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Users {
    /// How many there are.
    pub count: u32,
    /// Exponent of the Pareto distribution of their activity, the smaller the heavier; `None`: all alike.
    pub tail: Option<f64>,
    /// Kinds of users who are unlike the rest.
    pub kinds: Vec<Kind>,
}

/// A kind of users.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kind {
    /// Share of all users.
    pub share: f64,
    /// Factor on errors.
    pub errors: f64,
    /// Factor on latency.
    pub latency: f64,
    /// Factor on conversion.
    pub conversion: f64,
}

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Probability that a report, or its acknowledgement, is lost on its way; it is sent again a second later.
    pub lost_reports: f64,
    /// Workers cut off from the controller: no plan, no reports. After the staleness limit they send everybody to the baseline.
    pub partitions: Vec<Outage>,
    /// Workers whose reports do not arrive although they get plans: dead telemetry.
    pub silences: Vec<Outage>,
    /// Workers die with all that they had not reported, and others take their place.
    pub deaths: Vec<Death>,
    /// The controller is away.
    pub controller: Vec<Outage>,
    /// Workers whose clock was wrong when they began, and stays so: a worker's clock never steps.
    pub clocks: Vec<WrongClock>,
    /// Somebody sets the controller's time of day.
    pub clock_steps: Vec<ClockStep>,
    /// Requests that get their version and are not recorded: something loses or moves exposures of one version.
    pub unrecorded: Vec<Unrecorded>,
}

/// A share of the workers, with a clock of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrongClock {
    /// Of the workers, the first so many; rounded up.
    pub share: f64,
    /// Milliseconds by which it is ahead; negative: behind.
    pub ahead_ms: i64,
}

/// A step of the controller's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Virtual milliseconds.
    pub at_ms: u64,
    /// Milliseconds forward; negative: back.
    pub forward_ms: i64,
}

/// A share of the exposures of one version, for a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unrecorded {
    /// Virtual milliseconds.
    pub from_ms: u64,
    /// Virtual milliseconds.
    pub until_ms: u64,
    /// Whose.
    pub version: usize,
    /// Each with this probability.
    pub share: f64,
}

impl Faults {
    /// By how many milliseconds a worker's clock is ahead; negative: behind.
    #[must_use]
    pub fn clock_of(&self, worker: u32, workers: u32) -> i64 {
        let wrong = self.clocks.iter().find(|clock| worker < part(clock.share, workers));
        wrong.map_or(0, |clock| clock.ahead_ms)
    }

    /// By how many milliseconds the controller's clock is ahead at a time; negative: behind.
    #[must_use]
    pub fn controllers_clock(&self, now_ms: u64) -> i64 {
        self.clock_steps.iter().filter(|step| step.at_ms <= now_ms).map(|step| step.forward_ms).sum()
    }

    /// The share of exposures that are not recorded at a time, by version; empty: all are.
    #[must_use]
    pub fn unrecorded_at(&self, now_ms: u64, versions: usize) -> Vec<f64> {
        let on = |lost: &&Unrecorded| (lost.from_ms..lost.until_ms).contains(&now_ms);
        if !self.unrecorded.iter().any(|lost| on(&lost)) {
            return Vec::new();
        }
        let mut recorded = vec![1.0; versions];
        for lost in self.unrecorded.iter().filter(on) {
            if let Some(recorded) = recorded.get_mut(lost.version) {
                *recorded *= 1.0 - lost.share;
            }
        }
        recorded.into_iter().map(|recorded: f64| 1.0 - recorded).collect()
    }
}

/// A share of the workers, for a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// Virtual milliseconds.
    pub from_ms: u64,
    /// Virtual milliseconds.
    pub until_ms: u64,
    /// Of the workers, the first so many; rounded up.
    pub share: f64,
}

/// Workers that die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Death {
    /// Virtual milliseconds.
    pub at_ms: u64,
    /// Of the workers, the first so many; rounded up.
    pub share: f64,
}

impl Outage {
    /// Whether it is on for a worker of so many.
    #[must_use]
    pub fn hits(&self, now_ms: u64, worker: u32, workers: u32) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms) && worker < part(self.share, workers)
    }
}

/// A share of workers, rounded up.
#[must_use]
pub fn part(share: f64, workers: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to workers")]
    let part = (share * f64::from(workers)).ceil() as u32;
    part
}

/// What must come out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// How it ends; `None`: no matter.
    pub outcome: Option<crate::run::Ending>,
    /// On which version.
    pub version: Option<usize>,
    /// Versions that must be rolled back (all of them, and no other).
    pub rolled_back: Option<Vec<usize>>,
    /// It must have ended by then.
    pub by_ms: Option<u64>,
    /// It must not have ended before.
    pub not_before_ms: Option<u64>,
    /// A stretch in which no weight may move.
    pub holds: Vec<(u64, u64)>,
    /// Words that the reasons of some decision must have.
    pub says: Vec<String>,
    /// What must have been done at some time.
    pub does: Vec<Action>,
    /// What must never have been done but after a person was asked: each time anew.
    pub asks: Vec<Action>,
    /// What some versions must have got.
    pub got: Vec<Got>,
    /// Of many runs, the least share that must come out so.
    pub share: f64,
}

/// What a version must have got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Got {
    /// Which.
    pub version: usize,
    /// Of all requests, at least this share.
    pub least: f64,
    /// Of all requests, at most this share.
    pub most: f64,
    /// At most so many requests.
    pub requests: u64,
    /// At least so many settled exposures.
    pub settled: u64,
}
