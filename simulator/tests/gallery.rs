//! Every scenario of the gallery comes out as its file says, whatever the seed; and says something: an engine that does nothing, or
//! flips coins, does not come out so.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use weir_engine::assess::{Assessor, Depth};
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::spec::{Approvals, Experiment};
use weir_engine::state::{Outcome, Phase, State};
use weir_simulator::policy::{Policy, View, Weir};
use weir_simulator::random::{Random, seeded};
use weir_simulator::{Scenario, Watching, expect, scenario, simulate};

/// Beside each scenario's own.
const SEEDS: [u64; 2] = [1_001, 1_002];

fn gallery() -> Vec<Scenario> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    files
        .into_iter()
        .filter(yaml)
        .map(|path| {
            let scenario = scenario::read(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(scenario.experiment.name, path.file_stem().unwrap().to_string_lossy());
            assert!(scenario.expect.is_some(), "{} expects nothing", scenario.experiment.name);
            scenario
        })
        .collect()
}

/// What is not as expected, by scenario and seed, of a policy; at each scenario's own seed and some others.
fn broken(others: &[u64], make: &(dyn Fn(u64) -> Box<dyn Policy> + Sync)) -> Vec<(String, u64, Vec<String>)> {
    let gallery = gallery();
    let seeds = |scenario: &Scenario| [&[scenario.seed], others].concat();
    let all: Vec<(&Scenario, u64)> =
        gallery.iter().flat_map(|scenario| seeds(scenario).into_iter().map(move |seed| (scenario, seed))).collect();
    weir_simulator::parallel::map(all.len() as u64, &|_| {}, |at| {
        let (scenario, seed) = *all.get(usize::try_from(at).unwrap()).unwrap();
        let run = simulate(scenario, make(seed).as_mut(), seed, Watching::Words);
        (scenario.experiment.name.clone(), seed, expect::broken(scenario, &run))
    })
}

#[test]
fn every_scenario_comes_out_as_its_file_says_whatever_the_seed() {
    let all = broken(&SEEDS, &|_| Box::<Weir>::default());
    assert!(all.len() >= 3 * 22, "{} runs", all.len());
    let broken: Vec<_> = all.into_iter().filter(|(_, _, broken)| !broken.is_empty()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Starts, and does nothing more.
struct Idle;

/// Now and then rolls everything back, or promotes anybody.
struct CoinFlips(Random);

fn decision(action: Action, reason: &str, state: State, at: u64) -> Decision {
    Decision { at, action, reasons: vec![reason.to_owned()], state }
}

impl Policy for Idle {
    fn name(&self) -> String {
        "idle".to_owned()
    }

    fn look(&mut self, _: &Experiment, state: &State, view: &View<'_>) -> Decision {
        decision(Action::Hold, "nothing", state.clone(), view.now)
    }
}

impl Policy for CoinFlips {
    fn name(&self) -> String {
        "coin flips".to_owned()
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        use rand::RngExt;
        let mut next = state.clone();
        if !self.0.random_bool(1.0 / 600.0) {
            return decision(Action::Hold, "evidence", next, view.now);
        }
        let version = self.0.random_range(0..experiment.versions.len());
        let promotes = self.0.random_bool(0.5);
        if !promotes {
            next.out.iter_mut().enumerate().for_each(|(at, out)| *out |= at != experiment.baseline);
        }
        next.phase = if promotes {
            Phase::Concluded { outcome: Outcome::Promoted, version, at: view.now }
        } else {
            Phase::Concluded { outcome: Outcome::RolledBack, version: experiment.baseline, at: view.now }
        };
        decision(if promotes { Action::Promote } else { Action::RollBack }, "heads", next, view.now)
    }
}

#[test]
fn an_engine_that_does_nothing_comes_out_of_no_scenario_as_expected() {
    for (name, seed, broken) in broken(&[], &|_| Box::new(Idle)) {
        assert!(!broken.is_empty(), "{name}, seed {seed}: to do nothing is enough");
    }
}

/// Weir, but its breaker rests.
#[derive(Default)]
struct WithoutBreaker(Assessor);

impl Policy for WithoutBreaker {
    fn name(&self) -> String {
        "without the breaker".to_owned()
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        let mut assessment = self.0.assess(experiment, state, view.observations, Depth::Decision);
        assessment.versions.iter_mut().for_each(|version| version.doubt = None);
        decide(experiment, state, &assessment, &view.health, view.now)
    }
}

/// Weir, but it asks once and then does what it likes.
#[derive(Default)]
struct AsksOnce {
    weir: Weir,
    asked: bool,
}

impl Policy for AsksOnce {
    fn name(&self) -> String {
        "asks once".to_owned()
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        if !std::mem::replace(&mut self.asked, true) {
            return decision(Action::Ask, "It waits for approval, of a simulated person.", state.clone(), view.now);
        }
        let free = Experiment { approvals: Approvals::default(), ..experiment.clone() };
        self.weir.look(&free, state, view)
    }
}

#[test]
fn an_engine_whose_breaker_rests_or_that_moves_without_approval_is_found_out() {
    let lacks = |name: &str, policy: &mut dyn Policy| {
        let gallery = gallery();
        let scenario = gallery.iter().find(|scenario| scenario.experiment.name == name).unwrap();
        expect::broken(scenario, &simulate(scenario, policy, scenario.seed, Watching::Words))
    };
    assert_eq!(lacks("broken", &mut WithoutBreaker::default()), ["it never did Trip"]);
    let found = lacks("approvals", &mut AsksOnce::default());
    assert!(found.len() == 1 && found[0].starts_with("nobody was asked before Shift at "), "{found:?}");
}

#[test]
fn an_engine_that_flips_coins_fails_every_scenario_at_one_seed_or_another() {
    let all = broken(&SEEDS, &|seed| Box::new(CoinFlips(seeded(seed))));
    for (name, ..) in &all {
        let fails = |(other, _, broken): &(String, u64, Vec<String>)| other == name && !broken.is_empty();
        assert!(all.iter().any(fails), "{name}: coins are enough");
    }
}

#[test]
fn the_unit_of_a_measure_changes_no_decision() {
    let text = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios/units.yaml"));
    let milliseconds = text.unwrap();
    let seconds = milliseconds.replace("median: 80", "median: 0.08").replace("median: 72", "median: 0.072");
    assert_ne!(milliseconds, seconds);
    let told = |text: &str| {
        let scenario = scenario::read(text).unwrap();
        let run = simulate(&scenario, &mut Weir::default(), 1, Watching::Outcome);
        (run.ending, run.version, run.ended_at_ms, run.requests)
    };
    assert_eq!(told(&milliseconds), told(&seconds));
}

#[test]
fn the_order_of_the_list_changes_who_wins_nowhere() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios/last-listed.yaml");
    let listed = std::fs::read_to_string(path).unwrap();
    let last = listed.replace("{name: v2}, {name: v3}", "{name: v3}, {name: v2}");
    assert_ne!(listed, last);
    for text in [listed, last] {
        let scenario = scenario::read(&text).unwrap();
        let run = simulate(&scenario, &mut Weir::default(), 1, Watching::Outcome);
        assert_eq!(run.versions[run.version].name, "v2");
    }
}
