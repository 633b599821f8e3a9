//! Every kind of gate, from settled counts to a decision: no proxy and no server, seeds fixed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "a test may panic, also in its helpers; what is cast is positive"
)]

use std::collections::BTreeSet;
use weir_core::plan::{FailureRules, Match, Measure, RewardSource, Unit};
use weir_core::report::{Counts, UNIT_BUCKETS};
use weir_engine::assess::{Assessment, Assessor, Depth, SeenWhat, assess};
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::gates::GateKind;
use weir_engine::health::Health;
use weir_engine::metrics::MetricName;
use weir_engine::planning::planned;
use weir_engine::spec::{
    Alpha, Approvals, Bound, Direction, Experiment, Guardrail, Limit, Objective, OnTimeout, Reward, RewardKind, Rule,
    Strategy, Version,
};
use weir_engine::state::{Epoch, EpochCounts, FIRST_LATENCY_GRID, Observations, State, Verdict};

/// SplitMix64: enough for simulation, and the same everywhere.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53)
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Exponential, of the given mean.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }
}

fn experiment(versions: usize) -> Experiment {
    Experiment {
        name: "checkout".into(),
        service: "checkout".into(),
        matching: Match::default(),
        unit: Unit::Request,
        versions: (1..=versions).map(|n| Version { name: format!("v{n}"), headers: Vec::new() }).collect(),
        baseline: 0,
        strategy: Strategy::Ab { weights: vec![10_000 / versions as u32; versions] },
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
        max_duration_ms: 600_000_000,
        on_timeout: OnTimeout::default(),
        approvals: Approvals::default(),
        priority: 0,
    }
}

fn guardrail(name: &str, bound: Bound) -> Guardrail {
    Guardrail { name: name.into(), bound }
}

fn reward(kind: RewardKind) -> Option<Reward> {
    Some(Reward { source: RewardSource::ResponseHeader("x".into()), kind, direction: Direction::Maximize })
}

/// How a version behaves towards one request of a user: whether it fails, microseconds, reward.
type Behaviour = fn(&mut Random, usize) -> (bool, u64, f64);

/// Runs an experiment look by look until it concludes; `users` is how many there are, each with as many requests as its
/// number allows.
struct Run {
    experiment: Experiment,
    state: State,
    observations: Observations,
    assessor: Assessor,
}

impl Run {
    fn new(experiment: Experiment) -> Self {
        let state = State::begin(&experiment, 0);
        Self { experiment, state, observations: Observations::default(), assessor: Assessor::default() }
    }

    /// `looks` looks at `requests` more requests each.
    fn go(&mut self, behaviour: Behaviour, looks: u64, requests: u64, random: &mut Random) -> Decision {
        let mut last = None;
        for look in 1..=looks {
            self.serve(behaviour, requests, random);
            let decision = self.decide(look * 1_000);
            self.state = decision.state.clone();
            last = Some(decision);
            if !self.state.is_running() {
                break;
            }
        }
        last.unwrap()
    }

    fn serve(&mut self, behaviour: Behaviour, requests: u64, random: &mut Random) {
        let epoch = self.state.epoch().unwrap().clone();
        let versions = self.experiment.versions.len();
        let planned = planned(&self.experiment, "test-0123456789abcdef", &self.state);
        let cells = self
            .observations
            .epochs
            .entry(epoch.epoch)
            .or_insert_with(|| EpochCounts { settled: vec![Counts::default(); versions], unsettled: Vec::new() });
        let sticky = self.experiment.unit != Unit::Request;
        for _ in 0..requests {
            // A few users send much, most send little.
            let user = (random.uniform().powi(3) * 20_000.0) as u64;
            let at = if sticky { Random(user.wrapping_mul(0x1234_5678_9abc_def1)).uniform() } else { random.uniform() };
            let mut below = 0.0;
            let version = (0..versions)
                .find(|version| {
                    below += epoch.propensity(*version);
                    at < below
                })
                .unwrap_or(versions - 1);
            // A user's requests are alike: whether they fail or convert is theirs.
            let (failed, latency, earned) = if sticky {
                behaviour(&mut Random(user.wrapping_mul(0x9876_5432_1fed_cba9)), version)
            } else {
                behaviour(random, version)
            };
            let counts = &mut cells.settled[version];
            counts.assigned += 1;
            counts.completed += 1;
            if failed {
                counts.failed += 1;
            } else {
                counts.latency.record(latency);
                let seconds = latency as f64 * 1e-6;
                counts.latency_sum += seconds;
                counts.latency_sum_squares += seconds * seconds;
            }
            if earned != 0.0 {
                counts.rewarded += 1;
                counts.reward_sum += earned;
                counts.reward_sum_squares += earned * earned;
            }
            if sticky {
                let bucket = (Random(user).uniform() * f64::from(UNIT_BUCKETS)) as u16;
                let slow = planned.versions[version].slow_us.is_some_and(|slow| failed || latency >= slow);
                for (set, shown) in [
                    (&mut counts.failed_buckets, failed),
                    (&mut counts.slow_buckets, slow),
                    (&mut counts.rewarded_buckets, earned != 0.0),
                ] {
                    if let (true, Err(at)) = (shown, set.binary_search(&bucket)) {
                        set.insert(at, bucket);
                    }
                }
            }
        }
    }

    fn assess(&mut self) -> Assessment {
        self.assessor.assess(&self.experiment, &self.state, &self.observations, Depth::Complete)
    }

    fn decide(&mut self, now: u64) -> Decision {
        let assessment = self.assess();
        decide(&self.experiment, &self.state, &assessment, &Health::default(), now)
    }

    fn verdict(&mut self, version: usize, gate: usize) -> Verdict {
        self.assess().versions[version].gates[gate].verdict
    }
}

const HEALTHY: Behaviour = |random, _| (random.happens(0.003), 20_000 + random.exponential(60_000.0) as u64, 0.0);

#[test]
fn a_guardrail_on_errors_finds_a_candidate_that_fails_more_and_meets_an_equal_one() {
    for bound in [Bound::ErrorRate { ratio: 2.0, margin: 0.0 }, Bound::ErrorRate { ratio: 1.0, margin: 0.003 }] {
        let mut goals = experiment(2);
        goals.guardrails = vec![guardrail("errors", bound)];
        let worse: Behaviour = |random, version| {
            let (_, latency, _) = HEALTHY(random, version);
            (random.happens(if version == 1 { 0.015 } else { 0.003 }), latency, 0.0)
        };
        let mut run = Run::new(goals.clone());
        let decision = run.go(worse, 100, 500, &mut Random(1));
        assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
        let mut run = Run::new(goals);
        let decision = run.go(HEALTHY, 100, 1_000, &mut Random(2));
        assert_eq!(decision.action, Action::Promote, "{:?}", decision.reasons);
    }
}

#[test]
fn an_objective_on_latency_is_violated_by_a_slow_version_and_met_by_a_fast_one() {
    let mut goals = experiment(2);
    // The 99th percentile of 20 ms + Exp(60 ms) is 296 ms; of twice that mean 573 ms.
    goals.objectives =
        vec![Objective { name: "p99".into(), limit: Limit::Latency { quantile: 0.99, max_us: 400_000 } }];
    let mut run = Run::new(goals.clone());
    let decision = run.go(HEALTHY, 60, 1_000, &mut Random(3));
    assert_eq!(decision.action, Action::Promote, "{:?}", decision.reasons);
    let slow: Behaviour = |random, version| {
        (false, 20_000 + random.exponential(if version == 1 { 120_000.0 } else { 60_000.0 }) as u64, 0.0)
    };
    let mut run = Run::new(goals);
    let decision = run.go(slow, 60, 1_000, &mut Random(4));
    assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
    // Nothing failed: what is told is what the limit counts, e^(−380/120) = 4.2% of which 1% may be.
    let seen = run.assess().versions[1].seen.clone().expect("counts");
    assert_eq!((seen.what, seen.latest, seen.baseline), (SeenWhat::SlowerThan { us: 400_000 }, false, None));
    let share = seen.events as f64 / seen.exposures as f64;
    assert!((0.02..0.08).contains(&share), "{seen:?}");
    let told = format!("v2 breaks p99 ({:.2}% of ", 100.0 * share);
    let reason = &decision.reasons[0];
    assert!(reason.starts_with(&told) && reason.contains(" took longer than 400 ms or failed): "), "{reason}");
}

#[test]
fn what_is_told_of_a_version_that_was_healthy_for_long_is_what_was_seen_of_late() {
    for relative in [false, true] {
        let mut goals = experiment(2);
        if relative {
            goals.guardrails = vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })];
        } else {
            goals.objectives = vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.02 } }];
        }
        goals.strategy = Strategy::Ab { weights: vec![5_000, 5_000] };
        // So that it is not promoted meanwhile.
        goals.min_exposures = 10_000_000;
        let mut run = Run::new(goals);
        run.go(HEALTHY, 60, 1_000, &mut Random(11));
        let broken: Behaviour = |random, version| {
            let (failed, latency, _) = HEALTHY(random, version);
            (failed || (version == 1 && random.happens(0.3)), latency, 0.0)
        };
        let decision = run.go(broken, 60, 100, &mut Random(12));
        assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
        let version = run.assess().versions[1].clone();
        let on_average = version.settled.bad() as f64 / version.settled.assigned as f64;
        assert!(on_average < 0.02, "the average contradicts it: {on_average}");
        let seen = version.seen.expect("counts");
        assert!(seen.latest && seen.events as f64 / seen.exposures as f64 > 0.02, "{seen:?}");
        let reason = &decision.reasons[0];
        assert!(reason.contains(" of the latest ") && reason.contains("settled exposures were bad"), "{reason}");
        assert_eq!(seen.baseline.is_some(), relative);
        assert_eq!(reason.contains("; of v1 "), relative, "{reason}");
    }
}

#[test]
fn a_guardrail_on_latency_compares_at_the_baselines_own_quantiles() {
    let mut goals = experiment(2);
    goals.guardrails = vec![guardrail("latency", Bound::Latency { ratio: 1.5 })];
    let mut run = Run::new(goals.clone());
    assert_eq!(run.state.epoch().unwrap().latency_grid, FIRST_LATENCY_GRID);
    run.go(HEALTHY, 12, 1_000, &mut Random(5));
    let epoch = run.state.epoch().unwrap().clone();
    assert!(epoch.epoch > 1);
    // Quantiles of 20 ms + Exp(60 ms): 62, 158, 200 and 296 ms.
    for (found, expected) in epoch.latency_grid.iter().zip([61_600.0, 158_200.0, 199_700.0, 296_300.0]) {
        assert!((*found as f64 / expected - 1.0).abs() < 0.1, "{found} for {expected}");
    }
    let decision = run.go(HEALTHY, 100, 1_000, &mut Random(6));
    assert_eq!(decision.action, Action::Promote, "{:?}", decision.reasons);

    let slow: Behaviour = |random, version| {
        (false, (if version == 1 { 2 } else { 1 }) * (20_000 + random.exponential(60_000.0) as u64), 0.0)
    };
    let decision = Run::new(goals).go(slow, 100, 1_000, &mut Random(7));
    assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
}

#[test]
fn before_latencies_are_chosen_from_the_baseline_nothing_is_met() {
    let mut goals = experiment(2);
    goals.guardrails = vec![guardrail("latency", Bound::Latency { ratio: 1.5 })];
    let mut run = Run::new(goals);
    run.serve(HEALTHY, 50_000, &mut Random(8));
    let assessment = run.assess();
    let gate = &assessment.versions[1].gates[0];
    assert_eq!((gate.verdict, gate.log_e_met), (Verdict::NotEnoughEvidence, 0.0));
    assert!(gate.log_e_violated < 0.0);
}

#[test]
fn exposures_that_do_not_follow_the_weights_stop_promotions_but_not_objectives() {
    let mut goals = experiment(2);
    goals.objectives = vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.02 } }];
    let mut run = Run::new(goals.clone());
    run.serve(HEALTHY, 20_000, &mut Random(9));
    let healthy = run.assess();
    assert!(!healthy.sample_ratio.unwrap().broken);
    assert_eq!(healthy.winner.as_deref(), Some("v2"));

    // A tenth of v2's exposures never arrived.
    let lost = |run: &mut Run| {
        let cell = &mut run.observations.epochs.get_mut(&1).unwrap().settled[1];
        let part = cell.assigned / 10;
        (cell.assigned, cell.completed) = (cell.assigned - part, cell.completed - part);
    };
    lost(&mut run);
    let spoilt = run.assess();
    assert!(spoilt.sample_ratio.unwrap().broken);
    assert_eq!(spoilt.winner, None);
    assert!(spoilt.warnings.iter().any(|warning| warning.starts_with("exposures do not follow the weights")));
    let decision = run.decide(1_000);
    assert_ne!(decision.action, Action::Promote);
    assert!(decision.state.sample_ratio_broken);
    assert!(decision.reasons[0].starts_with("Exposures do not follow the weights"), "{:?}", decision.reasons);

    let broken: Behaviour = |random, version| (random.happens(if version == 1 { 0.2 } else { 0.003 }), 10_000, 0.0);
    let mut run = Run::new(goals);
    run.serve(broken, 20_000, &mut Random(10));
    lost(&mut run);
    assert_eq!(run.decide(1_000).action, Action::RollBack);
}

#[test]
fn guardrails_roll_back_nobody_from_the_look_that_finds_a_mismatch_on() {
    for bound in [Bound::ErrorRate { ratio: 1.5, margin: 0.0 }, Bound::ErrorRate { ratio: 1.0, margin: 0.003 }] {
        for with_objective in [false, true] {
            let mut goals = experiment(2);
            goals.guardrails = vec![Guardrail { name: "no-more-errors".into(), bound }];
            if with_objective {
                goals.objectives = vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.2 } }];
            }
            let mut run = Run::new(goals);
            let alike: Behaviour = |random, _| (random.happens(0.03), 10_000, 0.0);
            run.serve(alike, 40_000, &mut Random(11));
            // Most of what v1 got was never recorded, its failures before all: v2 looks far worse.
            let cell = &mut run.observations.epochs.get_mut(&1).unwrap().settled[0];
            (cell.assigned, cell.completed, cell.failed) = (cell.assigned / 2, cell.completed / 2, cell.failed / 20);
            let assessment = run.assess();
            assert!(assessment.sample_ratio.unwrap().broken);
            let gate = assessment.versions[1].gates.last().unwrap();
            assert_eq!(gate.verdict, Verdict::NotEnoughEvidence);
            assert!(gate.covered && gate.why.starts_with("Nothing can be compared"), "{}", gate.why);
            for _ in 0..3 {
                let decision = run.decide(1_000);
                assert!(!decision.state.is_out(1), "{:?}", decision.reasons);
                assert!(decision.state.sample_ratio_broken && decision.state.weights() == run.state.weights());
            }
        }
    }
}

#[test]
fn what_a_guardrail_had_does_not_help_an_objective_once_nothing_can_be_compared() {
    let mut goals = experiment(2);
    goals.objectives = vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.02 } }];
    goals.guardrails = vec![Guardrail { name: "relative".into(), bound: Bound::ErrorRate { ratio: 2.0, margin: 0.0 } }];
    let mut run = Run::new(goals);
    run.serve(HEALTHY, 20_000, &mut Random(12));
    let before = run.assess().versions[1].clone();
    run.state.sample_ratio_broken = true;
    let after = run.assess().versions[1].clone();
    assert_eq!(after.gates[0], before.gates[0]);
    // The mean over both, of which one is nothing now.
    assert!((after.log_e_roll_back - (before.gates[0].log_e_violated - 2_f64.ln())).abs() < 1e-9);
}

#[test]
fn the_best_of_three_amounts_wins_once_enough_was_earned() {
    let mut goals = experiment(3);
    goals.strategy = Strategy::Ab { weights: vec![3_334, 3_333, 3_333] };
    goals.reward = reward(RewardKind::Real);
    goals.alpha.promotion = 0.05;
    // A tenth buys; v2's baskets are larger, though no more often bought.
    let shop: Behaviour = |random, version| {
        let earned = if random.happens(0.1) { random.exponential([20.0, 30.0, 18.0][version]) } else { 0.0 };
        (false, 10_000, earned)
    };
    let mut run = Run::new(goals);
    run.serve(shop, 1_000, &mut Random(11));
    let early = run.assess();
    assert_eq!(early.versions[0].log_e_beaten, Some(0.0), "a tenth of 333 exposures is too few");
    assert_eq!(early.winner, None);
    let decision = run.go(shop, 60, 2_000, &mut Random(12));
    assert_eq!(decision.action, Action::Promote, "{:?}", decision.reasons);
    assert!(decision.reasons[0].starts_with("v2 is the best of the feasible"), "{:?}", decision.reasons);
    let assessment = run.assess();
    let metric = assessment.versions[1].metric(MetricName::RewardMean).unwrap();
    assert!((metric.observed - 3.0).abs() < 0.3, "{}", metric.observed);
    let with_v1 = &metric.comparisons[0];
    assert!(with_v1.difference_sequence.unwrap().low.unwrap() > 0.0);
    assert!(assessment.warnings.iter().any(|warning| warning.contains("asymptotic")));
}

fn sticky(mut experiment: Experiment) -> Experiment {
    experiment.unit = Unit::Cookie("uid".into());
    experiment
}

#[test]
fn sticky_users_who_fail_alike_are_counted_once_each() {
    let mut goals = sticky(experiment(2));
    goals.guardrails = vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })];
    // One user in a hundred always fails, whatever the version.
    let alike: Behaviour = |random, _| (random.happens(0.01), 10_000, 0.0);
    let mut run = Run::new(goals.clone());
    run.go(alike, 20, 2_000, &mut Random(13));
    let pair = &run.state.units[0];
    let failing: BTreeSet<u16> =
        run.observations.epochs.values().flat_map(|e| &e.settled).flat_map(|c| c.failed_buckets.clone()).collect();
    assert_eq!(pair.bad.as_ref().unwrap().closed(), failing.len() as u64);
    assert!(!run.state.out[1]);

    let worse: Behaviour = |random, version| (random.happens(if version == 1 { 0.08 } else { 0.01 }), 10_000, 0.0);
    let decision = Run::new(goals).go(worse, 20, 2_000, &mut Random(14));
    assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
}

#[test]
fn sticky_users_who_wait_and_who_convert_give_evidence_too() {
    let mut goals = sticky(experiment(2));
    goals.guardrails = vec![guardrail("latency", Bound::Latency { ratio: 1.5 })];
    goals.reward = reward(RewardKind::Binary);
    goals.strategy = Strategy::Ab { weights: vec![5_000, 5_000] };
    let shop: Behaviour = |random, version| {
        (false, 20_000 + random.exponential(60_000.0) as u64, f64::from(u8::from(random.happens([0.1, 0.2][version]))))
    };
    let mut run = Run::new(goals.clone());
    let decision = run.go(shop, 200, 1_000, &mut Random(15));
    assert_eq!(decision.action, Action::Promote, "{:?}", decision.reasons);
    assert!(decision.reasons[0].starts_with("v2 is the best of the feasible"), "{:?}", decision.reasons);

    let slow: Behaviour = |random, version| {
        (false, (if version == 1 { 3 } else { 1 }) * (20_000 + random.exponential(60_000.0) as u64), 0.0)
    };
    let decision = Run::new(goals).go(slow, 100, 1_000, &mut Random(16));
    assert_eq!(decision.action, Action::RollBack, "{:?}", decision.reasons);
}

#[test]
fn what_evidence_does_not_cover_says_so_and_never_fires() {
    let mut goals = sticky(experiment(2));
    goals.objectives = vec![
        Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.01 } },
        Objective { name: "p99".into(), limit: Limit::Latency { quantile: 0.99, max_us: 1_000 } },
    ];
    goals.guardrails = vec![
        guardrail("margin", Bound::ErrorRate { ratio: 1.0, margin: 0.001 }),
        guardrail("latency", Bound::Latency { ratio: 1.5 }),
        guardrail("latency too", Bound::Latency { ratio: 3.0 }),
    ];
    let broken: Behaviour = |random, _| (random.happens(0.5), 900_000, 0.0);
    let mut run = Run::new(goals);
    run.go(broken, 10, 2_000, &mut Random(17));
    let assessment = run.assess();
    let gates = &assessment.versions[1].gates;
    let covered: Vec<bool> = gates.iter().map(|gate| gate.covered).collect();
    assert_eq!(covered, [false, false, false, true, false]);
    for gate in gates.iter().filter(|gate| !gate.covered) {
        assert_eq!((gate.verdict, gate.log_e_violated), (Verdict::NotEnoughEvidence, 0.0));
        assert!(gate.why.starts_with("Not covered by evidence"), "{}", gate.why);
        assert_eq!(gate.card, None);
    }
    assert_eq!(gates[3].card.as_deref(), Some("F"));
    assert_eq!(gates[3].kind, GateKind::Guardrail);
    assert_eq!(assessment.sample_ratio, None);
}

#[test]
fn a_look_back_at_a_stored_state_closes_the_same_buckets() {
    let mut goals = sticky(experiment(2));
    goals.guardrails = vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })];
    let alike: Behaviour = |random, _| (random.happens(0.05), 10_000, 0.0);
    let mut run = Run::new(goals);
    run.go(alike, 5, 1_000, &mut Random(18));
    let json = serde_json::to_string(&run.state).unwrap();
    let stored: State = serde_json::from_str(&json).unwrap();
    assert_eq!(stored, run.state);
    run.serve(alike, 1_000, &mut Random(19));
    let before = decide(
        &run.experiment,
        &run.state,
        &assess(&run.experiment, &run.state, &run.observations),
        &Health::default(),
        9_000,
    );
    let after = decide(
        &run.experiment,
        &stored,
        &assess(&run.experiment, &stored, &run.observations),
        &Health::default(),
        9_000,
    );
    assert_eq!(before, after);
}

#[test]
fn remembering_old_epochs_changes_not_a_bit_even_when_they_change() {
    let mut goals = experiment(3);
    goals.strategy = Strategy::Bandit { rule: Rule::Thompson, floor: 500, max_step: 2_000, half_life_ms: None };
    goals.objectives = vec![Objective { name: "errors".into(), limit: Limit::ErrorRate { max: 0.5 } }];
    goals.guardrails = vec![
        guardrail("errors more", Bound::ErrorRate { ratio: 3.0, margin: 0.0 }),
        guardrail("latency", Bound::Latency { ratio: 3.0 }),
    ];
    goals.reward = reward(RewardKind::Binary);
    goals.min_exposures = u64::MAX;
    let shop: Behaviour = |random, _| {
        (random.happens(0.01), 20_000 + random.exponential(9_000.0) as u64, f64::from(u8::from(random.happens(0.1))))
    };
    let mut run = Run::new(goals);
    let mut random = Random(20);
    for look in 0..40_u64 {
        run.serve(shop, 400, &mut random);
        if look % 7 == 6 {
            // A late report of an epoch long gone.
            let first = *run.observations.epochs.keys().next().unwrap();
            let cell = &mut run.observations.epochs.get_mut(&first).unwrap().settled[1];
            (cell.assigned, cell.completed, cell.failed) = (cell.assigned + 1, cell.completed + 1, cell.failed + 1);
        }
        let (remembered, afresh) = (run.assess(), assess(&run.experiment, &run.state, &run.observations));
        assert_eq!(remembered, afresh, "look {look}");
        run.state = decide(&run.experiment, &run.state, &remembered, &Health::default(), look * 1_000).state;
    }
    assert!(run.state.epochs.len() > 12, "{} epochs", run.state.epochs.len());
}

#[test]
fn the_filters_are_told_what_is_slow_only_where_users_are_the_unit() {
    let mut goals = experiment(2);
    goals.guardrails = vec![guardrail("latency", Bound::Latency { ratio: 1.25 })];
    let slow = |experiment: &Experiment| {
        let mut state = State::begin(experiment, 0);
        let epoch = Epoch { epoch: 2, latency_grid: vec![10_000, 20_000, 40_001, 80_000], ..state.epochs[0].clone() };
        state.epochs.push(epoch);
        let plan = planned(experiment, "test-0123456789abcdef", &state);
        plan.versions.iter().map(|version| version.slow_us).collect::<Vec<_>>()
    };
    assert_eq!(slow(&goals), [None, None]);
    // The candidate's is rounded up: a bound never helps the claim that it is slower.
    assert_eq!(slow(&sticky(goals)), [Some(40_001), Some(50_002)]);
}

#[test]
fn a_latched_verdict_stays() {
    let mut goals = experiment(2);
    goals.guardrails = vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })];
    let mut run = Run::new(goals);
    run.state.latched[0][1] = Verdict::Met;
    run.serve(HEALTHY, 10, &mut Random(21));
    assert_eq!(run.verdict(1, 0), Verdict::Met);
    let why = run.assess().versions[1].gates[0].why.clone();
    assert!(why.contains("a verdict stays"), "{why}");
}

#[test]
fn a_pair_of_which_one_is_out_is_not_told_to_stand_still() {
    let mut goals = sticky(experiment(3));
    goals.strategy = Strategy::Ab { weights: vec![3_334, 3_333, 3_333] };
    goals.guardrails = vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })];
    goals.reward = reward(RewardKind::Binary);
    let worse: Behaviour = |random, version| {
        let fails = if version == 1 { 0.2 } else { 0.02 };
        (random.happens(fails), 10_000, f64::from(u8::from(random.happens(0.1))))
    };
    let mut run = Run::new(goals);
    while run.state.epochs.len() == 1 {
        run.go(worse, 1, 2_000, &mut Random(run.observations.epochs.len() as u64 + 5));
    }
    assert!(run.state.is_out(1));
    run.serve(worse, 2_000, &mut Random(6));
    let assessment = run.assess();
    let still = |warning: &&String| warning.contains("stands still");
    assert_eq!(assessment.warnings.iter().find(still), None);
    // Of a pair that is in, it is told, and what to do is not what is done.
    run.state.out[1] = false;
    let told = run.assess().warnings;
    assert!(told.iter().filter(still).all(|warning| !warning.contains("strategy ab")), "{told:?}");
    assert!(told.iter().any(|warning| warning.contains("stands still")), "{told:?}");
}
