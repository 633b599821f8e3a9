//! The journal: edits and approvals come out again, to the bit, with what was known of telemetry.

use crate::world::{World, canary, experiment, rewarded};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_engine::command::Command;
use weir_engine::decide::{Action, edited};
use weir_engine::health::{ClockStep, Health};
use weir_engine::journal::{Actor, Entry, Event, Observed, Order, Replay, Trace, trace};
use weir_engine::spec::{Experiment, Strategy};
use weir_engine::state::{Outcome, Phase};

/// A journal of an experiment of which nothing is counted.
struct Written {
    world: World,
    entries: Vec<Entry>,
}

impl Written {
    fn begin(experiment: Experiment) -> Self {
        let world = World::new(experiment.clone(), 61);
        let event = Event::Begin { experiment: Box::new(experiment), by: Actor::default(), release: "test".to_owned() };
        let entries = vec![Entry { at: 0, event, trace: trace(None, &world.state) }];
        Self { world, entries }
    }

    fn add(&mut self, event: Event, trace: Trace) {
        self.entries.push(Entry { at: self.world.now, event, trace });
    }

    fn edit(&mut self, change: impl FnOnce(&mut Experiment)) -> Action {
        let mut wanted = self.world.experiment.clone();
        change(&mut wanted);
        self.world.now += 2_000;
        let decision = edited(&self.world.experiment, &wanted, &self.world.state, self.world.now).unwrap();
        let trace = Trace::of(&self.world.state, &decision);
        self.add(Event::Edit { experiment: Box::new(wanted.clone()), by: Actor::default() }, trace);
        (self.world.experiment, self.world.state) = (wanted, decision.state);
        decision.action
    }

    fn order(&mut self, command: Command) {
        let before = self.world.state.clone();
        self.world.now += 2_000;
        let decision = self.world.command(command.clone()).unwrap();
        let order = Order { command, by: Actor::default(), reason: "why not".into() };
        let event = Event::Command { observed: Observed::default(), health: self.world.health, order };
        self.add(event, Trace::of(&before, &decision));
    }

    /// Stored, read and computed again.
    fn replay(&self) -> Result<Replay, String> {
        let mut replay = Replay::default();
        for (number, entry) in (1..).zip(&self.entries) {
            let entry: Entry = serde_json::from_str(&serde_json::to_string(entry).unwrap()).unwrap();
            replay.push(number, &entry).map_err(|difference| difference.to_string())?;
        }
        Ok(replay)
    }
}

#[test]
fn an_edit_and_what_was_approved_of_it_come_out_again() {
    let mut goals = rewarded(experiment(2, Strategy::Ab { weights: vec![5_000, 5_000] }));
    goals.approvals.step = true;
    let mut written = Written::begin(goals);
    let asked = written.edit(|experiment| experiment.strategy = Strategy::Ab { weights: vec![8_000, 2_000] });
    assert_eq!(asked, Action::Ask);
    written.world.health = Health { live: 200, silent: 3, ..Health::default() };
    written.order(Command::Approve);
    written.edit(|experiment| experiment.priority = 3);
    let replay = written.replay().unwrap();
    assert_eq!(replay.state(), Some(&written.world.state));
    assert_eq!(replay.experiment(), Some(&written.world.experiment));
    assert_eq!(replay.state().unwrap().weights(), [8_000, 2_000]);
    // Edits are not decisions of the engine's.
    assert_eq!(replay.decisions(), 1);
}

#[test]
fn an_edit_that_was_told_otherwise_or_could_not_be_made_is_a_difference() {
    let mut written = Written::begin(canary(&[500, 5_000]));
    written.edit(|experiment| experiment.strategy = Strategy::Canary { steps: vec![100, 5_000] });
    written.replay().unwrap();
    let told = std::mem::take(&mut written.entries[1].trace.reasons);
    assert!(written.replay().unwrap_err().starts_with("entry 2, reasons"));
    written.entries[1].trace.reasons = told;
    let Event::Edit { experiment, .. } = &mut written.entries[1].event else { panic!("no edit") };
    experiment.strategy = Strategy::Canary { steps: vec![5_000] };
    let difference = written.replay().unwrap_err();
    assert!(difference.contains("refused: spec.strategy.canary.steps begins at 50%"), "{difference}");
}

#[test]
fn an_approval_that_telemetry_did_not_allow_is_a_difference() {
    let mut goals = rewarded(experiment(2, Strategy::Ab { weights: vec![5_000, 5_000] }));
    goals.approvals.step = true;
    let mut written = Written::begin(goals);
    written.edit(|experiment| experiment.strategy = Strategy::Ab { weights: vec![8_000, 2_000] });
    written.order(Command::Approve);
    let Event::Command { health, .. } = &mut written.entries[2].event else { panic!("no command") };
    health.dropped = 1;
    assert!(written.replay().unwrap_err().contains("entry 3, command"));
}

#[test]
fn a_journal_that_the_release_before_edits_could_wait_wrote_comes_out_again() {
    // As it was written then, line by line: a canary that was paused and resumed, held by dropped counts, climbed and was promoted.
    let mut replay = Replay::default();
    for (number, line) in (1..).zip(include_str!("journals/before-splits.jsonl").lines()) {
        let entry: Entry = serde_json::from_str(line).unwrap();
        replay.push(number, &entry).unwrap();
    }
    assert_eq!(replay.decisions(), 6);
    let phase = &replay.state().unwrap().phase;
    assert!(matches!(phase, Phase::Concluded { outcome: Outcome::Promoted, version: 1, .. }), "{phase:?}");
}

#[test]
fn what_was_known_of_clocks_before_they_were_told_apart_is_read_and_decided_on_as_it_was() {
    let mut written = Written::begin(canary(&[500, 5_000]));
    let text = r#"{"live":3,"silent":0,"stale":0,"behind":0,"newestReportMs":10,"dropped":0,"clockStepMs":20000}"#;
    written.world.health = serde_json::from_str(text).unwrap();
    written.world.now += 2_000;
    let before = written.world.state.clone();
    let decision = written.world.look();
    assert_eq!(decision.action, Action::Hold);
    assert_eq!(decision.reasons, ["Weights stay: a clock stepped by 20 s. Lost telemetry is not evidence."]);
    let event = Event::Look { observed: Observed::default(), health: written.world.health };
    written.add(event, Trace::of(&before, &decision));
    written.replay().unwrap();
}

#[test]
fn a_step_of_the_controllers_clock_is_taken_out_of_the_time_it_ran_in_a_replay_too() {
    let mut written = Written::begin(canary(&[500, 5_000]));
    written.world.now = 90_000;
    let at = written.world.now;
    written.world.health.own_step = Some(ClockStep { at, forward_ms: 60_000 });
    for _ in 0..2 {
        let before = written.world.state.clone();
        let decision = written.world.look();
        let event = Event::Look { observed: Observed::default(), health: written.world.health };
        written.add(event, Trace::of(&before, &decision));
        written.world.now += 2_000;
    }
    let replay = written.replay().unwrap();
    assert_eq!(replay.state(), Some(&written.world.state));
    assert_eq!(replay.state().unwrap().ran(90_000), 30_000, "once, however often it is told");
}
