//! Edits: what a changed document means for an experiment that runs, is paused, or waits.

use crate::world::{World, bandit, canary, experiment, rewarded};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::command::{Command, Refusal};
use weir_engine::decide::{Action, Decision, changes, edited};
use weir_engine::spec::{Experiment, OnTimeout, Rule, Strategy};
use weir_engine::state::{Phase, Proposal, Step};

const GOOD: [(f64, f64); 2] = [(0.003, 0.0), (0.003, 0.0)];
const ALIKE: [(f64, f64); 2] = [(0.005, 0.1), (0.005, 0.1)];

fn edit(world: &mut World, change: impl FnOnce(&mut Experiment)) -> Result<Decision, Refusal> {
    let mut wanted = world.experiment.clone();
    change(&mut wanted);
    let decision = edited(&world.experiment, &wanted, &world.state, world.now)?;
    (world.experiment, world.state) = (wanted, decision.state.clone());
    Ok(decision)
}

fn with_steps(steps: &[u32]) -> impl FnOnce(&mut Experiment) {
    let steps = steps.to_vec();
    move |experiment| experiment.strategy = Strategy::Canary { steps }
}

fn with_split(weights: [u32; 2]) -> impl FnOnce(&mut Experiment) {
    move |experiment| experiment.strategy = Strategy::Ab { weights: weights.to_vec() }
}

fn split(approvals: bool) -> World {
    let mut goals = rewarded(experiment(2, Strategy::Ab { weights: vec![5_000, 5_000] }));
    goals.approvals.step = approvals;
    World::new(goals, 41)
}

#[test]
fn an_edited_ladder_never_raises_a_weight_and_is_climbed_from_there_by_evidence() {
    // (steps, rung, new steps, new rung, weight)
    for (steps, rung, new, expected, weight) in [
        (&[100, 500, 2_500][..], 1, &[500, 5_000][..], 0, 500),
        (&[100, 500, 2_500], 1, &[100, 200, 300, 5_000], 2, 300),
        (&[100, 500, 2_500], 2, &[100, 5_000], 0, 100),
        (&[100, 500, 2_500], 0, &[100], 0, 100),
        (&[100, 500, 2_500], 2, &[100, 500, 2_500, 5_000], 2, 2_500),
    ] {
        for step in [false, true] {
            let mut goals = canary(steps);
            goals.approvals.step = step;
            let mut world = World::new(goals, 42);
            world.state.rung = rung;
            world.state.epochs[0].weights = vec![10_000 - steps[rung], steps[rung]];
            let before = world.weights();
            let decision = edit(&mut world, with_steps(new)).unwrap();
            assert_eq!((world.state.rung, world.weights()[1]), (expected, weight), "{steps:?} → {new:?}");
            let moved = world.weights() != before;
            assert_eq!(decision.action, if moved { Action::Shift } else { Action::Renew });
            assert!(world.weights()[1] <= before[1]);
        }
    }
}

#[test]
fn a_ladder_that_begins_above_the_weight_in_force_is_refused_with_what_to_write() {
    for paused in [false, true] {
        let mut world = World::new(canary(&[100, 500]), 43);
        if paused {
            world.command(Command::Pause).unwrap();
        }
        let before = world.state.clone();
        let refused = edit(&mut world, with_steps(&[5_000])).unwrap_err();
        assert_eq!(refused, Refusal::Steep { first: "50%".into(), here: "1%".into() });
        assert!(refused.to_string().contains("begin the steps with 1% or less"), "{refused}");
        assert_eq!(world.state, before);
        edit(&mut world, with_steps(&[100, 5_000])).unwrap();
        assert_eq!(world.weights(), [9_900, 100]);
    }
}

#[test]
fn an_edit_says_which_fields_changed_and_what_becomes_of_the_weights() {
    let mut world = World::new(canary(&[100, 500]), 44);
    let decision = edit(&mut world, |experiment| {
        experiment.strategy = Strategy::Canary { steps: vec![50, 5_000] };
        experiment.on_timeout = OnTimeout::Pause;
        experiment.max_duration_ms = 3_600_000;
        experiment.approvals.step = true;
    })
    .unwrap();
    assert_eq!(
        decision.reasons,
        [
            "checkout was changed: steps [1%, 5%] → [0.5%, 50%]; maxDuration 7d → 1h; onTimeout rollBack → pause; \
             approvals none → step.",
            "It stands on rung 1 of 2 now.",
            "Traffic moves: v1 99% → 99.5%, v2 1% → 0.5%.",
        ]
    );
    let decision = edit(&mut world, |experiment| experiment.priority = 7).unwrap();
    assert_eq!(decision.reasons, ["checkout was changed: priority 0 → 7.", "Weights stay."]);
    assert_eq!(decision.action, Action::Renew);
    assert!(changes(&world.experiment, &world.experiment).is_empty());
}

#[test]
fn an_edited_split_moves_at_once_without_approvals() {
    let mut world = split(false);
    let decision = edit(&mut world, with_split([8_000, 2_000])).unwrap();
    assert_eq!((decision.action, world.weights()), (Action::Shift, vec![8_000, 2_000]));
    assert_eq!((world.state.epochs.len(), world.state.split.clone()), (2, None));
}

#[test]
fn an_edited_split_waits_for_approval_through_whatever_happens_meanwhile() {
    let mut world = split(true);
    world.go(&ALIKE, 100, 10);
    let decision = edit(&mut world, with_split([8_000, 2_000])).unwrap();
    assert_eq!((decision.action, world.weights()), (Action::Ask, vec![5_000, 5_000]));
    let proposed = Step::Weights { weights: vec![8_000, 2_000], rung: 0 };
    assert_eq!(world.state.awaited, Some(Proposal { since: world.now, step: proposed.clone() }));
    let since = world.now;
    world.go(&ALIKE, 100, 30);
    assert_eq!(world.state.awaited, Some(Proposal { since, step: proposed.clone() }), "it stands");
    // A pause forgets the proposal, not that it is needed.
    world.command(Command::Pause).unwrap();
    world.command(Command::Resume).unwrap();
    assert_eq!(world.weights(), [5_000, 5_000]);
    let asked = world.until(Action::Ask, &ALIKE, 100, 2);
    assert!(asked.reasons[0].contains("v1 50% → 80%, v2 50% → 20%"), "{:?}", asked.reasons);
    let approved = world.command(Command::Approve).unwrap();
    assert_eq!((approved.action, world.weights()), (Action::Shift, vec![8_000, 2_000]));
    world.go(&ALIKE, 100, 10);
    assert_eq!((world.weights(), world.state.awaited.clone()), (vec![8_000, 2_000], None));
}

#[test]
fn who_edits_approvals_away_with_the_weights_is_asked_all_the_same() {
    let mut world = split(true);
    edit(&mut world, |experiment| {
        experiment.approvals.step = false;
        experiment.strategy = Strategy::Ab { weights: vec![9_000, 1_000] };
    })
    .unwrap();
    assert_eq!(world.weights(), [5_000, 5_000]);
    world.go(&ALIKE, 100, 30);
    assert_eq!(world.weights(), [5_000, 5_000], "nor at a later look");
    assert!(world.state.awaited.is_some());
    // An edit back leaves nothing to approve.
    edit(&mut world, with_split([5_000, 5_000])).unwrap();
    assert_eq!((world.state.awaited.clone(), world.state.split.clone()), (None, None));
}

#[test]
fn who_edits_the_weights_first_and_approvals_away_later_is_asked_all_the_same() {
    let mut world = split(true);
    edit(&mut world, with_split([100, 9_900])).unwrap();
    edit(&mut world, |experiment| experiment.approvals.step = false).unwrap();
    world.go(&ALIKE, 100, 5);
    assert_eq!(world.weights(), [5_000, 5_000]);
    // Other weights are no way around what waits, either.
    edit(&mut world, with_split([200, 9_800])).unwrap();
    world.go(&ALIKE, 100, 5);
    assert_eq!(world.weights(), [5_000, 5_000]);
    assert_eq!(world.command(Command::Approve).unwrap().state.weights(), [200, 9_800]);
    // Approved, it is over: the next edit asks nobody.
    edit(&mut world, with_split([5_000, 5_000])).unwrap();
    assert_eq!(world.weights(), [5_000, 5_000]);
}

#[test]
fn a_bandits_new_floor_is_reached_step_by_step_and_with_approval_where_steps_need_it() {
    let three = [(0.005, 0.1), (0.005, 0.1), (0.005, 0.3)];
    for approvals in [false, true] {
        let mut goals = bandit(Rule::Thompson, 500, 2_000);
        goals.min_exposures = 1_000_000;
        let mut world = World::new(goals, 45);
        world.go(&three, 300, 60);
        assert_eq!(world.weights()[1], 500);
        let before = world.weights();
        let decision = edit(&mut world, |experiment| {
            experiment.approvals.step = approvals;
            experiment.strategy =
                Strategy::Bandit { rule: Rule::Thompson, floor: 3_000, max_step: 500, half_life_ms: None };
        })
        .unwrap();
        assert_eq!((decision.action, world.weights()), (Action::Renew, before.clone()));
        if approvals {
            world.until(Action::Ask, &three, 300, 60);
            assert_eq!(world.weights(), before);
            continue;
        }
        let mut last = before;
        for _ in 0..200 {
            world.serve(&three, 300);
            world.look();
            for (weight, last) in world.weights().iter().zip(&last) {
                assert!(weight.abs_diff(*last) <= 600, "{last} → {weight}");
            }
            last = world.weights();
        }
        assert!(last.iter().all(|weight| *weight >= 3_000), "{last:?}");
    }
}

#[test]
fn a_pending_experiment_begins_anew_and_says_what_changed() {
    let mut goals = canary(&[500, 5_000]);
    goals.approvals.start = true;
    let mut world = World::new(goals, 46);
    let decision = edit(&mut world, with_steps(&[5_000])).unwrap();
    assert_eq!((world.state.phase.clone(), world.weights()), (Phase::Pending, vec![5_000, 5_000]));
    assert_eq!(decision.reasons, ["checkout was changed: steps [5%, 50%] → [50%]."]);
    let decision = edit(&mut world, |experiment| experiment.deadline_ms = 1_000).unwrap();
    assert_eq!(decision.reasons, ["checkout was changed: deadline is another."]);
    world.command(Command::Start).unwrap();
    world.go(&GOOD, 200, 5);
    assert_eq!(world.weights(), [5_000, 5_000]);
}

/// An A/B test with approvals of which the breaker holds v2, on counts that are no evidence.
fn held(weights: &[u32], truths: &[(f64, f64)]) -> World {
    let mut goals = rewarded(experiment(weights.len(), Strategy::Ab { weights: weights.to_vec() }));
    goals.approvals.step = true;
    goals.alpha.roll_back = 1e-200;
    let mut world = World::new(goals, 2);
    world.go(truths, 2_000, 60);
    let mut broken = truths.to_vec();
    broken[1].0 = 0.6;
    world.serve(&broken, 1_000);
    let trip = world.look();
    assert_eq!(trip.action, Action::Trip, "{:?}", trip.reasons);
    world
}

#[test]
fn a_split_that_was_edited_while_the_breaker_held_a_version_waits_for_approval_once_it_lets_go() {
    let mut world = held(&[9_000, 1_000], &ALIKE);
    edit(&mut world, with_split([100, 9_900])).unwrap();
    assert_eq!(world.weights(), [10_000, 0]);
    assert!(
        matches!(world.command(Command::Approve), Err(Refusal::NothingAwaited(_))),
        "nothing is proposed meanwhile"
    );
    world.until(Action::Release, &ALIKE, 200, 60);
    assert_eq!(world.weights(), [9_000, 1_000], "what was approved last");
    world.until(Action::Ask, &ALIKE, 200, 2);
    world.go(&ALIKE, 200, 10);
    assert_eq!(world.weights(), [9_000, 1_000]);
    assert_eq!(world.command(Command::Approve).unwrap().state.weights(), [100, 9_900]);
    world.go(&ALIKE, 200, 10);
    assert_eq!((world.weights(), world.state.split.clone()), (vec![100, 9_900], None));
}

#[test]
fn a_split_that_waited_when_the_breaker_tripped_is_asked_for_again_afterwards() {
    let mut world = held(&[9_000, 1_000], &ALIKE);
    world.until(Action::Release, &ALIKE, 200, 60);
    edit(&mut world, with_split([100, 9_900])).unwrap();
    world.serve(&[(0.005, 0.1), (0.6, 0.1)], 2_000);
    assert_eq!(world.look().action, Action::Trip);
    world.until(Action::Release, &ALIKE, 200, 60);
    assert_eq!(world.weights(), [9_000, 1_000]);
    world.until(Action::Ask, &ALIKE, 200, 2);
}

#[test]
fn what_is_approved_after_a_release_leaves_nobody_without_traffic() {
    let three = [(0.005, 0.1), (0.005, 0.1), (0.005, 0.1)];
    let mut world = held(&[6_000, 2_000, 2_000], &three);
    edit(&mut world, |experiment| experiment.strategy = Strategy::Ab { weights: vec![5_000, 2_500, 2_500] }).unwrap();
    world.until(Action::Release, &three, 200, 60);
    assert_eq!((world.weights(), world.state.awaited.clone()), (vec![6_000, 2_000, 2_000], None));
    world.until(Action::Ask, &three, 200, 3);
    world.command(Command::Approve).unwrap();
    assert_eq!(world.weights(), [5_000, 2_500, 2_500]);
    world.go(&three, 200, 60);
    assert_eq!(world.weights(), [5_000, 2_500, 2_500]);
}

#[test]
fn a_proposal_of_other_weights_than_are_wanted_now_is_made_anew() {
    let mut world = split(true);
    edit(&mut world, with_split([8_000, 2_000])).unwrap();
    let stale = Step::Weights { weights: vec![10_000, 0], rung: 0 };
    world.state.awaited = Some(Proposal { since: world.now, step: stale });
    world.serve(&ALIKE, 100);
    assert_eq!(world.look().action, Action::Ask);
    assert_eq!(world.command(Command::Approve).unwrap().state.weights(), [8_000, 2_000]);
}
