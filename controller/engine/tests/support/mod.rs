//! What several test binaries share: experiments, simulated traffic with fixed seeds, exact binomial bounds.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::cells::{Cell, Edge, Moments, Span, Tally, UnitBuckets};
use weir_engine::decide::{Decision, decide};
use weir_engine::health::Health;
use weir_engine::spec::{
    Alpha, Approvals, Bound, Direction, Experiment, Guardrail, Limit, Objective, OnTimeout, Reward, RewardKind,
    Strategy, Version,
};
use weir_engine::state::{EpochCounts, Observations, Outcome, Phase, State};

/// SplitMix64 (Steele, Lea & Flood 2014): the same numbers everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on \[0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-53)
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// The largest count that Binomial(`runs`, `p`) reaches with probability at least `rarity`: more false claims in `runs`
/// simulations refute "at most `p`", but for one seed in 1/`rarity`. Exact.
pub fn most_allowed(runs: u32, p: f64, rarity: f64) -> u32 {
    let mut mass = (1.0 - p).powi(i32::try_from(runs).unwrap());
    let (mut above, mut k) = (1.0 - mass, 0);
    while above >= rarity && k < runs {
        mass *= f64::from(runs - k) / f64::from(k + 1) * p / (1.0 - p);
        above -= mass;
        k += 1;
    }
    k
}

/// An A/B test in equal parts without limits or reward.
pub fn experiment(versions: usize) -> Experiment {
    let equal = 10_000 / u32::try_from(versions).unwrap();
    let mut weights = vec![equal; versions];
    weights[0] = 10_000 - equal * (u32::try_from(versions).unwrap() - 1);
    Experiment {
        name: "checkout".into(),
        service: "checkout".into(),
        matching: Match::default(),
        unit: Unit::Request,
        versions: (1..=versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: 0,
        strategy: Strategy::Ab { weights },
        objectives: Vec::new(),
        guardrails: Vec::new(),
        reward: None,
        alpha: Alpha { roll_back: 0.05, promotion: 0.05 },
        deadline_ms: 2_000,
        bin_ms: 1_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        override_header: None,
        min_exposures: 100,
        max_duration_ms: 86_400_000,
        on_timeout: OnTimeout::RollBack,
        approvals: Approvals::default(),
        priority: 0,
    }
}

/// A canary of one candidate with the default ladder.
pub fn canary() -> Experiment {
    Experiment { strategy: Strategy::Canary { steps: vec![500, 1_000, 2_500, 5_000] }, ..experiment(2) }
}

pub fn error_rate(max: f64) -> Objective {
    Objective { name: "errors".into(), limit: Limit::ErrorRate { max } }
}

pub fn latency(quantile: f64, max_us: u64) -> Objective {
    Objective { name: "latency".into(), limit: Limit::Latency { quantile, max_us } }
}

pub fn guardrail(name: &str, bound: Bound) -> Guardrail {
    Guardrail { name: name.into(), bound }
}

pub fn reward(kind: RewardKind, direction: Direction) -> Option<Reward> {
    Some(Reward { source: RewardSource::ResponseHeader("x".into()), kind, direction })
}

/// What one exposure shows: whether it failed, its latency in microseconds, its reward.
pub type Shows = (bool, u64, f64);

/// Outcomes one by one, exact: no histogram rounds them. The counts of a file that gives raw values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Raw {
    pub tally: Tally,
    pub latencies: Vec<u64>,
    pub sum: Moments,
    pub reward: Moments,
    pub contradictory: bool,
    pub buckets: [Vec<u16>; 3],
}

impl Raw {
    pub fn of(shows: impl IntoIterator<Item = Shows>) -> Self {
        let mut cell = Self::default();
        for (failed, latency, reward) in shows {
            cell.tally.assigned += 1;
            cell.tally.completed += 1;
            cell.tally.failed += u64::from(failed);
            if !failed {
                cell.latencies.push(latency);
                let seconds = latency as f64 * 1e-6;
                cell.sum.merge(&Moments { count: 1, sum: seconds, squares: seconds * seconds });
            }
            cell.tally.rewarded += u64::from(reward != 0.0);
            cell.reward.merge(&Moments { count: 1, sum: reward, squares: reward * reward });
        }
        cell.latencies.sort_unstable();
        cell
    }
}

impl Cell for Raw {
    fn tally(&self) -> Tally {
        self.tally
    }

    fn is_contradictory(&self) -> bool {
        self.contradictory
    }

    fn latencies(&self) -> impl Iterator<Item = Span> {
        self.latencies.iter().map(|at| Span { lower: *at, upper: *at, holds: Edge::Lower, count: 1 })
    }

    fn abort_ages(&self) -> impl Iterator<Item = Span> {
        std::iter::empty()
    }

    fn latency(&self) -> Moments {
        self.sum
    }

    fn reward(&self) -> Moments {
        self.reward
    }

    fn unit_buckets(&self) -> UnitBuckets<'_> {
        let [bad, slow, rewarded] = &self.buckets;
        UnitBuckets { bad, slow, rewarded }
    }
}

/// An experiment on simulated traffic in which everything settles at once; each look decides.
pub struct Run {
    pub experiment: Experiment,
    pub state: State,
    pub observations: Observations,
    pub assessor: Assessor,
    pub now: u64,
}

impl Run {
    pub fn new(experiment: Experiment) -> Self {
        let state = State::begin(&experiment, 0);
        Self { experiment, state, observations: Observations::default(), assessor: Assessor::default(), now: 0 }
    }

    /// Serves requests whose failures have these probabilities, per version.
    pub fn serve(&mut self, requests: u64, errors: &[f64], random: &mut Random) {
        let versions = self.experiment.versions.len();
        let epoch = self.state.epoch().unwrap();
        let cells = self
            .observations
            .epochs
            .entry(epoch.epoch)
            .or_insert_with(|| EpochCounts { settled: vec![Counts::default(); versions], unsettled: Vec::new() });
        for _ in 0..requests {
            let mut at = random.bits() % 10_000;
            let version = epoch.weights.iter().position(|weight| {
                let here = at < u64::from(*weight);
                at = at.wrapping_sub(u64::from(*weight));
                here
            });
            let version = version.unwrap();
            let counts = &mut cells.settled[version];
            counts.assigned += 1;
            counts.completed += 1;
            counts.failed += u64::from(random.happens(errors[version]));
        }
    }

    pub fn assess(&mut self, depth: Depth) -> Assessment {
        self.assessor.assess(&self.experiment, &self.state, &self.observations, depth)
    }

    /// A look `ms` later, at what is there; the state moves on.
    pub fn look(&mut self, ms: u64) -> Decision {
        self.now += ms;
        let assessment = self.assess(Depth::Decision);
        let decision = decide(&self.experiment, &self.state, &assessment, &Health::default(), self.now);
        self.state = decision.state.clone();
        decision
    }

    /// Serves and looks `looks` times, or until it concludes.
    pub fn go(&mut self, looks: u32, ms: u64, requests: u64, errors: &[f64], random: &mut Random) {
        for _ in 0..looks {
            if !self.state.is_running() {
                return;
            }
            self.serve(requests, errors, random);
            let _ = self.look(ms);
        }
    }

    pub fn outcome(&self) -> Option<(Outcome, usize)> {
        match self.state.phase {
            Phase::Pending | Phase::Running | Phase::Paused { .. } => None,
            Phase::Concluded { outcome, version, .. } => Some((outcome, version)),
        }
    }
}
