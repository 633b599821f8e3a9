//! The engine on simulated traffic: virtual time, seeds fixed, no proxy and no server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, also in its helpers")]

use std::collections::BTreeMap;
// Under Wasm the same tests run in Node.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, Assessor, Depth, assess};
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::health::Health;
use weir_engine::spec::{
    Alpha, Approvals, Direction, Experiment, Limit, Objective, OnTimeout, Reward, RewardKind, Rule, Strategy,
    TOTAL_WEIGHT, Version,
};
use weir_engine::state::{EpochCounts, Observations, Outcome, Phase, State, Verdict};

/// SplitMix64: enough for simulation, and the same everywhere.
struct Random(u64);

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

/// How a version behaves.
#[derive(Clone, Copy)]
struct Truth {
    errors: f64,
    conversion: f64,
}

fn experiment(versions: usize, strategy: Strategy) -> Experiment {
    Experiment {
        name: "checkout".into(),
        service: "checkout".into(),
        matching: Match::default(),
        unit: Unit::Request,
        versions: (1..=versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: 0,
        strategy,
        objectives: vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.02 } }],
        guardrails: Vec::new(),
        reward: Some(Reward {
            source: RewardSource::ResponseHeader("x".into()),
            kind: RewardKind::Binary,
            direction: Direction::Maximize,
        }),
        alpha: Alpha { roll_back: 0.05, promotion: 0.05 },
        deadline_ms: 2_000,
        bin_ms: 1_000,
        measure: Measure::End,
        failure: FailureRules::default(),
        override_header: None,
        min_exposures: 100,
        max_duration_ms: 600_000,
        on_timeout: OnTimeout::default(),
        approvals: Approvals::default(),
        priority: 0,
    }
}

fn bandit() -> Strategy {
    Strategy::Bandit { rule: Rule::Thompson, floor: 2_000, max_step: 2_000, half_life_ms: None }
}

fn canary(mut experiment: Experiment) -> Experiment {
    experiment.strategy = Strategy::Canary { steps: vec![500, 1_000, 2_500, 5_000] };
    experiment.reward = None;
    experiment
}

/// Runs an experiment at `rate` requests per second, deciding every second on what has settled, until it concludes or
/// `seconds` have passed. Everything settles three seconds after its second.
struct Run {
    experiment: Experiment,
    state: State,
    observations: Observations,
    decisions: Vec<Decision>,
    assessor: Assessor,
}

impl Run {
    fn new(experiment: Experiment) -> Self {
        let state = State::begin(&experiment, 0);
        Self {
            experiment,
            state,
            observations: Observations::default(),
            decisions: Vec::new(),
            assessor: Assessor::default(),
        }
    }

    fn go(mut self, truths: &[Truth], rate: u64, seconds: u64, random: &mut Random) -> Self {
        let mut bins: Vec<(u32, Vec<Counts>)> = Vec::new();
        for second in 1..=seconds {
            let epoch = self.state.epoch().unwrap().clone();
            let mut counts = vec![Counts::default(); truths.len()];
            for _ in 0..rate {
                let mut at = random.next() % u64::from(TOTAL_WEIGHT);
                let version = epoch
                    .weights
                    .iter()
                    .position(|weight| {
                        let here = at < u64::from(*weight);
                        at = at.wrapping_sub(u64::from(*weight));
                        here
                    })
                    .unwrap();
                let (truth, counts) = (truths[version], &mut counts[version]);
                counts.assigned += 1;
                counts.completed += 1;
                if random.happens(truth.errors) {
                    counts.failed += 1;
                } else {
                    counts.latency.record(10_000);
                }
                counts.rewarded += u64::from(random.happens(truth.conversion));
            }
            bins.push((epoch.epoch, counts));
            if let Some((epoch, counts)) = bins.len().checked_sub(4).map(|at| bins[at].clone()) {
                let cell = self.observations.epochs.entry(epoch).or_insert_with(|| EpochCounts {
                    settled: vec![Counts::default(); truths.len()],
                    unsettled: Vec::new(),
                });
                cell.settled.iter_mut().zip(&counts).for_each(|(into, from)| into.merge(from));
            }
            let decision = self.decide(second * 1_000);
            self.state = decision.state.clone();
            if decision.action != Action::Hold {
                self.decisions.push(decision);
            }
            if !self.state.is_running() {
                break;
            }
        }
        self
    }

    fn assess(&self) -> Assessment {
        assess(&self.experiment, &self.state, &self.observations)
    }

    fn decide(&mut self, now: u64) -> Decision {
        let (experiment, state) = (&self.experiment, &self.state);
        let assessment = self.assessor.assess(experiment, state, &self.observations, Depth::Decision);
        decide(experiment, state, &assessment, &Health::default(), now)
    }

    fn outcome(&self) -> Option<(Outcome, usize, u64)> {
        match self.state.phase {
            Phase::Pending | Phase::Running | Phase::Paused { .. } => None,
            Phase::Concluded { outcome, version, at } => Some((outcome, version, at)),
        }
    }
}

const DEMO: [Truth; 3] = [
    Truth { errors: 0.005, conversion: 0.10 },
    Truth { errors: 0.005, conversion: 0.14 },
    Truth { errors: 0.06, conversion: 0.18 },
];

#[test]
fn the_best_version_that_keeps_its_objectives_wins_the_demo() {
    let mut times = Vec::new();
    let mut wrong = 0;
    for seed in 0..40 {
        let run = Run::new(experiment(3, bandit())).go(&DEMO, 200, 120, &mut Random(seed));
        match run.outcome() {
            Some((Outcome::Promoted, 1, at)) => times.push(at / 1_000),
            Some(_) => wrong += 1,
            None => {}
        }
    }
    times.sort_unstable();
    // 5% of promotions may be wrong at most; 40 runs with more than 7 wrong has probability 1e-3 at that rate.
    assert!(wrong <= 7, "{wrong} of 40 wrong");
    assert!(times.len() >= 36, "only {} of 40 decided within two minutes", times.len());
    assert!(times[times.len() / 2] <= 60, "median of {} s", times[times.len() / 2]);
}

#[cfg(not(target_arch = "wasm32"))] // The longest, and it adds nothing to the golden numbers under Wasm.
#[test]
fn identical_versions_are_promoted_or_rolled_back_no_more_often_than_promised() {
    let truth = Truth { errors: 0.02, conversion: 0.10 };
    let (mut promoted, mut out) = (0, 0);
    let runs = 60;
    for seed in 0..runs {
        let run = Run::new(experiment(3, bandit())).go(&[truth; 3], 200, 60, &mut Random(seed));
        promoted += u32::from(matches!(run.outcome(), Some((Outcome::Promoted, _, _))));
        out += run.state.out.iter().map(|out| u32::from(*out)).sum::<u32>();
    }
    // Exact binomial: P(more than 9 of 60 at 5%) < 1e-3; P(more than 19 of 180 at 5%) < 1e-3.
    assert!(promoted <= 9, "{promoted} of {runs} promoted");
    assert!(out <= 19, "{out} of {} versions out at the boundary of their objective", runs * 3);
}

#[test]
fn the_baseline_can_win() {
    let truths = [Truth { errors: 0.005, conversion: 0.2 }, Truth { errors: 0.005, conversion: 0.1 }];
    let run = Run::new(experiment(2, bandit())).go(&truths, 200, 300, &mut Random(7));
    assert!(matches!(run.outcome(), Some((Outcome::Promoted, 0, _))), "{:?}", run.outcome());
}

#[test]
fn less_is_better_where_the_document_says_so() {
    let mut minimize = experiment(2, bandit());
    minimize.reward.as_mut().unwrap().direction = Direction::Minimize;
    let truths = [Truth { errors: 0.005, conversion: 0.2 }, Truth { errors: 0.005, conversion: 0.1 }];
    let run = Run::new(minimize).go(&truths, 200, 300, &mut Random(7));
    assert!(matches!(run.outcome(), Some((Outcome::Promoted, 1, _))), "{:?}", run.outcome());
}

#[test]
fn no_data_holds_and_says_so() {
    let mut run = Run::new(experiment(3, bandit()));
    let decision = run.decide(30_000);
    assert_eq!(decision.action, Action::Hold);
    assert_eq!(decision.reasons, ["Nothing has settled yet: no data means hold."]);
    assert_eq!(decision.state, run.state);
}

#[test]
fn a_version_that_breaks_its_objective_loses_its_traffic_at_once_and_for_good() {
    let run = Run::new(experiment(3, bandit())).go(&DEMO, 200, 60, &mut Random(3));
    let at = run.decisions.iter().position(|decision| decision.action == Action::RollBack).unwrap();
    assert!(run.decisions[at].reasons[0].starts_with("v3 breaks errors ("), "{:?}", run.decisions[at].reasons);
    for decision in &run.decisions[at..] {
        assert_eq!(decision.state.weights()[2], 0);
        assert_eq!(decision.state.latched[0][2], Verdict::Violated);
    }
}

#[test]
fn a_healthy_canary_climbs_its_ladder_on_evidence_and_is_promoted() {
    let truths = [Truth { errors: 0.003, conversion: 0.0 }; 2];
    let run = Run::new(canary(experiment(2, bandit()))).go(&truths, 200, 600, &mut Random(11));
    assert!(matches!(run.outcome(), Some((Outcome::Promoted, 1, _))), "{:?}", run.outcome());
    let weights: Vec<u32> =
        run.decisions.iter().filter(|d| d.action == Action::Shift).map(|d| d.state.weights()[1]).collect();
    assert_eq!(weights, [1_000, 2_500, 5_000]);
}

#[test]
fn a_canary_stands_its_least_exposures_of_its_own_on_every_rung_also_over_epochs() {
    let mut patient = canary(experiment(2, bandit()));
    // At 5% of the traffic that is 12,000 requests, more than one epoch.
    patient.min_exposures = 600;
    let truths = [Truth { errors: 0.0, conversion: 0.0 }; 2];
    let run = Run::new(patient).go(&truths, 400, 200, &mut Random(13));
    let settled_at = |decision: &Decision| -> u64 {
        let epochs = &decision.state.epochs;
        let before = &epochs[epochs.len() - 2];
        let on_rung = epochs.iter().filter(|epoch| epoch.weights == before.weights);
        on_rung.filter_map(|epoch| run.observations.epochs.get(&epoch.epoch)).map(|c| c.settled[1].assigned).sum()
    };
    let climbs: Vec<&Decision> = run.decisions.iter().filter(|decision| decision.action == Action::Shift).collect();
    assert!(run.decisions.iter().any(|decision| decision.action == Action::Renew), "an epoch ends on a rung");
    assert_eq!(climbs.len(), 3);
    for climb in climbs {
        assert!(settled_at(climb) >= 600, "{} at {} ms", settled_at(climb), climb.at);
    }
}

#[test]
fn a_broken_canary_is_rolled_back_and_the_experiment_ends_on_the_baseline() {
    let truths = [Truth { errors: 0.003, conversion: 0.0 }, Truth { errors: 0.2, conversion: 0.0 }];
    let run = Run::new(canary(experiment(2, bandit()))).go(&truths, 200, 600, &mut Random(11));
    assert!(matches!(run.outcome(), Some((Outcome::RolledBack, 0, _))), "{:?}", run.outcome());
}

#[test]
fn time_runs_out_inconclusive_and_on_the_baseline() {
    let mut short = experiment(2, bandit());
    short.max_duration_ms = 20_000;
    let run = Run::new(short).go(&[Truth { errors: 0.01, conversion: 0.1 }; 2], 2, 60, &mut Random(5));
    assert_eq!(run.outcome(), Some((Outcome::Inconclusive, 0, 20_000)));
}

#[test]
fn the_order_of_versions_changes_nothing() {
    let run = Run::new(experiment(3, bandit())).go(&DEMO, 200, 12, &mut Random(1));
    let forward = run.assess();
    let mut experiment = run.experiment.clone();
    experiment.versions.reverse();
    experiment.baseline = 2;
    let mut state = run.state.clone();
    state.epochs.iter_mut().for_each(|epoch| epoch.weights.reverse());
    state.out.reverse();
    state.latched.iter_mut().for_each(|row| row.reverse());
    let mut observations = run.observations.clone();
    observations.epochs.values_mut().for_each(|epoch| epoch.settled.reverse());
    let mut backward = assess(&experiment, &state, &observations);
    backward.versions.reverse();
    assert_eq!(forward.winner, backward.winner);
    for (a, b) in forward.versions.iter().zip(&backward.versions) {
        assert_eq!((&a.name, a.may_be_best, &a.settled), (&b.name, b.may_be_best, &b.settled));
        let close = |x: Option<f64>, y: Option<f64>| (x.unwrap() - y.unwrap()).abs() < 1e-6;
        assert!(close(a.probability_best_and_feasible, b.probability_best_and_feasible));
        assert!(close(a.log_e_beaten, b.log_e_beaten));
    }
}

#[test]
fn counts_that_contradict_each_other_are_left_out_whole_and_named() {
    let mut run = Run::new(experiment(2, bandit()));
    let broken = Counts { assigned: 10, completed: 20, failed: 20, ..Counts::default() };
    run.observations.epochs =
        BTreeMap::from([(1, EpochCounts { settled: vec![Counts::default(), broken], unsettled: Vec::new() })]);
    let assessment = run.assess();
    assert!(assessment.warnings[0].starts_with("epoch 1 of checkout is left out"), "{:?}", assessment.warnings);
    assert_eq!(assessment.versions[1].gates[0].log_e_violated, 0.0);
    assert_eq!(run.decide(1_000).action, Action::Hold);
}

#[test]
fn sticky_units_get_no_verdict_from_evidence_per_request() {
    let mut sticky = experiment(3, bandit());
    sticky.unit = Unit::Cookie("uid".into());
    let run = Run::new(sticky).go(&DEMO, 200, 60, &mut Random(3));
    let assessment = run.assess();
    assert!(assessment.warnings.iter().any(|warning| warning.starts_with("users are the unit here")));
    assert_eq!(assessment.winner, None);
    assert!(run.state.out.iter().all(|out| !out));
}

#[test]
fn a_decision_replays_bit_for_bit_from_what_the_ledger_stores() {
    let mut run = Run::new(experiment(3, bandit())).go(&DEMO, 200, 25, &mut Random(9));
    let through = |value: &serde_json::Value| serde_json::to_string(value).unwrap();
    let stored = (
        through(&serde_json::to_value(&run.experiment).unwrap()),
        through(&serde_json::to_value(&run.state).unwrap()),
        through(&serde_json::to_value(&run.observations).unwrap()),
    );
    let experiment: Experiment = serde_json::from_str(&stored.0).unwrap();
    let state: State = serde_json::from_str(&stored.1).unwrap();
    let observations: Observations = serde_json::from_str(&stored.2).unwrap();
    let again = assess(&experiment, &state, &observations);
    assert_eq!(again, run.assess());
    assert_eq!(decide(&experiment, &state, &again, &Health::default(), 26_000), run.decide(26_000));
}
