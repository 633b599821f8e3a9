//! How much traffic, how long? An experiment is simulated at several sizes of an effect.

use crate::many::{self, Many};
use crate::policy::Name;
use crate::scenario::{Behaviour, DEFAULT_USERS, DEFAULT_WORKERS, Faults, Scenario, Traffic, Users};
use serde::Serialize;
use weir_engine::spec::Experiment;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The experiment.
    pub experiment: Experiment,
    /// Requests per second.
    pub per_second: f64,
    /// How the baseline behaves, and every candidate but the first.
    pub baseline: Behaviour,
    /// How the first candidate may behave, each with a name.
    pub effects: Vec<(String, Behaviour)>,
    /// Virtual milliseconds, at most.
    pub duration_ms: u64,
    /// Runs for each effect.
    pub runs: u64,
    /// Seeds them.
    pub seed: u64,
}

/// What an effect leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The effect's name.
    pub effect: String,
    /// What came out.
    #[serde(flatten)]
    pub many: Many,
}

/// Simulates each effect. `progress` hears how many runs of all are done.
#[must_use]
pub fn ask(question: &Question, progress: &(dyn Fn(u64) + Sync)) -> Vec<Answer> {
    let mut before = 0;
    let answer = |(effect, behaviour): &(String, Behaviour)| {
        let scenario = scenario(question, behaviour);
        let many = many::run(&scenario, Name::Weir, question.runs, &|done| progress(before + done));
        before += question.runs;
        Answer { effect: effect.clone(), many }
    };
    question.effects.iter().map(answer).collect()
}

fn scenario(question: &Question, behaviour: &Behaviour) -> Scenario {
    let experiment = question.experiment.clone();
    let first = (0..experiment.versions.len()).find(|version| *version != experiment.baseline);
    let versions = (0..experiment.versions.len())
        .map(|version| if Some(version) == first { behaviour.clone() } else { question.baseline.clone() })
        .collect();
    let users =
        (!experiment.requests_are_units()).then(|| Users { count: DEFAULT_USERS, tail: None, kinds: Vec::new() });
    // Looks do not have to be closer than bins: nothing settles in between.
    let interval_ms = experiment.bin_ms.clamp(1_000, 10_000);
    Scenario {
        experiment,
        traffic: Traffic { per_second: question.per_second, cycle: None, bursts: Vec::new() },
        versions,
        drift: Vec::new(),
        users,
        workers: DEFAULT_WORKERS,
        faults: Faults::default(),
        duration_ms: question.duration_ms,
        interval_ms,
        seed: question.seed,
        expect: None,
    }
}
