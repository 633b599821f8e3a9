//! What is read, and every message that a person may see.

use super::{MAX_TEXT, Problem, read};
use crate::spec::{Alpha, Direction, Experiment, Limit, Strategy};
use weir_core::plan::{FailureRules, Header, HeaderMatch, Match, Measure, PathMatch, RewardSource, Unit};

const CHECKOUT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: checkout
  match: {hosts: [shop.example], paths: [{prefix: /}], share: 100%}
  unit: request                    # or {header: x-user} or {cookie: uid}
  versions:
    - {name: v1, baseline: true, headers: {x-weir-version: v1}}
    - {name: v2}
    - {name: v3}
  strategy: {bandit: {floor: 5%, maxStep: 20%}}
  objectives: [{name: errors, errorRate: {max: 2%}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
  alpha: 0.05
  deadline: 2s
  bin: 1s
  minExposures: 200
  maxDuration: 7d
  failure: {codes: [500-599], grpc: [2, 4, 12, 13, 14, 15]}
";

/// The least that is an experiment.
const LEAST: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata:
  name: small
spec:
  service: small
  versions:
    - name: v1
      baseline: true
    - name: v2
  objectives:
    - name: errors
      errorRate: {max: 1%}
";

/// The experiment of a text that holds one.
fn one(text: &str) -> Experiment {
    let mut experiments = read(text).unwrap_or_else(|problems| panic!("{text}\n{}", told(&problems)));
    assert_eq!(experiments.len(), 1);
    experiments.remove(0)
}

/// The least experiment with further lines in its `spec`.
fn with(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{LEAST}{indented}")
}

/// With a reward too.
fn rewarded(lines: &str) -> String {
    with(&format!("reward: {{responseHeader: x-reward, direction: maximize}}\n{lines}"))
}

/// Problems as a person sees them.
fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn problems(text: &str) -> Vec<Problem> {
    read(text).expect_err(text)
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn the_example_is_read_with_everything_it_says() {
    let experiment = one(CHECKOUT);
    assert_eq!(experiment.name, "checkout");
    assert_eq!(experiment.service, "checkout");
    assert_eq!(experiment.matching.hosts, ["shop.example"]);
    assert_eq!(experiment.matching.paths, [PathMatch::Prefix("/".to_owned())]);
    assert_eq!(experiment.matching.share_ppm, 1_000_000);
    assert_eq!(experiment.unit, Unit::Request);
    let names: Vec<&str> = experiment.versions.iter().map(|version| version.name.as_str()).collect();
    assert_eq!(names, ["v1", "v2", "v3"]);
    assert_eq!(experiment.versions[2].headers, [header("x-weir-version", "v3")]);
    assert_eq!(experiment.baseline, 0);
    assert_eq!(experiment.strategy, Strategy::Bandit { floor: 500, max_step: 2_000 });
    assert_eq!(experiment.objectives[0].limit, Limit::ErrorRate { max: 0.02 });
    let reward = experiment.reward.expect("a reward");
    assert_eq!(reward.source, RewardSource::ResponseHeader("x-weir-reward".to_owned()));
    assert_eq!(reward.direction, Direction::Maximize);
    assert_eq!(experiment.alpha, Alpha { roll_back: 0.05, promotion: 0.05 });
    assert_eq!((experiment.deadline_ms, experiment.bin_ms), (2_000, 1_000));
    assert_eq!((experiment.min_exposures, experiment.max_duration_ms), (200, 604_800_000));
    assert_eq!(experiment.failure, FailureRules::default());
}

#[test]
fn the_least_experiment_gets_every_default() {
    let experiment = one(LEAST);
    assert_eq!(experiment.strategy, Strategy::Canary { steps: vec![100, 500, 2_500, 5_000] });
    assert_eq!(experiment.matching, Match::default());
    assert_eq!(experiment.unit, Unit::Request);
    assert_eq!((experiment.deadline_ms, experiment.bin_ms), (15_000, 10_000));
    assert_eq!((experiment.min_exposures, experiment.max_duration_ms), (100, 604_800_000));
    assert_eq!(experiment.measure, Measure::End);
    assert_eq!(experiment.override_header, None);
    assert_eq!(experiment.versions[0].headers, [header("x-weir-version", "v1")]);
}

#[test]
fn a_document_may_be_json() {
    let text = r#"{"apiVersion":"weir.dev/v1alpha1","kind":"Experiment","metadata":{"name":"j"},
        "spec":{"service":"s","versions":[{"name":"a","baseline":true},{"name":"b"}],
        "objectives":[{"name":"e","errorRate":{"max":0.02}}],"alpha":5e-2,"minExposures":10,"deadline":"2s"}}"#;
    let experiment = one(text);
    assert_eq!(experiment.objectives[0].limit, Limit::ErrorRate { max: 0.02 });
    assert_eq!(experiment.alpha.promotion, 0.05);
    assert_eq!(experiment.min_exposures, 10);
}

#[test]
fn several_documents_in_one_text_are_several_experiments() {
    let text = format!("---\n{CHECKOUT}---\n# nothing here\n---\n{LEAST}...\n");
    let names: Vec<String> =
        read(&text).expect("two experiments").into_iter().map(|experiment| experiment.name).collect();
    assert_eq!(names, ["checkout", "small"]);
}
