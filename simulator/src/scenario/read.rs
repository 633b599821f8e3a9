//! From text to a scenario: one document of kind `Scenario`, and the experiment beside it in the same text or elsewhere.

use super::read_faults::{expect, faults};
use super::read_parts::{behaviour, drifts, traffic, users};
use super::{Behaviour, DEFAULT_DURATION_MS, DEFAULT_RATE, DEFAULT_USERS, DEFAULT_WORKERS, MOST_RATE, MOST_REQUESTS};
use super::{Scenario, Traffic, Users};
use weir_core::plan::Unit;
use weir_engine::document::place::{Fields, Place, nearest, shown};
use weir_engine::document::tree::{self, Node};
use weir_engine::document::{API_VERSION, BOUNDS, Problem, read_one};
use weir_engine::spec::Experiment;

/// The `kind` of a scenario.
pub(super) const KIND: &str = "Scenario";
/// Longest virtual time: 90 days, as an experiment's.
const MOST_DURATION_MS: u64 = 90 * super::course::DAY_MS;
const MOST_WORKERS: u64 = 1_000;

const FIELDS: [&str; 13] = [
    "apiVersion",
    "kind",
    "metadata",
    "traffic",
    "versions",
    "drift",
    "users",
    "workers",
    "faults",
    "duration",
    "interval",
    "seed",
    "expect",
];

/// Reads a scenario and its experiment from one text: two documents, in either order.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub fn read(text: &str) -> Result<Scenario, Vec<Problem>> {
    read_with(text, None)
}

/// The same, of an experiment that may stand elsewhere.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub fn read_with(text: &str, experiment: Option<&Experiment>) -> Result<Scenario, Vec<Problem>> {
    let mut problems = Vec::new();
    let read = read_text(text, experiment, &mut problems);
    match read {
        Some(scenario) if problems.is_empty() => Ok(scenario),
        _ => {
            if problems.is_empty() {
                problems.push(nowhere("this scenario cannot be read"));
            }
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(problems)
        }
    }
}

fn nowhere(message: impl Into<String>) -> Problem {
    Problem { line: 1, column: 1, path: String::new(), message: message.into() }
}

fn read_text(text: &str, elsewhere: Option<&Experiment>, problems: &mut Vec<Problem>) -> Option<Scenario> {
    let documents = tree::parse(text, BOUNDS, problems);
    let (scenarios, experiments): (Vec<&Node>, Vec<&Node>) =
        documents.iter().partition(|document| is_scenario(document));
    for extra in experiments.iter().skip(1) {
        Place::root(extra).problem(problems, "there is an experiment above already: a scenario has one");
    }
    for extra in scenarios.iter().skip(1) {
        Place::root(extra).problem(problems, "there is a scenario above already: keep one of them");
    }
    let experiment = match (experiments.first(), elsewhere) {
        (Some(extra), Some(_)) => {
            Place::root(extra).problem(problems, "the experiment was given elsewhere already: keep one of them");
            None
        }
        (Some(document), None) => read_one(document, problems),
        (None, Some(experiment)) => Some(experiment.clone()),
        (None, None) => {
            if problems.is_empty() {
                problems.push(nowhere(
                    "there is no experiment here: put its document and a line `---` before the scenario, or name its file",
                ));
            }
            None
        }
    };
    let Some(document) = scenarios.first() else {
        if problems.is_empty() {
            problems.push(nowhere(format!(
                "there is no scenario here: add a line `---`, `apiVersion: {API_VERSION}`, `kind: {KIND}` and what is simulated"
            )));
        }
        return None;
    };
    scenario(document, experiment.as_ref(), problems)
}

fn is_scenario(document: &Node) -> bool {
    Place::root(document).quiet("kind").and_then(|kind| kind.as_text()) == Some(KIND)
}

/// What is wrong with the scenario is said also where its experiment is wrong.
fn scenario(document: &Node, experiment: Option<&Experiment>, problems: &mut Vec<Problem>) -> Option<Scenario> {
    let root = Place::root(document);
    let fields = root.fields(&FIELDS, "a scenario", problems)?;
    let version = fields.require("apiVersion", &format!("`apiVersion: {API_VERSION}`"), problems);
    if let Some(place) = version
        && let Some(found) = place.text(&format!("`{API_VERSION}`"), problems)
        && found != API_VERSION
    {
        place.problem(problems, format!("{} is not known here: write `{API_VERSION}`", shown(found)));
    }
    if let Some(place) = fields.get("metadata") {
        place.fields(&["name", "labels", "annotations"], "`{name: …}`", problems)?;
    }
    let names: Option<Vec<&str>> =
        experiment.map(|experiment| experiment.versions.iter().map(|version| version.name.as_str()).collect());
    let mut duration = |name: &str, usual: u64, least: u64, most: u64| {
        fields.get(name).map_or(Some(usual), |place| place.duration(least..=most, problems))
    };
    let duration_ms = duration("duration", DEFAULT_DURATION_MS, 1_000, MOST_DURATION_MS);
    let interval_ms = duration("interval", super::TICK_MS, super::TICK_MS, 3_600_000);
    // Unknown: nothing is said to lie after it.
    let end = duration_ms.unwrap_or(u64::MAX);
    let usual = Traffic { per_second: DEFAULT_RATE, cycle: None, bursts: Vec::new() };
    let traffic = fields.get("traffic").map_or(Some(usual), |place| {
        let traffic = traffic(&place, end, problems)?;
        is_bearable(&traffic, end).map_err(|problem| place.problem(problems, problem)).ok().map(|()| traffic)
    });
    let versions = versions(&fields, names.as_deref(), end, problems);
    let drift = fields.get("drift").map_or(Some(Vec::new()), |place| drifts(&place, problems));
    let users = fields.get("users").map_or(Some(None), |place| users(&place, problems).map(Some));
    let workers =
        fields.get("workers").map_or(Some(u64::from(DEFAULT_WORKERS)), |place| place.whole(1..=MOST_WORKERS, problems));
    let faults = fields
        .get("faults")
        .map_or_else(|| Some(super::Faults::default()), |place| faults(&place, names.as_deref(), end, problems));
    let seed = fields.get("seed").map_or(Some(1), |place| place.whole(0..=u64::MAX, problems));
    let expect =
        fields.get("expect").map_or(Some(None), |place| expect(&place, names.as_deref(), end, problems).map(Some));
    let experiment = experiment?.clone();
    let users = users?.or_else(|| {
        (experiment.unit != Unit::Request).then(|| Users { count: DEFAULT_USERS, tail: None, kinds: Vec::new() })
    });
    Some(Scenario {
        experiment,
        traffic: traffic?,
        versions: versions?,
        drift: drift?,
        users,
        workers: u32::try_from(workers?).ok()?,
        faults: faults?,
        duration_ms: duration_ms?,
        interval_ms: interval_ms?,
        seed: seed?,
        expect: expect?,
    })
}

/// Says what is wrong with more traffic than a run can have.
fn is_bearable(traffic: &Traffic, end: u64) -> Result<(), String> {
    let (peak, all) = traffic.most(end.min(MOST_DURATION_MS));
    if peak > MOST_RATE {
        return Err(format!(
            "with its cycle and bursts it would be {peak:.3e} requests a second at its peak: at most {MOST_RATE:.0}"
        ));
    }
    if all > MOST_REQUESTS {
        return Err(format!(
            "it would be some {all:.1e} requests in all: at most {MOST_REQUESTS:.0e}; lower the rate or `duration`"
        ));
    }
    Ok(())
}

/// Behaviours in the experiment's order; whoever is not mentioned behaves as usual.
fn versions(
    fields: &Fields<'_>,
    names: Option<&[&str]>,
    end: u64,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Behaviour>> {
    let count = names.map_or(0, <[&str]>::len);
    let mut behaviours = vec![Behaviour::default(); count];
    let Some(place) = fields.get("versions") else { return Some(behaviours) };
    let entries = place.entries("versions and how they behave, as `{v1: {errors: 0.3%}}`", problems)?;
    let mut whole = true;
    for entry in entries {
        let at = place.entry(entry);
        let read = behaviour(&at, end, problems);
        // Without an experiment nobody knows the names.
        let Some(names) = names else { continue };
        let index = names.iter().position(|name| *name == entry.key);
        if index.is_none() {
            let hint = meant(&entry.key, names, entries.iter().map(|entry| entry.key.as_str()));
            at.problem(problems, format!("{} is not a version of the experiment{hint}", shown(&entry.key)));
        }
        match (read, index.and_then(|index| behaviours.get_mut(index))) {
            (Some(read), Some(slot)) => *slot = read,
            _ => whole = false,
        }
    }
    whole.then_some(behaviours)
}

/// Which version was meant: whoever is mentioned already was not. Where that leaves a choice, nobody is guessed.
fn meant<'a>(found: &str, names: &[&str], mentioned: impl Iterator<Item = &'a str>) -> String {
    let mentioned: Vec<&str> = mentioned.collect();
    let mut left = names.iter().copied().filter(|name| !mentioned.contains(name));
    let hint = match (left.next(), left.next()) {
        (Some(only), None) => nearest(found, [only].into_iter()),
        _ => String::new(),
    };
    if hint.is_empty() { format!("; it has {}", names.join(", ")) } else { hint }
}
