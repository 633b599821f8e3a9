//! Telemetry loss is not evidence: it holds the weights and says so, and neither advances nor rolls back.

use crate::world::{World, bandit, canary};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::decide::Action;
use weir_engine::health::Health;
use weir_engine::spec::{OnTimeout, Rule};
use weir_engine::state::{Cause, Outcome, Phase};

const GOOD: [(f64, f64); 2] = [(0.003, 0.0), (0.003, 0.0)];

fn faults() -> [(&'static str, Health); 6] {
    let live = Health { live: 10, ..Health::default() };
    [
        ("fell silent", Health { silent: 2, ..live }),
        ("no proxy has reported for 45 s", Health { newest_report_ms: Some(45_000), ..live }),
        ("stale plan", Health { stale: 1, ..live }),
        ("older plan", Health { behind: 5, ..live }),
        ("were not recorded", Health { dropped: 3, ..live }),
        ("clock stepped by 3600 s", Health { clock_step_ms: 3_600_000, ..live }),
    ]
}

#[test]
fn every_fault_holds_a_canary_that_would_climb_and_a_canary_that_would_be_promoted() {
    for (sentence, health) in faults() {
        for steps in [&[500, 5_000][..], &[5_000][..]] {
            let mut world = World::new(canary(steps), 21);
            world.health = health;
            world.go(&GOOD, 500, 150);
            assert!(world.decisions.iter().all(|d| d.action == Action::Renew), "{sentence}: {:?}", world.decisions);
            let decision = world.look();
            assert!(decision.reasons[0].contains(sentence), "{sentence}: {:?}", decision.reasons);
            world.health = Health::default();
            let moved = world.look();
            let expected = if steps.len() == 1 { Action::Promote } else { Action::Shift };
            assert_eq!(moved.action, expected, "{sentence}: {:?}", moved.reasons);
        }
    }
}

#[test]
fn every_fault_holds_a_bandit_and_the_breaker() {
    let usual = [(0.005, 0.1), (0.005, 0.1), (0.005, 0.3)];
    for (sentence, health) in faults() {
        let mut world = World::new(bandit(Rule::Thompson, 500, 2_000), 22);
        world.go(&usual, 20, 20);
        let weights = world.weights();
        world.health = health;
        world.go(&usual, 20, 60);
        world.serve(&[(0.005, 0.1), (0.9, 0.1), (0.005, 0.1)], 300);
        world.look();
        assert_eq!(world.weights(), weights, "{sentence}");
    }
}

#[test]
fn a_violation_that_has_settled_still_rolls_back() {
    for (sentence, health) in faults() {
        let mut world = World::new(canary(&[5_000]), 23);
        world.health = health;
        world.go(&[(0.003, 0.0), (0.2, 0.0)], 200, 40);
        assert_eq!(world.outcome(), Some((Outcome::RolledBack, 0)), "{sentence}");
    }
}

#[test]
fn a_clock_that_steps_ends_nothing_and_one_that_goes_back_holds() {
    let mut world = World::new(canary(&[500, 5_000]), 24);
    world.go(&GOOD, 20, 20);
    let before = world.now;
    world.now += world.experiment.max_duration_ms;
    world.health.clock_step_ms = world.experiment.max_duration_ms;
    assert_eq!(world.look().action, Action::Hold);
    // Set right again, to before the epoch in force began.
    world.health.clock_step_ms = 0;
    world.now = before;
    world.state.epochs.last_mut().unwrap().began_at = before + 60_000;
    let decision = world.look();
    assert_eq!(decision.action, Action::Hold);
    assert!(decision.reasons[0].contains("the clock went back"), "{:?}", decision.reasons);
}

#[test]
fn a_duration_that_is_over_concludes_nothing_from_lost_telemetry_but_pauses_and_says_so_once() {
    for (sentence, health) in faults() {
        for on_timeout in [OnTimeout::RollBack, OnTimeout::Pause] {
            let mut goals = canary(&[500, 5_000]);
            (goals.max_duration_ms, goals.on_timeout) = (60_000, on_timeout);
            let mut world = World::new(goals, 25);
            world.go(&GOOD, 20, 10);
            let weights = world.weights();
            world.health = health;
            world.go(&GOOD, 20, 60);
            assert_eq!((world.outcome(), world.weights()), (None, weights), "{sentence}");
            // A clock that stepped measures no duration.
            assert_eq!(world.is_paused(), health.clock_step_ms == 0, "{sentence}");
            if !world.is_paused() {
                continue;
            }
            assert!(matches!(world.state.phase, Phase::Paused { cause: Cause::Timeout, .. }));
            let paused = world.decisions.iter().find(|decision| decision.action == Action::Pause).unwrap();
            assert!(paused.reasons[0].contains(sentence), "{:?}", paused.reasons);
            assert!(paused.reasons[1].starts_with("The longest duration has passed meanwhile: it pauses"));
            assert!(!paused.reasons.join(" ").contains("all traffic goes"), "{:?}", paused.reasons);
        }
    }
}

#[test]
fn a_duration_that_is_over_concludes_nothing_where_exposures_do_not_follow_the_weights() {
    let mut goals = canary(&[500, 5_000]);
    goals.max_duration_ms = 60_000;
    let mut world = World::new(goals, 27);
    world.state.sample_ratio_broken = true;
    world.go(&GOOD, 20, 60);
    assert_eq!((world.is_paused(), world.weights()), (true, vec![9_500, 500]));
}

#[test]
fn what_waited_for_approval_waits_no_longer_where_exposures_do_not_follow_the_weights() {
    let mut goals = canary(&[5_000]);
    goals.approvals.promotion = true;
    let mut world = World::new(goals, 29);
    world.until(Action::Ask, &GOOD, 500, 300);
    world.state.sample_ratio_broken = true;
    world.go(&GOOD, 500, 1);
    assert_eq!(world.state.awaited, None);
}

#[test]
fn time_does_not_run_out_on_a_promotion_that_waits_also_without_telemetry() {
    let mut goals = canary(&[5_000]);
    (goals.approvals.promotion, goals.max_duration_ms) = (true, 3_600_000);
    let mut world = World::new(goals, 28);
    world.until(Action::Ask, &GOOD, 500, 300);
    world.health.newest_report_ms = Some(60_000);
    world.go(&GOOD, 0, 2_000);
    assert!(world.state.is_running() && world.state.awaited.is_some());
}

#[test]
fn exposures_that_do_not_follow_the_weights_hold_them() {
    let mut world = World::new(canary(&[2_500, 5_000]), 26);
    // Half of the candidate's exposures are lost before they are counted.
    for _ in 0..100 {
        world.serve(&GOOD, 300);
        let epoch = world.state.epoch().unwrap().epoch;
        if let Some(counts) = world.observations.epochs.get_mut(&epoch) {
            let settled = &mut counts.settled[1];
            settled.assigned /= 2;
            settled.completed = settled.assigned;
            settled.failed = 0;
        }
        world.look();
    }
    assert!(world.state.sample_ratio_broken);
    assert_eq!(world.outcome(), None);
    let at = world.decisions.iter().position(|decision| decision.state.sample_ratio_broken).unwrap_or(0);
    assert!(world.decisions[at..].iter().all(|decision| decision.action == Action::Renew), "{:?}", world.decisions);
}

#[test]
fn one_silent_worker_of_a_large_fleet_is_everyday() {
    assert!(Health { live: 200, silent: 3, ..Health::default() }.faults().is_empty());
    assert!(Health::default().faults().is_empty());
    assert_eq!(Health { live: 0, silent: 1, ..Health::default() }.faults().len(), 1);
}
