//! A scenario of fifteen lines works; whatever is wrong is said with its line, and all of it at once.

use super::*;
use crate::run::Ending;

const EXPERIMENT: &str = "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: checkout
  versions: [{name: v1, baseline: true}, {name: v2}]
  guardrails: [{name: errors, errorRate: {ratio: 1, margin: 0.5%}}]
---
apiVersion: weir.dev/v1alpha1
kind: Scenario
";

fn with(rest: &str) -> Result<Scenario, Vec<String>> {
    read(&format!("{EXPERIMENT}{rest}")).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_scenario_of_fifteen_lines_has_sensible_defaults() {
    let scenario = with("traffic: 50/s\nversions:\n  v2: {errors: 1.5%}\n").unwrap();
    assert_eq!((scenario.traffic.per_second, scenario.versions[1].errors), (50.0, 0.015));
    assert_eq!((scenario.versions[0].errors, scenario.versions[0].latency[0].median), (0.0, 80.0));
    assert_eq!((scenario.workers, scenario.interval_ms, scenario.seed), (4, 1_000, 1));
    assert!(scenario.users.is_none() && scenario.faults == Faults::default());
}

#[test]
fn everything_that_can_be_said_is_read() {
    let scenario = with(
        "traffic: {rate: 300/m, daily: {swing: 80%, peak: 14h}, bursts: [{from: 1h, until: 70m, every: 2h, factor: 5}]}
drift: {period: 1h, errors: 50%}
users: {count: 500, tail: 1.1, kinds: [{share: 9%, errors: 20}]}
workers: 2
duration: 2h
interval: 5s
seed: 7
versions:
  v1:
    errors: 1%
    latency: [{weight: 95%, median: 80ms, sigma: 0.4}, {weight: 5%, median: 2s}]
    errorLatency: 1ms
  v2:
    conversion: 5%
    reward: {median: 20, sigma: 1}
    incidents: [{from: 10m, until: 20m, errors: 10, latency: 3}]
    leak: {from: 1h, doubles: 30m, what: both}
    drift: [{errors: 10%}, {period: 2h, latency: 10%}]
    bad: true
faults:
  lostReports: 5%
  partitions: [{from: 10m, until: 20m, share: 50%}]
  silences: [{from: 10m, until: 20m}]
  deaths: [{at: 30m, share: 25%}]
  controller: [{from: 40m, until: 41m}]
expect: {outcome: rolledBack, version: v1, rolledBack: [v2], by: 1h, notBefore: 1m, holds: [{from: 10m, until: 20m}]}
",
    )
    .unwrap();
    assert_eq!(scenario.traffic.per_second, 5.0);
    assert_eq!(scenario.versions[0].latency.len(), 2);
    assert_eq!(scenario.versions[1].drift.len(), 2);
    assert_eq!(scenario.versions[1].bad, Some(true));
    assert_eq!(scenario.faults.deaths, [Death { at_ms: 1_800_000, share: 0.25 }]);
    let expect = scenario.expect.unwrap();
    assert_eq!((expect.outcome, expect.rolled_back), (Some(Ending::RolledBack), Some(vec![1])));
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line_and_the_nearest_name() {
    let problems =
        with("trafic: 50/s\nversions:\n  v3: {erors: 1%}\nfaults: {lostReports: 5, deaths: [{share: 1%}]}\n");
    let problems = problems.unwrap_err();
    for (problem, expected) in problems.iter().zip([
        "11:1: unknown field `trafic`; did you mean `traffic`?",
        "13:7: versions.v3: `v3` is not a version of the experiment; it has v1, v2",
        "13:8: versions.v3: unknown field `erors`; did you mean `errors`?",
        "14:23: faults.lostReports: ",
        "14:35: faults.deaths[0]: the field `at` is missing: write when, as `at: 1h`",
    ]) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    assert_eq!(problems.len(), 5, "{problems:#?}");
}

#[test]
fn what_is_missing_is_named() {
    let experiment = EXPERIMENT.split("---").next().unwrap();
    let alone = "apiVersion: weir.dev/v1alpha1\nkind: Scenario\n";
    let message = |text: &str| read(text).unwrap_err()[0].message.clone();
    assert!(message(experiment).contains("there is no scenario here"));
    assert!(message(alone).contains("there is no experiment here"));
    assert!(message(&format!("{EXPERIMENT}---\n{alone}")).contains("a scenario above already"));
    let known = read(EXPERIMENT).unwrap().experiment;
    assert!(read_with(alone, Some(&known)).is_ok());
    assert!(read_with(EXPERIMENT, Some(&known)).unwrap_err()[0].message.contains("given elsewhere"));
}

#[test]
fn courses_are_what_they_say() {
    let scenario = with(
        "traffic: {rate: 100/s, daily: {swing: 50%, peak: 14h}, bursts: [{from: 1h, until: 2h, every: 4h, factor: 3}]}
versions: {v2: {errors: 1%, leak: {from: 1h, doubles: 1h}, incidents: [{from: 0s, until: 1m, latency: 10}]}}\n",
    )
    .unwrap();
    let hour = 3_600_000;
    assert!((scenario.traffic.rate_at(14 * hour) - 150.0 * 3.0 / 3.0).abs() < 1e-9);
    assert!((scenario.traffic.rate_at(2 * hour) - 50.0).abs() < 1e-9);
    assert!((scenario.traffic.rate_at(5 * hour) / scenario.traffic.rate_at(23 * hour) - 3.0).abs() < 1e-9);
    let factors = |at: u64| scenario.factors_at(1, at);
    assert_eq!((factors(0).errors, factors(0).latency), (1.0, 10.0));
    assert_eq!((factors(3 * hour).errors, factors(3 * hour).latency), (4.0, 1.0));
}

#[test]
fn what_lies_after_the_end_of_the_simulation_is_refused_with_its_place() {
    let problems = with(
        "duration: 2h
traffic: {rate: 5/s, bursts: [{from: 2h, until: 3h, factor: 2}]}
versions: {v2: {leak: {from: 3h, doubles: 1h}, incidents: [{from: 1h, until: 4h}, {from: 2h, until: 4h}]}}
faults:
  silences: [{from: 3h, until: 4h}]
  deaths: [{at: 2h}]
  clockSteps: [{at: 5h, forward: 1m}]
expect: {holds: [{from: 3h, until: 4h}]}
",
    );
    let problems = problems.unwrap_err();
    let places = ["traffic.bursts[0].from", "v2.incidents[1].from", "v2.leak.from", "silences[0].from", "deaths[0].at"];
    for place in places.into_iter().chain(["clockSteps[0].at", "holds[0].from"]) {
        let said = |problem: &String| problem.contains(place) && problem.contains("`duration` is 2h");
        assert!(problems.iter().any(said), "{place}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn more_traffic_than_a_run_can_have_is_refused_whatever_it_is_made_of() {
    let message = |rest: &str| with(rest).unwrap_err().join("\n");
    let bursts = "traffic: {rate: 1000/s, bursts: [{from: 1h, until: 2h, factor: 2000}]}\n";
    assert!(message(bursts).contains("at its peak"), "{}", message(bursts));
    let cycle = "traffic: {rate: 700000/s, daily: {swing: 80%}}\nduration: 1h\n";
    assert!(message(&cycle.replace("1h", "20h")).contains("at its peak"));
    assert!(message("traffic: 5000/s\nduration: 90d\n").contains("requests in all"));
    assert!(with("traffic: {rate: 100/s, bursts: [{from: 1h, until: 61m, factor: 10000}]}\n").is_ok());
}

#[test]
fn clocks_and_unrecorded_requests_are_read_and_say_what_they_lack() {
    let scenario = with(
        "faults:
  clocks: [{share: 50%, behind: 1m}]
  clockSteps: [{at: 1h, forward: 10m}, {at: 2h, back: 4m}]
  unrecorded: [{version: v2, share: 20%, from: 1h, until: 2h}]
",
    );
    let faults = scenario.unwrap().faults;
    assert_eq!([0, 1, 2, 3].map(|worker| faults.clock_of(worker, 4)), [-60_000, -60_000, 0, 0]);
    let hour = 3_600_000;
    assert_eq!([0, hour, 2 * hour].map(|now| faults.controllers_clock(now)), [0, 600_000, 360_000]);
    let lost = faults.unrecorded_at(hour, 2);
    assert!(lost[0] == 0.0 && (lost[1] - 0.2).abs() < 1e-12 && faults.unrecorded_at(2 * hour, 2).is_empty());
    let problems = with("faults: {clocks: [{share: 1%}], unrecorded: [{version: v3, share: 1%}]}\n").unwrap_err();
    assert!(problems[0].contains("write `ahead: 1m` or `behind: 1m`"), "{problems:?}");
    assert!(problems[1].contains("`v3` is not a version"), "{problems:?}");
}

#[test]
fn a_leak_without_end_leaves_numbers() {
    let scenario = with("versions: {v2: {errors: 0%, leak: {doubles: 1s}}}\n").unwrap();
    assert!(scenario.factors_at(1, 20 * 3_600_000).errors.is_finite());
    // Infinitely many times nothing would be no number, and count as all.
    assert_eq!(crate::truth::bad(&scenario), [false, false]);
}

#[test]
fn the_version_that_is_meant_is_one_that_nothing_is_said_of_yet() {
    let problems = with("versions:\n  v1: {errors: 1%}\n  v3: {errors: 1%}\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with("`v3` is not a version of the experiment; did you mean `v2`?"), "{problems:?}");
    let all = with("versions:\n  v1: {errors: 1%}\n  v2: {errors: 1%}\n  v3: {errors: 1%}\n").unwrap_err();
    assert!(all[0].ends_with("; it has v1, v2"), "{all:?}");
}

#[test]
fn what_must_be_said_done_and_got_is_read_and_asked_for() {
    let scenario = with(
        "expect: {says: [evidence, never], does: [ask], got: [{version: v2, least: 10%, most: 20%, requests: 5, settled: 3}]}\n",
    )
    .unwrap();
    let run = crate::simulate(&scenario, &mut crate::policy::Weir::default(), 1, crate::Watching::Words);
    let broken = crate::expect::broken(&scenario, &run).join("\n");
    assert!(broken.contains("nobody said \"never\"") && !broken.contains("said \"evidence\""), "{broken}");
    assert!(broken.contains("it never did Ask"), "{broken}");
    assert!(broken.contains("more than 5") && !broken.contains("have settled"), "{broken}");
    assert!(with("expect: {does: [dance]}\n").unwrap_err()[0].contains("trip"));
}
