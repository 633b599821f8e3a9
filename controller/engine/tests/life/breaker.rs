//! The breaker: doubt on unsettled counts pauses a version, settled counts decide.

use crate::world::{World, bandit, canary};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::decide::Action;
use weir_engine::spec::{Bound, Rule};
use weir_engine::state::Outcome;

const GOOD: [(f64, f64); 2] = [(0.005, 0.0), (0.005, 0.0)];
const BROKEN: [(f64, f64); 2] = [(0.005, 0.0), (0.9, 0.0)];

/// A canary at half of the traffic, with a healthy history.
fn halfway(seed: u64) -> World {
    let mut goals = canary(&[5_000]);
    goals.min_exposures = 1_000_000;
    let mut world = World::new(goals, seed);
    world.go(&GOOD, 200, 60);
    assert_eq!(world.weights(), [5_000, 5_000]);
    world
}

#[test]
fn a_sudden_outage_is_paused_before_it_settles_and_settled_counts_roll_it_back() {
    let mut world = halfway(1);
    world.serve(&BROKEN, 200);
    let trip = world.look();
    assert_eq!(trip.action, Action::Trip, "{:?}", trip.reasons);
    assert_eq!(world.weights(), [10_000, 0]);
    assert!(!world.state.is_out(1), "it is no verdict");
    world.go(&GOOD, 200, 20);
    assert_eq!(world.outcome(), Some((Outcome::RolledBack, 0)));
}

#[test]
fn a_doubt_that_settles_without_evidence_lets_the_version_go_and_never_trips_again() {
    let mut goals = canary(&[5_000]);
    goals.min_exposures = 1_000_000;
    // Sixty failures trip the breaker, and are no evidence with an alpha so small.
    goals.alpha.roll_back = 1e-200;
    let mut world = World::new(goals, 2);
    world.go(&GOOD, 200, 60);
    world.serve(&[(0.005, 0.0), (0.6, 0.0)], 200);
    let trip = world.look();
    assert_eq!(trip.action, Action::Trip, "{:?}", trip.reasons);
    // The doubt is still there, unsettled: it does nothing more.
    world.serve(&GOOD, 200);
    assert_eq!(world.look().action, Action::Hold);
    let release = world.until(Action::Release, &GOOD, 200, 10);
    assert_eq!(release.state.weights(), [5_000, 5_000]);
    assert!(release.at - trip.at >= world.experiment.deadline_ms + world.experiment.bin_ms);
    world.go(&GOOD, 200, 60);
    let trips = world.decisions.iter().filter(|decision| decision.action == Action::Trip).count();
    assert_eq!(trips, 1);
    assert_eq!(world.weights(), [5_000, 5_000]);
}

#[test]
fn what_never_settles_holds_a_version_for_a_bounded_time() {
    let mut world = halfway(3);
    world.experiment.alpha.roll_back = 1e-200;
    world.serve(&BROKEN, 200);
    assert_eq!(world.look().action, Action::Trip);
    let epoch = world.state.trips[0].epoch;
    for _ in 0..100 {
        world.serve(&GOOD, 200);
        // A worker's counts that stay unsettled.
        world.observations.epochs.get_mut(&epoch).unwrap().unsettled[1].assigned += 1;
        let decision = world.look();
        if decision.action == Action::Release {
            assert!(decision.at - world.state.trips[0].at >= 80_000);
            return;
        }
    }
    panic!("it is never released");
}

#[test]
fn where_exposures_do_not_follow_the_weights_the_breaker_still_trips_and_lets_nobody_go() {
    let mut world = halfway(10);
    world.state.sample_ratio_broken = true;
    world.serve(&BROKEN, 200);
    let trip = world.look();
    assert_eq!((trip.action, world.weights()), (Action::Trip, vec![10_000, 0]), "{:?}", trip.reasons);
    let said = trip.reasons.join(" ");
    assert!(said.contains("That is no verdict; it stays so, for nothing can be compared"), "{said}");
    assert!(!said.contains("weights stay"), "{said}");
    // Its guardrail rolls nobody back now, and what has settled since lets nobody go.
    world.go(&GOOD, 200, 200);
    assert_eq!((world.outcome(), world.weights()), (None, vec![10_000, 0]));
    assert!(world.state.is_tripped(1) && !world.state.is_out(1));
    let held = world.look();
    assert!(held.reasons.join(" ").contains("The breaker holds v2"), "{:?}", held.reasons);
}

#[test]
fn without_telemetry_the_breaker_rests_also_where_exposures_do_not_follow_the_weights() {
    let mut world = halfway(11);
    world.state.sample_ratio_broken = true;
    world.health.dropped = 1;
    world.serve(&BROKEN, 200);
    assert_eq!((world.look().action, world.weights()), (Action::Hold, vec![5_000, 5_000]));
}

#[test]
fn an_outage_of_everything_is_not_the_candidates_doubt() {
    let mut world = halfway(4);
    for _ in 0..4 {
        world.serve(&[(0.9, 0.0), (0.9, 0.0)], 200);
        let decision = world.look();
        assert_ne!(decision.action, Action::Trip, "{:?}", decision.reasons);
    }
}

#[test]
fn a_bandits_version_goes_to_its_floor() {
    let mut world = World::new(bandit(Rule::Thompson, 500, 2_000), 5);
    let usual = [(0.005, 0.1), (0.005, 0.1), (0.005, 0.1)];
    world.go(&usual, 300, 40);
    world.serve(&[(0.005, 0.1), (0.005, 0.1), (0.9, 0.1)], 300);
    let trip = world.look();
    assert_eq!(trip.action, Action::Trip, "{:?}", trip.reasons);
    assert_eq!(world.weights()[2], 500);
}

#[test]
fn a_version_broken_from_the_start_is_paused_before_anything_has_settled() {
    for bound in [Bound::ErrorRate { ratio: 1.0, margin: 0.005 }, Bound::ErrorRate { ratio: 2.0, margin: 0.0 }] {
        let mut goals = canary(&[500, 5_000]);
        goals.guardrails[0].bound = bound;
        let mut world = World::new(goals, 8);
        let trip = world.until(Action::Trip, &BROKEN, 100, 4);
        assert!(trip.at < world.experiment.deadline_ms + world.experiment.bin_ms);
        assert_eq!(world.assess().settled_exposures, 0);
        world.go(&BROKEN, 100, 20);
        assert_eq!(world.outcome(), Some((Outcome::RolledBack, 0)));
    }
}

#[test]
fn equal_versions_whose_failures_take_another_time_are_not_paused_at_the_start() {
    let mut goals = canary(&[5_000]);
    goals.guardrails[0].bound = Bound::ErrorRate { ratio: 1.0, margin: 0.003 };
    let mut world = World::new(goals, 9);
    for _ in 0..4 {
        world.serve(&[(0.02, 0.0), (0.02, 0.0)], 10_000);
        // The baseline's failures have not ended yet; the candidate's came at once.
        let cell = &mut world.observations.epochs.get_mut(&1).unwrap().unsettled[0];
        cell.completed -= cell.failed;
        cell.failed = 0;
        assert_eq!(world.look().action, Action::Hold);
    }
}

#[test]
fn where_users_are_the_unit_the_breaker_does_not_look() {
    let mut goals = canary(&[5_000]);
    goals.unit = weir_core::plan::Unit::Header("x-user".into());
    goals.guardrails[0].bound = Bound::ErrorRate { ratio: 2.0, margin: 0.0 };
    let mut world = World::new(goals, 6);
    world.serve(&BROKEN, 200);
    assert_eq!(world.assess().versions[1].doubt, None);
}

#[test]
fn a_version_at_the_edge_of_its_limits_does_not_trip_in_hours_of_heavy_traffic() {
    let mut goals = canary(&[5_000]);
    goals.min_exposures = u64::MAX;
    goals.alpha.roll_back = 1e-200;
    let mut world = World::new(goals, 7);
    world.go(&[(0.005, 0.0), (0.015, 0.0)], 100, 5_000);
    assert!(world.decisions.iter().all(|decision| decision.action == Action::Renew), "{:?}", world.decisions.last());
}
