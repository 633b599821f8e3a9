//! An experiment in virtual time: traffic from fixed seeds, counts that are unsettled first, a decision every two seconds.

use std::collections::VecDeque;
use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::command::{Command, Refusal, carry_out};
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::health::Health;
use weir_engine::spec::{
    Alpha, Approvals, Bound, Direction, Experiment, Guardrail, Limit, Objective, OnTimeout, Reward, RewardKind, Rule,
    Strategy, TOTAL_WEIGHT, Version,
};
use weir_engine::state::{EpochCounts, Observations, Phase, State};

/// Milliseconds between looks.
pub(crate) const LOOK_MS: u64 = 2_000;

/// SplitMix64: enough for simulation, and the same everywhere.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) * 2f64.powi(-53) < probability
    }
}

/// How a version behaves: (errors, conversion) per request.
pub(crate) type Truth = (f64, f64);

pub(crate) fn experiment(versions: usize, strategy: Strategy) -> Experiment {
    Experiment {
        name: "checkout".into(),
        service: "checkout".into(),
        matching: Match::default(),
        unit: Unit::Request,
        versions: (1..=versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: 0,
        strategy,
        objectives: Vec::new(),
        guardrails: Vec::new(),
        reward: None,
        alpha: Alpha { roll_back: 0.05, promotion: 0.05 },
        deadline_ms: 8_000,
        bin_ms: 2_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        override_header: None,
        min_exposures: 100,
        max_duration_ms: 7 * 86_400_000,
        on_timeout: OnTimeout::RollBack,
        approvals: Approvals::default(),
        priority: 0,
    }
}

pub(crate) fn canary(steps: &[u32]) -> Experiment {
    let mut experiment = experiment(2, Strategy::Canary { steps: steps.to_vec() });
    let bound = Bound::ErrorRate { ratio: 1.0, margin: 0.01 };
    experiment.guardrails.push(Guardrail { name: "no-more-errors".into(), bound });
    experiment
}

pub(crate) fn bandit(rule: Rule, floor: u32, max_step: u32) -> Experiment {
    rewarded(experiment(3, Strategy::Bandit { rule, floor, max_step, half_life_ms: Some(86_400_000) }))
}

pub(crate) fn rewarded(mut experiment: Experiment) -> Experiment {
    experiment.objectives.push(Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.02 } });
    experiment.reward = Some(Reward {
        source: RewardSource::ResponseHeader("x".into()),
        kind: RewardKind::Binary,
        direction: Direction::Maximize,
    });
    experiment
}

/// What a decision was made of, for replay.
#[derive(Clone)]
pub(crate) enum Entry {
    Look(Observations, Health, u64, Decision),
    Command(Command, Health, u64, Result<Decision, Refusal>),
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) experiment: Experiment,
    pub(crate) state: State,
    pub(crate) observations: Observations,
    pub(crate) assessor: Assessor,
    pub(crate) health: Health,
    pub(crate) now: u64,
    pub(crate) random: Random,
    /// Every decision but holds.
    pub(crate) decisions: Vec<Decision>,
    pub(crate) entries: Vec<Entry>,
    /// Whether entries are kept.
    pub(crate) records: bool,
    bins: VecDeque<(u64, u32, Vec<Counts>)>,
}

impl World {
    pub(crate) fn new(experiment: Experiment, seed: u64) -> Self {
        let state = State::begin(&experiment, 0);
        Self {
            experiment,
            state,
            observations: Observations::default(),
            assessor: Assessor::default(),
            health: Health::default(),
            now: 0,
            random: Random(seed),
            decisions: Vec::new(),
            entries: Vec::new(),
            records: false,
            bins: VecDeque::new(),
        }
    }

    /// Two seconds of traffic, which settle when deadline and bin have passed.
    pub(crate) fn serve(&mut self, truths: &[Truth], requests: u64) {
        self.now += LOOK_MS;
        let versions = self.experiment.versions.len();
        let settles = self.experiment.deadline_ms + self.experiment.bin_ms;
        if self.state.counts() {
            let epoch = self.state.epoch().unwrap();
            let mut counts = vec![Counts::default(); versions];
            for _ in 0..requests {
                let mut at = self.random.next() % u64::from(TOTAL_WEIGHT);
                let chosen = epoch.weights.iter().position(|weight| {
                    let here = at < u64::from(*weight);
                    at = at.wrapping_sub(u64::from(*weight));
                    here
                });
                let version = chosen.unwrap();
                let (errors, conversion) = truths[version];
                let counts = &mut counts[version];
                counts.assigned += 1;
                counts.completed += 1;
                if self.random.happens(errors) {
                    counts.failed += 1;
                } else {
                    counts.latency.record(10_000);
                    counts.rewarded += u64::from(self.random.happens(conversion));
                }
            }
            self.bins.push_back((self.now, epoch.epoch, counts));
        }
        while self.bins.front().is_some_and(|(at, ..)| at + settles <= self.now) {
            let (_, epoch, counts) = self.bins.pop_front().unwrap();
            let of_epoch = self.of_epoch(epoch);
            of_epoch.settled.iter_mut().zip(&counts).for_each(|(into, from)| into.merge(from));
        }
        for counts in self.observations.epochs.values_mut() {
            counts.unsettled.fill(Counts::default());
        }
        for (_, epoch, counts) in self.bins.clone() {
            let of_epoch = self.of_epoch(epoch);
            of_epoch.unsettled.iter_mut().zip(&counts).for_each(|(into, from)| into.merge(from));
        }
    }

    fn of_epoch(&mut self, epoch: u32) -> &mut EpochCounts {
        let versions = self.experiment.versions.len();
        self.observations.epochs.entry(epoch).or_insert_with(|| EpochCounts {
            settled: vec![Counts::default(); versions],
            unsettled: vec![Counts::default(); versions],
        })
    }

    pub(crate) fn assess(&mut self) -> Assessment {
        self.assessor.assess(&self.experiment, &self.state, &self.observations, Depth::Decision)
    }

    /// A look: decides and carries it out.
    pub(crate) fn look(&mut self) -> Decision {
        let assessment = self.assess();
        let decision = decide(&self.experiment, &self.state, &assessment, &self.health, self.now);
        self.state = decision.state.clone();
        if self.records {
            self.entries.push(Entry::Look(self.observations.clone(), self.health, self.now, decision.clone()));
        }
        if decision.action != Action::Hold {
            self.decisions.push(decision.clone());
        }
        decision
    }

    /// So many looks at so many requests each, or until it has concluded.
    pub(crate) fn go(&mut self, truths: &[Truth], requests: u64, looks: u64) -> &mut Self {
        for _ in 0..looks {
            self.serve(truths, requests);
            self.look();
            if self.state.is_concluded() {
                break;
            }
        }
        self
    }

    /// Goes on until a decision of this kind, at most so many looks.
    pub(crate) fn until(&mut self, action: Action, truths: &[Truth], requests: u64, looks: u64) -> Decision {
        for _ in 0..looks {
            self.serve(truths, requests);
            let decision = self.look();
            if decision.action == action {
                return decision;
            }
            assert!(!self.state.is_concluded(), "it ended first: {:?}", decision.reasons);
        }
        panic!("no {action:?} in {looks} looks: {:?}", self.decisions.last().map(|last| &last.reasons));
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Decision, Refusal> {
        let assessment = self.assess();
        let decision = carry_out(&self.experiment, &self.state, &command, &assessment, &self.health, self.now);
        if let Ok(decision) = &decision {
            self.state = decision.state.clone();
            self.decisions.push(decision.clone());
        }
        if self.records {
            self.entries.push(Entry::Command(command, self.health, self.now, decision.clone()));
        }
        decision
    }

    pub(crate) fn weights(&self) -> Vec<u32> {
        self.state.weights().to_vec()
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.state.phase, Phase::Paused { .. })
    }

    pub(crate) fn outcome(&self) -> Option<(weir_engine::state::Outcome, usize)> {
        match self.state.phase {
            Phase::Concluded { outcome, version, .. } => Some((outcome, version)),
            Phase::Pending | Phase::Running | Phase::Paused { .. } => None,
        }
    }
}
