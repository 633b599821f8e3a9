//! Telemetry loss is not evidence: it holds the weights and says so, and neither advances nor rolls back.

use crate::world::{World, bandit, canary};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::command::Command;
use weir_engine::decide::Action;
use weir_engine::health::{ClockStep, Health, Heard, LATELY_MS, LIVE_MS, SILENCE_MS, Watch};
use weir_engine::spec::{OnTimeout, Rule};
use weir_engine::state::{Cause, Outcome, Phase};

const GOOD: [(f64, f64); 2] = [(0.003, 0.0), (0.003, 0.0)];

/// A step that was seen before anything began, so that it is in nothing that is measured.
fn step(forward_ms: i64) -> Option<ClockStep> {
    Some(ClockStep { at: 0, forward_ms })
}

fn faults() -> [(&'static str, Health); 8] {
    let live = Health { live: 10, ..Health::default() };
    [
        ("fell silent", Health { silent: 2, ..live }),
        ("no proxy has reported for 45 s", Health { newest_report_ms: Some(45_000), ..live }),
        ("stale plan", Health { stale: 1, ..live }),
        ("older plan", Health { behind: 5, ..live }),
        ("were not recorded", Health { dropped: 3, ..live }),
        ("clock was set forward by 3600 s", Health { own_step: step(3_600_000), ..live }),
        ("clock was set back by 3600 s", Health { own_step: step(-3_600_000), ..live }),
        ("a tenth of the workers' clocks are off by 60 s", Health { clocks_off_ms: 60_000, ..live }),
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
    let forward_ms = i64::try_from(world.experiment.max_duration_ms).unwrap();
    world.health.own_step = Some(ClockStep { at: world.now, forward_ms });
    assert_eq!(world.look().action, Action::Hold);
    // Set right again, to before the epoch in force began.
    world.health.own_step = None;
    world.now = before;
    world.state.epochs.last_mut().unwrap().began_at = before + 60_000;
    let decision = world.look();
    assert_eq!(decision.action, Action::Hold);
    assert!(decision.reasons[0].contains("the clock went back"), "{:?}", decision.reasons);
}

#[test]
fn a_step_forward_of_the_controllers_clock_counts_for_no_running_time_and_holds_for_a_while_only() {
    let day = 86_400_000;
    let mut goals = canary(&[500, 5_000]);
    goals.max_duration_ms = day;
    let mut world = World::new(goals, 2);
    world.go(&GOOD, 20, 30);
    world.now += 2 * day;
    world.health.own_step = Some(ClockStep { at: world.now + 2_000, forward_ms: 2 * 86_400_000 });
    let epochs = world.state.epochs.len();
    world.go(&GOOD, 20, 60);
    assert_eq!((world.state.phase.clone(), world.state.epochs.len()), (Phase::Running, epochs), "it holds");
    world.health = Health::default();
    world.go(&GOOD, 200, 1);
    assert_eq!(world.state.ran(world.now), 91 * 2_000, "two days that passed for nobody are left out");
    world.until(Action::Shift, &GOOD, 500, 300);
    // And the end comes when so long has really passed.
    let left = day - world.state.ran(world.now);
    world.now += left - 2_000;
    world.state.rung = 0;
    world.experiment.min_exposures = u64::MAX;
    world.go(&GOOD, 20, 1);
    assert_eq!(world.outcome(), Some((Outcome::Inconclusive, 0)));
}

#[test]
fn a_step_of_the_clock_that_a_person_is_faster_than_the_next_look_to_meet_counts_for_no_time_either() {
    let mut world = World::new(canary(&[500, 5_000]), 3);
    world.go(&GOOD, 20, 30);
    world.now += 3_600_000;
    world.health.own_step = Some(ClockStep { at: world.now, forward_ms: 3_600_000 });
    world.command(Command::Pause).unwrap();
    assert_eq!(world.state.ran_ms, 60_000);
    // Resumed after the step, it has no step to take out.
    world.command(Command::Resume).unwrap();
    world.go(&GOOD, 20, 5);
    assert_eq!(world.state.ran(world.now), 70_000);
}

#[test]
fn wrong_clocks_of_workers_hold_the_weights_and_stop_no_time() {
    let mut world = almost_over(OnTimeout::RollBack);
    world.health = Health { live: 10, clocks_off_ms: 60_000, ..Health::default() };
    world.until(Action::Pause, &GOOD, 20, 400);
    assert!(matches!(world.state.phase, Phase::Paused { cause: Cause::Timeout, .. }));
}

/// A canary that runs for a minute, after 58 seconds.
fn almost_over(on_timeout: OnTimeout) -> World {
    let mut goals = canary(&[500, 5_000]);
    (goals.max_duration_ms, goals.on_timeout) = (60_000, on_timeout);
    let mut world = World::new(goals, 25);
    world.go(&GOOD, 20, 29);
    world
}

fn ended(world: &World, on_timeout: OnTimeout) -> bool {
    match on_timeout {
        OnTimeout::RollBack => world.outcome() == Some((Outcome::Inconclusive, 0)),
        OnTimeout::Pause => matches!(world.state.phase, Phase::Paused { cause: Cause::Timeout, .. }),
    }
}

#[test]
fn a_duration_that_is_over_while_telemetry_is_lost_ends_as_the_document_says_once_it_is_seen_again() {
    for (sentence, health) in faults() {
        for on_timeout in [OnTimeout::RollBack, OnTimeout::Pause] {
            let mut world = almost_over(on_timeout);
            let weights = world.weights();
            world.health = health;
            world.go(&GOOD, 20, 20);
            assert_eq!((world.state.phase.clone(), world.weights()), (Phase::Running, weights), "{sentence}");
            let held = world.look();
            assert!(held.reasons[0].contains(sentence), "{:?}", held.reasons);
            world.health = Health::default();
            let end = world.look();
            assert!(ended(&world, on_timeout), "{sentence}: {:?}", end.reasons);
            if !health.clock_stepped() {
                let said = held.reasons.join(" ");
                assert!(said.contains("it ends as `onTimeout` says once telemetry can be seen again"), "{said}");
            }
        }
    }
}

#[test]
fn one_exposure_that_was_not_recorded_at_the_end_leaves_no_canary_on_its_rung() {
    let mut world = almost_over(OnTimeout::RollBack);
    world.health = Health { live: 3, dropped: 1, ..Health::default() };
    world.go(&GOOD, 20, 1);
    world.health = Health::default();
    world.go(&GOOD, 20, 1);
    assert_eq!(world.outcome(), Some((Outcome::Inconclusive, 0)));
}

#[test]
fn telemetry_that_stays_lost_after_the_end_pauses_and_says_so_once() {
    for (sentence, health) in faults().into_iter().filter(|(_, health)| !health.clock_stepped()) {
        for on_timeout in [OnTimeout::RollBack, OnTimeout::Pause] {
            let mut world = almost_over(on_timeout);
            let weights = world.weights();
            world.health = health;
            let paused = world.until(Action::Pause, &GOOD, 20, 400);
            assert_eq!((world.outcome(), world.weights()), (None, weights), "{sentence}");
            assert!(matches!(world.state.phase, Phase::Paused { cause: Cause::Timeout, .. }));
            let passed = paused.at - 60_000;
            assert!((SILENCE_MS..SILENCE_MS + 4_000).contains(&passed), "{passed}");
            assert!(paused.reasons[0].contains(sentence), "{:?}", paused.reasons);
            assert!(paused.reasons[1].contains("for 600 s since: it pauses"), "{:?}", paused.reasons);
            assert!(!paused.reasons.join(" ").contains("all traffic goes"), "{:?}", paused.reasons);
        }
    }
}

#[test]
fn a_fault_that_began_long_after_the_end_does_not_pause_at_once() {
    // Time does not run out on a promotion that waits: a fault an hour later is no silence of an hour.
    let mut goals = canary(&[5_000]);
    (goals.approvals.promotion, goals.max_duration_ms) = (true, 3_600_000);
    let mut world = World::new(goals, 28);
    world.until(Action::Ask, &GOOD, 500, 300);
    world.now += 2 * 3_600_000;
    world.state.awaited = None;
    world.health.dropped = 1;
    world.go(&GOOD, 20, 10);
    assert!(world.state.is_running());
}

#[test]
fn where_exposures_do_not_follow_the_weights_a_duration_that_is_over_ends_as_the_document_says_without_a_claim() {
    for on_timeout in [OnTimeout::RollBack, OnTimeout::Pause] {
        let mut world = almost_over(on_timeout);
        world.state.sample_ratio_broken = true;
        world.go(&GOOD, 20, 30);
        assert!(ended(&world, on_timeout), "{:?}", world.state.phase);
        let said = world.decisions.last().unwrap().reasons.join(" ");
        assert!(said.contains("Exposures do not follow the weights"), "{said}");
        assert!(!world.state.is_out(1), "no claim");
    }
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

#[test]
fn what_a_controller_sees_of_itself_and_of_its_workers_is_told_for_a_while_and_apart() {
    let experiment = canary(&[500]);
    let known = |now: u64, off: [u64; 3]| {
        let own_step = Some(ClockStep { at: 1_000_000, forward_ms: -20_000 });
        let watch = Watch { now, back_at: 0, published_at: Some(1_000_000), own_step, experiment: &experiment };
        let heard = |off| Heard { last_seen: now, gap_ms: 1_000, clock: Some((now, off)), ..Heard::default() };
        watch.health(off.map(heard), [(1_000_000, 7), (now, 5)])
    };
    let fresh = known(1_060_000, [0, 60_000, 0]);
    assert_eq!((fresh.live, fresh.dropped, fresh.clocks_off_ms, fresh.clock_step_ms), (3, 12, 60_000, 0));
    assert_eq!(
        fresh.faults()[1..],
        ["the controller's clock was set back by 20 s", "a tenth of the workers' clocks are off by 60 s or more"]
    );
    let later = known(1_000_000 + LATELY_MS, [0; 3]);
    assert_eq!((later.dropped, later.own_step), (5, None));
}

#[test]
fn a_worker_that_should_have_the_plan_by_now_and_names_another_is_behind() {
    let experiment = canary(&[500]);
    let behind = |now: u64, last_seen: u64| {
        let watch = Watch { now, back_at: 0, published_at: Some(1_000_000), own_step: None, experiment: &experiment };
        let heard = Heard { last_seen, gap_ms: 1_000, other_plan: true, stale: true, ..Heard::default() };
        let health = watch.health([heard], []);
        (health.behind, health.stale)
    };
    assert_eq!(behind(1_010_000, 1_010_000), (0, 1), "it may be on its way");
    assert_eq!(behind(1_020_000, 1_010_000), (0, 1), "it has not reported since");
    assert_eq!(behind(1_020_000, 1_020_000), (1, 1));
    assert_eq!(behind(1_000_000 + LIVE_MS, 1_000_000), (0, 0), "it is not live");
}
