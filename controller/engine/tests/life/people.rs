//! People: every command from every phase, approvals, durations.

use crate::world::{World, bandit, canary, experiment, rewarded};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::command::{Command, Refusal};
use weir_engine::decide::Action;
use weir_engine::health::Health;
use weir_engine::planning::planned;
use weir_engine::spec::{OnTimeout, Rule, Strategy};
use weir_engine::state::{Cause, Outcome, Phase, Step};

const GOOD: [(f64, f64); 2] = [(0.003, 0.0), (0.003, 0.0)];
const THREE: [(f64, f64); 3] = [(0.005, 0.1), (0.005, 0.1), (0.005, 0.2)];

fn every_command() -> Vec<Command> {
    vec![
        Command::Start,
        Command::Pause,
        Command::Resume,
        Command::Approve,
        Command::SetWeights { weights: vec![6_000, 4_000] },
        Command::Promote { version: 1 },
        Command::RollBack { version: Some(1) },
        Command::RollBack { version: None },
        Command::Stop,
    ]
}

#[test]
fn an_experiment_that_waits_for_its_start_sends_all_to_the_baseline_and_counts_nothing() {
    let mut goals = canary(&[500, 5_000]);
    goals.approvals.start = true;
    let mut world = World::new(goals, 1);
    assert_eq!(world.state.phase, Phase::Pending);
    assert_eq!(world.state.weights_in_force(&world.experiment), [10_000, 0]);
    let plan = planned(&world.experiment, "checkout-1", &world.state);
    assert_eq!(plan.status, weir_core::plan::Status::Concluded, "filters record nothing");
    assert_eq!(plan.versions.iter().map(|version| version.weight).collect::<Vec<_>>(), [1, 0]);
    world.go(&GOOD, 100, 10);
    assert_eq!(world.look().action, Action::Hold);
    for command in [Command::Pause, Command::Resume, Command::SetWeights { weights: vec![5_000, 5_000] }] {
        assert_eq!(world.command(command), Err(Refusal::Pending("checkout".into())));
    }
    // Approving what waits is starting it.
    let started = world.command(Command::Approve).unwrap();
    assert_eq!((started.action, started.state.started_at), (Action::Start, 20_000));
    assert_eq!(world.weights(), [9_500, 500]);
    assert_eq!(world.command(Command::Start), Err(Refusal::Started("checkout".into())));
}

#[test]
fn a_pause_holds_what_would_move_and_resuming_lets_it() {
    let mut world = World::new(canary(&[5_000]), 2);
    world.go(&GOOD, 50, 10);
    assert_eq!(world.command(Command::Pause).unwrap().action, Action::Pause);
    world.go(&GOOD, 500, 200);
    assert!(world.is_paused(), "evidence promotes nobody while paused");
    assert!(world.assess().winner.is_some(), "but it grows");
    assert!(world.look().reasons[0].starts_with("Paused by hand"));
    assert!(matches!(world.command(Command::Pause), Err(Refusal::Paused(_))));
    assert_eq!(world.command(Command::Resume).unwrap().action, Action::Resume);
    assert_eq!(world.look().action, Action::Promote);
}

#[test]
fn a_violation_rolls_back_also_while_paused() {
    let mut world = World::new(bandit(Rule::Thompson, 500, 2_000), 3);
    world.command(Command::SetWeights { weights: vec![2_000, 4_000, 4_000] }).unwrap();
    let fell = world.until(Action::RollBack, &[(0.005, 0.1), (0.2, 0.1), (0.005, 0.1)], 100, 50);
    assert_eq!(fell.state.weights(), [6_000, 0, 4_000]);
    assert!(world.is_paused(), "the other keeps what was set by hand");
}

#[test]
fn a_bandits_roll_back_exposes_nobody_to_another_candidate() {
    let mut goals = bandit(Rule::Thompson, 500, 500);
    goals.min_exposures = 1_000_000;
    let mut world = World::new(goals, 31);
    for _ in 0..100 {
        world.serve(&[(0.005, 0.1), (0.005, 0.1), (0.05, 0.2)], 300);
        let before = world.weights();
        if world.look().action == Action::RollBack {
            assert!(before[2] > 0);
            assert_eq!(world.weights(), [before[0] + before[2], before[1], 0], "from {before:?}");
            return;
        }
    }
    panic!("nobody is rolled back");
}

#[test]
fn weights_set_by_hand_stay_until_resumed_and_count() {
    let mut world = World::new(canary(&[500, 5_000]), 4);
    world.go(&GOOD, 50, 10);
    let set = world.command(Command::SetWeights { weights: vec![2_000, 8_000] }).unwrap();
    assert_eq!(set.action, Action::Shift);
    assert!(matches!(world.state.phase, Phase::Paused { cause: Cause::Weights, .. }));
    let before = world.assess().settled_exposures;
    world.go(&GOOD, 50, 100);
    assert_eq!(world.weights(), [2_000, 8_000]);
    assert!(world.assess().settled_exposures > before + 4_000);
    // The canary goes back to its rung.
    assert_eq!(world.command(Command::Resume).unwrap().state.weights(), [9_500, 500]);
    for weights in [vec![5_000], vec![5_000, 4_999], vec![u32::MAX, u32::MAX]] {
        assert!(matches!(world.command(Command::SetWeights { weights }), Err(Refusal::Weights { count: 2, .. })));
    }
}

#[test]
fn who_was_rolled_back_gets_no_weight_by_hand_either() {
    let mut world = World::new(bandit(Rule::Thompson, 500, 2_000), 5);
    let fell = world.command(Command::RollBack { version: Some(1) }).unwrap();
    assert_eq!(fell.action, Action::RollBack);
    assert_eq!(fell.state.weights()[1], 0);
    let out = Err(Refusal::Out("v2".into()));
    assert_eq!(world.command(Command::SetWeights { weights: vec![9_000, 500, 500] }), out);
    assert_eq!(world.command(Command::Promote { version: 1 }), out);
    assert_eq!(world.command(Command::RollBack { version: Some(1) }), out);
    assert_eq!(world.command(Command::RollBack { version: Some(0) }), Err(Refusal::Baseline("v1".into())));
    assert!(matches!(world.command(Command::Promote { version: 3 }), Err(Refusal::NoVersion { count: 3, .. })));
    world.go(&THREE, 50, 20);
    assert_eq!(world.weights()[1], 0);
    world.command(Command::RollBack { version: Some(2) }).unwrap();
    assert_eq!(world.outcome(), Some((Outcome::RolledBack, 0)), "nobody is left");
}

#[test]
fn who_is_rolled_back_by_hand_leaves_its_share_to_the_baseline_and_nobody_above_a_rung() {
    let mut goals = rewarded(experiment(3, Strategy::Canary { steps: vec![1_000, 4_000] }));
    goals.min_exposures = 1_000_000;
    for (paused, left) in [(false, [9_000, 0, 1_000]), (true, [9_500, 0, 500])] {
        let mut world = World::new(goals.clone(), 51);
        world.go(&THREE, 50, 5);
        if paused {
            world.command(Command::SetWeights { weights: vec![500, 9_000, 500] }).unwrap();
        }
        world.command(Command::RollBack { version: Some(1) }).unwrap();
        assert_eq!(world.weights(), left);
    }
}

#[test]
fn the_breaker_holds_nobody_who_was_rolled_back_by_hand_or_whose_experiment_is_over() {
    let broken = [(0.005, 0.1), (0.9, 0.1), (0.005, 0.1)];
    let commands = [
        Command::RollBack { version: Some(1) },
        Command::RollBack { version: None },
        Command::Promote { version: 2 },
        Command::Stop,
    ];
    for command in commands {
        let mut world = World::new(bandit(Rule::Thompson, 500, 2_000), 52);
        world.until(Action::Trip, &broken, 300, 10);
        assert!(world.state.is_tripped(1));
        world.command(command).unwrap();
        assert!(!world.state.is_tripped(1));
    }
}

#[test]
fn the_same_weights_twice_are_refused_and_the_first_say_that_it_is_paused() {
    let mut world = World::new(canary(&[500, 5_000]), 53);
    let weights = vec![2_000, 8_000];
    let set = world.command(Command::SetWeights { weights: weights.clone() }).unwrap();
    assert_eq!(set.action, Action::Shift);
    assert!(set.reasons[0].contains("v1 95% → 20%, v2 5% → 80%. It is paused with them"), "{:?}", set.reasons);
    let epochs = world.state.epochs.len();
    let again = world.command(Command::SetWeights { weights }).unwrap_err();
    assert_eq!(again, Refusal::SameWeights("checkout".into()));
    assert_eq!(world.state.epochs.len(), epochs);
    // Of one that runs they move nothing, and pause it.
    world.command(Command::Resume).unwrap();
    let kept = world.command(Command::SetWeights { weights: vec![9_500, 500] }).unwrap();
    assert_eq!((kept.action, world.is_paused()), (Action::Pause, true));
}

#[test]
fn a_version_set_below_a_bandits_floor_comes_up_to_it_step_by_step_once_resumed() {
    let mut world = World::new(bandit(Rule::Uniform, 2_000, 500), 54);
    world.command(Command::SetWeights { weights: vec![5_000, 5_000, 0] }).unwrap();
    world.command(Command::Resume).unwrap();
    assert_eq!(world.weights(), [5_000, 5_000, 0], "a bandit goes on from the weights there are");
    let mut last = 0;
    for _ in 0..6 {
        let shift = world.until(Action::Shift, &[(0.005, 0.1); 3], 300, 20);
        let weight = shift.state.weights()[2];
        assert!(weight > last && weight <= last + 600, "{last} → {weight}");
        last = weight;
    }
    assert!(last >= 2_000, "{last}");
}

#[test]
fn a_version_whose_violation_is_known_cannot_be_promoted_between_two_looks() {
    let mut world = World::new(canary(&[5_000]), 6);
    for _ in 0..30 {
        world.serve(&[(0.003, 0.0), (0.3, 0.0)], 200);
    }
    assert!(!world.state.is_out(1), "nobody has looked");
    assert_eq!(world.command(Command::Promote { version: 1 }), Err(Refusal::Out("v2".into())));
    let weights = vec![1_000, 9_000];
    assert_eq!(world.command(Command::SetWeights { weights }), Err(Refusal::Out("v2".into())));
}

#[test]
fn a_person_ends_it_and_it_stays_ended() {
    let mut ends = [
        (Command::Promote { version: 1 }, Outcome::Promoted, 1),
        (Command::Promote { version: 0 }, Outcome::Promoted, 0),
        (Command::RollBack { version: None }, Outcome::RolledBack, 0),
        (Command::Stop, Outcome::Stopped, 0),
    ];
    for (command, outcome, version) in &mut ends {
        for paused in [false, true] {
            let mut world = World::new(canary(&[500, 5_000]), 7);
            world.go(&GOOD, 50, 10);
            if paused {
                world.command(Command::Pause).unwrap();
            }
            world.command(command.clone()).unwrap();
            assert_eq!(world.outcome(), Some((*outcome, *version)));
            let state = world.state.clone();
            for command in every_command() {
                let refused = world.command(command).unwrap_err();
                assert!(matches!(refused, Refusal::Concluded { .. }), "{refused}");
            }
            world.look();
            assert_eq!(world.state, state);
        }
    }
}

#[test]
fn a_promotion_waits_for_approval_and_time_does_not_run_out_on_it() {
    let mut goals = canary(&[5_000]);
    goals.approvals.promotion = true;
    goals.max_duration_ms = 3_600_000;
    let mut world = World::new(goals, 8);
    let asked = world.until(Action::Ask, &GOOD, 500, 300);
    assert!(asked.reasons.iter().any(|reason| reason == "It waits for approval."), "{:?}", asked.reasons);
    assert_eq!(world.state.awaited.as_ref().unwrap().step, Step::Promotion { version: 1 });
    let since = world.state.awaited.as_ref().unwrap().since;
    world.go(&GOOD, 20, 2_000);
    assert_eq!(world.outcome(), None);
    assert_eq!(world.state.awaited.as_ref().unwrap().since, since);
    assert_eq!(world.command(Command::Approve).unwrap().action, Action::Promote);
    assert_eq!(world.outcome(), Some((Outcome::Promoted, 1)));
}

#[test]
fn every_step_of_a_ladder_waits_for_approval() {
    let mut goals = canary(&[1_000, 2_500, 5_000]);
    goals.approvals.step = true;
    let mut world = World::new(goals, 9);
    assert!(matches!(world.command(Command::Approve), Err(Refusal::NothingAwaited(_))));
    for rung in [2_500, 5_000] {
        world.until(Action::Ask, &GOOD, 300, 300);
        let weights = world.weights();
        world.go(&GOOD, 100, 50);
        assert_eq!(world.weights(), weights, "it waits");
        let climbed = world.command(Command::Approve).unwrap();
        assert_eq!((climbed.action, climbed.state.weights()[1]), (Action::Shift, rung));
    }
    world.go(&GOOD, 500, 300);
    assert_eq!(world.outcome(), Some((Outcome::Promoted, 1)), "the promotion itself needs none here");
}

#[test]
fn a_bandits_proposal_stands_and_is_carried_out_as_it_was_shown() {
    let mut goals = bandit(Rule::Thompson, 500, 2_000);
    goals.approvals.step = true;
    let mut world = World::new(goals, 10);
    world.until(Action::Ask, &THREE, 50, 100);
    let Some(Step::Weights { weights, .. }) = world.state.awaited.clone().map(|awaited| awaited.step) else {
        panic!("no weights are proposed");
    };
    world.go(&THREE, 50, 10);
    assert_eq!(world.command(Command::Approve).unwrap().state.weights(), weights);
}

#[test]
fn while_a_bandits_proposal_stands_no_other_weights_are_named_beside_it() {
    let mut goals = bandit(Rule::Thompson, 500, 2_000);
    goals.approvals.step = true;
    let mut world = World::new(goals, 10);
    let asked = world.until(Action::Ask, &THREE, 50, 100);
    assert!(asked.reasons.iter().any(|reason| reason.contains("Traffic follows: v1 ")), "{:?}", asked.reasons);
    let proposed = world.state.awaited.clone();
    let mut waited = 0;
    for _ in 0..20 {
        world.serve(&THREE, 100);
        let decision = world.look();
        if decision.action != Action::Hold || world.state.awaited != proposed {
            continue;
        }
        let said = decision.reasons.join(" ");
        assert!(!said.contains('→') && !said.contains("Traffic follows"), "{said}");
        // It says who leads by now, and that it waits.
        waited += u32::from(said.starts_with("Belief: ") && said.ends_with("It waits for approval."));
    }
    assert!(waited > 0, "no look would have wanted other weights: the test shows nothing");
}

#[test]
fn approving_what_has_become_doubtful_is_refused() {
    let mut goals = canary(&[1_000, 5_000]);
    goals.approvals.step = true;
    let mut world = World::new(goals, 11);
    world.until(Action::Ask, &GOOD, 300, 300);
    // It breaks, and nobody has looked since.
    for _ in 0..20 {
        world.serve(&[(0.003, 0.0), (0.3, 0.0)], 300);
    }
    assert!(matches!(world.command(Command::Approve), Err(Refusal::NoLonger(_))));
}

#[test]
fn nothing_is_approved_while_telemetry_cannot_answer_for_it_and_it_still_waits() {
    for steps in [&[1_000, 5_000][..], &[5_000][..]] {
        let mut goals = canary(steps);
        (goals.approvals.step, goals.approvals.promotion) = (true, true);
        let mut world = World::new(goals, 14);
        world.until(Action::Ask, &GOOD, 500, 300);
        let waits = world.state.awaited.clone();
        world.health = Health { newest_report_ms: Some(45_000), ..Health::default() };
        let refused = world.command(Command::Approve).unwrap_err();
        assert_eq!(refused, Refusal::Blind("no proxy has reported for 45 s".into()));
        world.look();
        assert_eq!(world.state.awaited, waits);
        world.health = Health::default();
        world.command(Command::Approve).unwrap();
    }
}

#[test]
fn a_promotion_is_not_approved_while_the_breaker_doubts_a_candidate() {
    let mut goals = canary(&[5_000]);
    goals.approvals.promotion = true;
    let mut world = World::new(goals, 14);
    world.until(Action::Ask, &GOOD, 500, 300);
    // All fails since, nothing of that has settled, and nobody has looked.
    world.serve(&[(0.003, 0.0), (1.0, 0.0)], 500);
    let refused = world.command(Command::Approve).unwrap_err();
    assert!(matches!(&refused, Refusal::NoLonger(doubt) if doubt.starts_with("the breaker doubts v2:")), "{refused}");
    assert_eq!(world.look().action, Action::Trip);
}

#[test]
fn nothing_is_approved_where_exposures_do_not_follow_the_weights() {
    let mut goals = canary(&[5_000]);
    goals.approvals.promotion = true;
    let mut world = World::new(goals, 15);
    world.until(Action::Ask, &GOOD, 500, 300);
    // It is seen now, and no look has acted on it.
    let epoch = world.state.epoch().unwrap().epoch;
    let settled = &mut world.observations.epochs.get_mut(&epoch).unwrap().settled[0];
    settled.assigned += 10_000;
    settled.completed += 10_000;
    assert!(!world.state.sample_ratio_broken);
    let refused = world.command(Command::Approve).unwrap_err();
    assert_eq!(refused, Refusal::NoLonger("exposures do not follow the weights".into()));
}

#[test]
fn pausing_forgets_what_was_proposed() {
    let mut goals = canary(&[5_000]);
    goals.approvals.promotion = true;
    let mut world = World::new(goals, 12);
    world.until(Action::Ask, &GOOD, 500, 300);
    world.command(Command::Pause).unwrap();
    assert!(matches!(world.command(Command::Approve), Err(Refusal::NothingAwaited(_))));
    world.command(Command::Resume).unwrap();
    assert_eq!(world.look().action, Action::Ask);
}

#[test]
fn time_in_a_pause_does_not_count() {
    let mut goals = canary(&[500, 5_000]);
    goals.max_duration_ms = 100_000;
    let mut world = World::new(goals, 13);
    world.go(&GOOD, 1, 30);
    world.command(Command::Pause).unwrap();
    world.go(&GOOD, 1, 1_000);
    world.command(Command::Resume).unwrap();
    world.go(&GOOD, 1, 19);
    assert_eq!(world.outcome(), None);
    world.go(&GOOD, 1, 1);
    assert_eq!(world.outcome(), Some((Outcome::Inconclusive, 0)));
}

#[test]
fn when_time_runs_out_a_person_may_be_asked_instead() {
    let mut goals = canary(&[500, 5_000]);
    goals.max_duration_ms = 100_000;
    goals.on_timeout = OnTimeout::Pause;
    let mut world = World::new(goals, 14);
    let paused = world.until(Action::Pause, &GOOD, 1, 51);
    assert_eq!(paused.at, 100_000);
    assert_eq!(world.weights(), [9_500, 500], "weights stay");
    world.go(&GOOD, 1, 100);
    assert!(matches!(world.state.phase, Phase::Paused { cause: Cause::Timeout, .. }));
    world.command(Command::Resume).unwrap();
    world.go(&GOOD, 1, 40);
    assert!(world.state.is_running(), "it has as long again");
}
