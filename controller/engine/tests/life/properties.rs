//! What always holds, whatever happens in whatever order.

use crate::world::{Entry, World, bandit, canary, experiment, rewarded};
use proptest::prelude::*;
use weir_engine::assess::{Assessor, Depth};
use weir_engine::command::{Command, carry_out};
use weir_engine::decide::{Action, decide};
use weir_engine::health::{ClockStep, Health};
use weir_engine::policy::LATTICE;
use weir_engine::spec::{Approvals, Experiment, OnTimeout, Rule, Strategy as Moves, TOTAL_WEIGHT};
use weir_engine::state::{Phase, State, Step};

#[derive(Debug, Clone)]
enum Event {
    /// Looks at traffic: (errors of the last version in percent, requests a look, looks).
    Traffic(u8, u64, u64),
    Health(Health),
    Command(Command),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let weights = prop_oneof![Just(vec![5_000, 5_000, 0]), Just(vec![0, 0, 10_000]), Just(vec![1, 2, 3]), Just(vec![])];
    let version = 0_usize..4;
    let command = prop_oneof![
        3 => Just(Command::Start),
        3 => Just(Command::Pause),
        5 => Just(Command::Resume),
        5 => Just(Command::Approve),
        3 => weights.prop_map(|weights| Command::SetWeights { weights }),
        1 => version.clone().prop_map(|version| Command::Promote { version }),
        2 => version.prop_map(|version| Command::RollBack { version: Some(version) }),
        1 => Just(Command::RollBack { version: None }),
        1 => Just(Command::Stop),
    ];
    let fault = prop_oneof![
        3 => Just(Health::default()),
        1 => Just(Health { live: 4, silent: 1, ..Health::default() }),
        1 => Just(Health { newest_report_ms: Some(60_000), ..Health::default() }),
        1 => Just(Health { clocks_off_ms: 60_000, ..Health::default() }),
        1 => (0_u64..400_000, -60_000_i64..60_000).prop_map(|(at, forward_ms)| {
            Health { own_step: Some(ClockStep { at, forward_ms }), ..Health::default() }
        }),
    ];
    let event = prop_oneof![
        6 => (prop_oneof![Just(0), Just(1), Just(5), Just(90)], 0_u64..400, 1_u64..12)
            .prop_map(|(errors, requests, looks)| Event::Traffic(errors, requests, looks)),
        1 => fault.prop_map(Event::Health),
        1 => command.prop_map(Event::Command),
    ];
    proptest::collection::vec(event, 1..25)
}

fn experiments(kind: u8, approvals: u8, pause: bool) -> Experiment {
    let mut experiment = match kind {
        0 => rewarded(experiment(3, Moves::Canary { steps: vec![100, 1_000, 3_000] })),
        1 => rewarded(experiment(3, Moves::Ab { weights: vec![5_000, 2_500, 2_500] })),
        2 => bandit(Rule::Thompson, 500, 2_000),
        3 => bandit(Rule::TopTwo, 250, 1_000),
        4 => bandit(Rule::Uniform, 3_300, 100),
        _ => canary(&[500, 5_000]),
    };
    experiment.approvals =
        Approvals { start: approvals & 1 > 0, step: approvals & 2 > 0, promotion: approvals & 4 > 0 };
    experiment.on_timeout = if pause { OnTimeout::Pause } else { OnTimeout::RollBack };
    experiment.max_duration_ms = 200_000;
    experiment
}

/// Holds of every state.
fn check_state(experiment: &Experiment, state: &State) {
    let versions = experiment.versions.len();
    for epoch in &state.epochs {
        assert_eq!((epoch.weights.len(), epoch.weights.iter().sum::<u32>()), (versions, TOTAL_WEIGHT));
    }
    for (before, after) in state.epochs.iter().zip(state.epochs.iter().skip(1)) {
        assert!(after.epoch == before.epoch + 1 && after.began_at >= before.began_at);
    }
    let in_force = state.weights_in_force(experiment);
    assert_eq!(in_force.iter().sum::<u32>(), TOTAL_WEIGHT);
    let banned = |version: usize| state.is_out(version) && version != experiment.baseline;
    for version in (0..versions).filter(|version| banned(*version)) {
        assert_eq!(in_force[version], 0, "{version} is out");
    }
    for trip in &state.trips {
        assert_eq!(state.trips.iter().filter(|other| other.version == trip.version).count(), 1);
    }
    if let Some(awaited) = &state.awaited {
        assert!(state.is_running());
        match &awaited.step {
            Step::Weights { weights, .. } => {
                assert_eq!(weights.iter().sum::<u32>(), TOTAL_WEIGHT);
                assert!((0..versions).all(|version| !banned(version) || weights[version] == 0));
            }
            Step::Promotion { version } => assert!(!banned(*version)),
        }
    }
}

/// Holds of every decision by the engine.
fn check_decision(experiment: &Experiment, before: &State, action: Action, after: &State, health: &Health) {
    let (old, new) = (before.weights(), after.weights());
    match before.phase {
        Phase::Concluded { .. } | Phase::Pending => assert_eq!(before, after),
        Phase::Paused { .. } => {
            assert!(matches!(action, Action::Hold | Action::Renew | Action::RollBack), "{action:?}");
            assert!(action == Action::RollBack || old == new, "paused never moves");
        }
        Phase::Running if !health.faults().is_empty() => {
            let allowed = matches!(action, Action::Hold | Action::Renew | Action::RollBack | Action::Pause);
            assert!(allowed, "{action:?}");
            assert!(action == Action::RollBack || old == new, "faults hold");
        }
        Phase::Running => {}
    }
    if matches!(action, Action::Hold | Action::Renew | Action::Ask) {
        assert_eq!(old, new);
    }
    let gone: Vec<bool> =
        (0..old.len()).map(|version| after.is_out(version) && version != experiment.baseline).collect();
    if let (Moves::Bandit { floor, max_step, .. }, Action::Shift) = (&experiment.strategy, action) {
        for version in (0..old.len()).filter(|version| !gone[*version]) {
            let (old, new) = (old[version], new[version]);
            // From below its floor (set by hand, or a floor that was raised) a version comes up to it step by step.
            assert!(new >= *floor || new + LATTICE > old, "{old} to {new} with a floor of {floor}");
            assert!(old.abs_diff(new) <= max_step + LATTICE, "{old} to {new} in one step");
        }
    }
    if action == Action::RollBack && !after.is_concluded() {
        let candidates = (0..old.len()).filter(|version| *version != experiment.baseline);
        assert!(candidates.into_iter().all(|version| new[version] <= old[version]), "{old:?} to {new:?}");
    }
    for (version, gone) in gone.iter().enumerate() {
        assert!(!before.is_out(version) || after.is_out(version), "out stays out");
        assert!(!*gone || new[version] == 0 || after.is_concluded());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_course_of_events_keeps_every_rule(
        kind in 0_u8..6, approvals in 0_u8..8, pause in any::<bool>(), seed in any::<u64>(), events in events(),
    ) {
        let experiment = experiments(kind, approvals, pause);
        let mut world = World::new(experiment.clone(), seed);
        world.records = true;
        check_state(&experiment, &world.state);
        for event in events {
            match event {
                Event::Health(health) => world.health = health,
                Event::Command(command) => {
                    let before = world.state.clone();
                    match world.command(command) {
                        Ok(decision) => {
                            assert!(!decision.reasons.is_empty());
                            check_state(&experiment, &decision.state);
                        }
                        Err(refusal) => {
                            assert_eq!(world.state, before);
                            assert!(refusal.to_string().contains(':'), "what is to be done? {refusal}");
                        }
                    }
                }
                Event::Traffic(errors, requests, looks) => for _ in 0..looks {
                    let last = f64::from(errors) / 100.0;
                    world.serve(&[(0.005, 0.1), (0.005, 0.15), (last, 0.2)], requests);
                    let before = world.state.clone();
                    let decision = world.look();
                    assert!(!decision.reasons.is_empty());
                    check_state(&experiment, &decision.state);
                    check_decision(&experiment, &before, decision.action, &decision.state, &world.health);
                }
            }
        }
        replay(&world);
    }
}

/// The same inputs give the same bits, also when a state was stored between any two of them, and by an assessor that knows nothing.
fn replay(world: &World) {
    let bits = |decision: &weir_engine::decide::Decision| serde_json::to_string(decision).unwrap();
    let experiment = &world.experiment;
    let mut state = State::begin(experiment, 0);
    for entry in &world.entries {
        state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        match entry {
            Entry::Look(observations, health, now, expected) => {
                let assessment = Assessor::default().assess(experiment, &state, observations, Depth::Decision);
                let health: Health = serde_json::from_str(&serde_json::to_string(health).unwrap()).unwrap();
                let decision = decide(experiment, &state, &assessment, &health, *now);
                assert_eq!(bits(&decision), bits(expected));
                assert_eq!(bits(&decide(experiment, &state, &assessment, &health, *now)), bits(expected));
                state = decision.state;
            }
            Entry::Command(command, health, now, expected) => {
                let command: Command = serde_json::from_str(&serde_json::to_string(command).unwrap()).unwrap();
                // A command is given what the last look had seen, or nothing.
                if let Ok(expected) = expected {
                    let observations = observations_before(world, entry);
                    let assessment = Assessor::default().assess(experiment, &state, &observations, Depth::Decision);
                    let decision = carry_out(experiment, &state, &command, &assessment, health, *now).unwrap();
                    assert_eq!(bits(&decision), bits(expected));
                    state = decision.state;
                }
            }
        }
    }
    assert_eq!(serde_json::to_string(&state).unwrap(), serde_json::to_string(&world.state).unwrap());
}

fn observations_before(world: &World, entry: &Entry) -> weir_engine::state::Observations {
    let at = world.entries.iter().position(|other| std::ptr::eq(other, entry)).unwrap();
    let looks = world.entries[..at].iter().rev();
    let found = looks.filter_map(|entry| match entry {
        Entry::Look(observations, ..) => Some(observations.clone()),
        Entry::Command(..) => None,
    });
    found.take(1).next().unwrap_or_default()
}

#[test]
fn a_state_that_was_stored_before_any_of_this_is_read_as_it_was() {
    let experiment = canary(&[500, 5_000]);
    let state = State::begin(&experiment, 1_000);
    let mut json = serde_json::to_value(&state).unwrap();
    for field in ["ranMs", "runningSince", "awaited", "trips", "split", "blindSince", "clockStepAt"] {
        json.as_object_mut().unwrap().remove(field);
    }
    let read: State = serde_json::from_value(json).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.ran(5_000), 4_000);
}
