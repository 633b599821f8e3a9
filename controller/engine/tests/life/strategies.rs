//! What each strategy does with traffic.

use crate::world::{World, bandit, canary, experiment, rewarded};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::decide::Action;
use weir_engine::spec::{Rule, Strategy};
use weir_engine::state::Outcome;

const GOOD: [(f64, f64); 2] = [(0.003, 0.0), (0.003, 0.0)];

#[test]
fn a_good_canary_climbs_every_rung_by_evidence_and_is_promoted() {
    let mut world = World::new(canary(&[500, 2_500, 5_000]), 1);
    world.go(&GOOD, 200, 1_000);
    assert_eq!(world.outcome(), Some((Outcome::Promoted, 1)));
    let rungs: Vec<u32> =
        world.decisions.iter().filter(|d| d.action == Action::Shift).map(|d| d.state.weights()[1]).collect();
    assert_eq!(rungs, [2_500, 5_000]);
}

#[test]
fn a_canary_without_traffic_stays_where_it_is() {
    let mut world = World::new(canary(&[500, 5_000]), 1);
    world.go(&GOOD, 0, 200);
    assert_eq!(world.weights(), [9_500, 500]);
    assert!(world.decisions.is_empty(), "{:?}", world.decisions);
}

#[test]
fn a_rung_is_left_with_its_part_of_a_promotions_evidence() {
    let mut world = World::new(canary(&[500, 2_500, 5_000]), 3);
    let mut rung = 0;
    for _ in 0..1_000 {
        world.serve(&GOOD, 200);
        let gate = world.assess().versions[1].gates[0].clone();
        let exposures = world.assess().versions[1].settled_at_these_weights;
        if world.look().action != Action::Shift {
            continue;
        }
        let part = [0.1, 0.5][rung];
        assert!(gate.log_e_met >= part * gate.met_at && exposures >= 100, "rung {rung}: {gate:?}");
        rung += 1;
        if rung == 2 {
            return;
        }
    }
    panic!("it never climbed to the last rung");
}

#[test]
fn a_canary_that_looks_bad_is_held_before_it_is_rolled_back() {
    let mut world = World::new(canary(&[1_000, 5_000]), 5);
    world.go(&[(0.003, 0.0), (0.06, 0.0)], 100, 2_000);
    assert_eq!(world.outcome(), Some((Outcome::RolledBack, 0)));
    assert!(world.decisions.iter().all(|decision| decision.action != Action::Shift), "{:?}", world.decisions);
}

#[test]
fn several_canaries_climb_together_and_the_best_is_promoted() {
    let mut goals = rewarded(experiment(3, Strategy::Canary { steps: vec![1_000, 3_000] }));
    goals.objectives[0].limit = weir_engine::spec::Limit::ErrorRate { max: 0.05 };
    let mut world = World::new(goals, 8);
    world.go(&[(0.005, 0.1), (0.005, 0.1), (0.005, 0.2)], 200, 2_000);
    assert_eq!(world.outcome(), Some((Outcome::Promoted, 2)));
    assert!(world.decisions.iter().any(|decision| decision.state.weights() == [4_000, 3_000, 3_000]));
}

#[test]
fn a_fixed_split_stays_until_evidence_ends_it() {
    let mut world = World::new(rewarded(experiment(2, Strategy::Ab { weights: vec![7_000, 3_000] })), 4);
    world.go(&[(0.005, 0.1), (0.005, 0.16)], 100, 2_000);
    assert_eq!(world.outcome(), Some((Outcome::Promoted, 1)));
    for decision in &world.decisions {
        assert!(matches!(decision.action, Action::Renew | Action::Promote), "{decision:?}");
        assert_eq!(decision.state.weights(), [7_000, 3_000]);
    }
}

#[test]
fn thompson_and_top_two_follow_the_best_and_uniform_does_not() {
    let truths = [(0.005, 0.10), (0.005, 0.10), (0.005, 0.14)];
    let after = |rule| {
        let mut world = World::new(bandit(rule, 500, 2_000), 7);
        world.go(&truths, 100, 60);
        assert_eq!(world.outcome(), None);
        world.weights()
    };
    let (thompson, top_two, uniform) = (after(Rule::Thompson), after(Rule::TopTwo), after(Rule::Uniform));
    assert!(thompson[2] > 6_000, "{thompson:?}");
    assert!(top_two[2] > 4_000 && top_two[2] < thompson[2], "{top_two:?} {thompson:?}");
    assert!(uniform.iter().all(|weight| (3_300..=3_400).contains(weight)), "{uniform:?}");
}

#[test]
fn a_violated_version_has_no_traffic_at_once_under_every_rule() {
    for rule in [Rule::Thompson, Rule::TopTwo, Rule::Uniform] {
        let mut world = World::new(bandit(rule, 500, 2_000), 9);
        let fell = world.until(Action::RollBack, &[(0.005, 0.1), (0.15, 0.3), (0.005, 0.1)], 50, 200);
        assert_eq!(fell.state.weights()[1], 0, "{rule:?}: {:?}", fell.reasons);
        world.go(&[(0.005, 0.1), (0.15, 0.3), (0.005, 0.1)], 50, 50);
        assert_eq!(world.weights()[1], 0);
    }
}

#[test]
fn beliefs_that_steer_fade() {
    // v3 was best for half an hour, then v2 is: with a half-life of a minute traffic follows.
    let run = |half_life_ms| {
        let mut goals = bandit(Rule::Thompson, 500, 2_000);
        goals.strategy = Strategy::Bandit { rule: Rule::Thompson, floor: 500, max_step: 2_000, half_life_ms };
        // Nobody is to win meanwhile.
        goals.alpha.promotion = 1e-300;
        let mut world = World::new(goals, 11);
        world.go(&[(0.0, 0.1), (0.0, 0.1), (0.0, 0.2)], 100, 900);
        let before = world.weights();
        world.go(&[(0.0, 0.1), (0.0, 0.2), (0.0, 0.1)], 100, 300);
        (before, world.weights())
    };
    let (before, after) = run(Some(60_000));
    assert!(before[2] > 8_000 && after[1] > 8_000, "{before:?} {after:?}");
    let (before, after) = run(None);
    assert!(before[2] > 8_000 && after[2] > 8_000, "without fading the old winner keeps its traffic: {after:?}");
}

#[test]
fn evidence_is_the_same_whatever_fades() {
    let mut worlds = [Some(60_000), None].map(|half_life_ms| {
        let mut goals = bandit(Rule::Uniform, 500, 2_000);
        goals.strategy = Strategy::Bandit { rule: Rule::Uniform, floor: 500, max_step: 2_000, half_life_ms };
        let mut world = World::new(goals, 12);
        world.go(&[(0.005, 0.1), (0.01, 0.1), (0.0, 0.11)], 100, 200);
        world
    });
    let [faded, whole] = worlds.each_mut().map(World::assess);
    assert_ne!(faded.versions[2].probability_best, whole.versions[2].probability_best);
    for (faded, whole) in faded.versions.iter().zip(&whole.versions) {
        assert_eq!((&faded.gates, faded.log_e_beaten), (&whole.gates, whole.log_e_beaten));
        assert_eq!(faded.probability_feasible, whole.probability_feasible, "what people are shown does not fade");
    }
}
