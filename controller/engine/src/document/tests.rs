//! What is read, with every default, and what holds for any text; `messages` has what a person is told.

mod counts;
mod messages;
mod rewards;
mod units;

use super::{MAX_TEXT, Problem, read};
use crate::spec::{Alpha, Approvals, Direction, Experiment, Limit, OnTimeout, Rule, Strategy};
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
    assert_eq!(experiment.strategy, usual_bandit(2_000));
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

#[test]
fn forms_are_read_as_people_write_them() {
    let experiment = one(&rewarded(
        "\
match:
  hosts: ['*.Shop.example', '*']
  paths: [{exact: /cart}, {prefix: /}]
  headers: [{name: X-Tenant, exact: acme corp}, {name: x-beta}]
  share: 0.0001%
unit: {cookie: uid}
strategy: {ab: {weights: {v2: 0.3, v1: 70%}}}
alpha: {rollBack: 10%}
measure: headers
failure: {codes: [429, 500-504], grpc: []}
override: {header: x-tester}
maxDuration: 90d",
    ));
    assert_eq!(experiment.matching.hosts, ["*.shop.example", "*"]);
    assert_eq!(experiment.matching.paths, [PathMatch::Exact("/cart".to_owned()), PathMatch::Prefix("/".to_owned())]);
    let headers = [
        HeaderMatch { name: "x-tenant".to_owned(), exact: Some("acme corp".to_owned()) },
        HeaderMatch { name: "x-beta".to_owned(), exact: None },
    ];
    assert_eq!(experiment.matching.headers, headers);
    assert_eq!(experiment.matching.share_ppm, 1);
    assert_eq!(experiment.unit, Unit::Cookie("uid".to_owned()));
    assert_eq!(experiment.strategy, Strategy::Ab { weights: vec![7_000, 3_000] });
    assert_eq!(experiment.alpha, Alpha { roll_back: 0.1, promotion: 0.05 });
    assert_eq!(experiment.measure, Measure::Headers);
    assert_eq!(experiment.failure, FailureRules { codes: vec![(429, 429), (500, 504)], grpc: vec![] });
    assert_eq!(experiment.override_header.as_deref(), Some("x-tester"));
}

fn usual_bandit(max_step: u32) -> Strategy {
    Strategy::Bandit { rule: Rule::Thompson, floor: 500, max_step, half_life_ms: Some(86_400_000) }
}

#[test]
fn the_strategy_has_short_forms_and_defaults_that_fit_the_number_of_versions() {
    let strategy = |lines: &str| one(&rewarded(lines)).strategy;
    assert_eq!(strategy(""), usual_bandit(2_000));
    assert_eq!(strategy("strategy: bandit"), usual_bandit(2_000));
    assert_eq!(strategy("strategy: {bandit: {maxStep: 100%}}"), usual_bandit(10_000));
    assert_eq!(strategy("strategy: ab"), Strategy::Ab { weights: vec![5_000, 5_000] });
    assert_eq!(strategy("strategy: {ab: {}}"), Strategy::Ab { weights: vec![5_000, 5_000] });
    assert_eq!(strategy("strategy: canary"), Strategy::Canary { steps: vec![100, 500, 2_500, 5_000] });
    assert_eq!(strategy("strategy: {canary: {steps: [0.01%, 99%]}}"), Strategy::Canary { steps: vec![1, 9_900] });
    let three = rewarded("strategy: canary").replace("    - name: v2\n", "    - name: v2\n    - name: v3\n");
    assert_eq!(one(&three).strategy, Strategy::Canary { steps: vec![100, 500, 2_500] });
}

#[test]
fn a_bandit_has_a_rule_and_a_half_life() {
    let strategy = |lines: &str| one(&rewarded(lines)).strategy;
    let bandit = |rule, half_life_ms| Strategy::Bandit { rule, floor: 500, max_step: 2_000, half_life_ms };
    assert_eq!(strategy("strategy: {bandit: {rule: topTwo, halfLife: 6h}}"), bandit(Rule::TopTwo, Some(21_600_000)));
    assert_eq!(strategy("strategy: {bandit: {rule: uniform, halfLife: never}}"), bandit(Rule::Uniform, None));
}

#[test]
fn people_approve_where_the_document_says_so_and_time_ends_as_it_says() {
    let usual = one(LEAST);
    assert_eq!((usual.approvals, usual.on_timeout, usual.priority), (Approvals::default(), OnTimeout::RollBack, 0));
    let asked = one(&with("approvals: {start: true, promotion: true}\nonTimeout: pause\npriority: -7"));
    assert_eq!(asked.approvals, Approvals { start: true, step: false, promotion: true });
    assert_eq!((asked.on_timeout, asked.priority), (OnTimeout::Pause, -7));
}

#[test]
fn the_baseline_may_be_what_carries_no_header() {
    let experiment = one(&LEAST.replace("baseline: true", "baseline: true\n      headers: {}"));
    assert_eq!(experiment.versions[0].headers, []);
}

#[test]
fn labels_and_annotations_are_left_to_kubernetes() {
    let text = LEAST.replace("  name: small", "  name: small\n  labels: {team: a}\n  annotations: {x/y: '{}'}");
    assert_eq!(one(&text), one(LEAST));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_text() {
    let text = "\
apiVersion: weir.dev/v1
kind: Experiment
metadata: {name: Checkout}
spec:
  servise: checkout
  versions:
    - {name: v1, baselin: true}
    - {name: v1}
    - {baseline: yes}
  strategy: {bandit: {floor: 40%, maxStep: 0.5%}}
  alpha: 0.7
  deadline: 15
";
    let expected = "\
1:13: apiVersion: `weir.dev/v1` is not known here: write `weir.dev/v1alpha1`
3:18: metadata.name: `Checkout` is not a name of 1 to 63 lower-case letters, digits and dashes that begins and ends with a letter or a digit
5:3: spec: unknown field `servise`; did you mean `service`?
7:18: spec.versions[0]: unknown field `baselin`; did you mean `baseline`?
8:14: spec.versions[1].name: a version named `v1` is already above
9:7: spec.versions[2]: the field `name` is missing: write the version's name, as `name: v2`
9:18: spec.versions[2].baseline: expected `true` or `false`, found `yes`
10:13: spec.strategy: a bandit follows a reward, and there is none: write `reward: {responseHeader: …, direction: maximize}`
10:30: spec.strategy.bandit.floor: a floor of `40%` for each of 3 versions is 120%, more than there is: lower it to 33% or less
10:44: spec.strategy.bandit.maxStep: `0.5%` is not within 1% to 100%
11:10: spec.alpha: `0.7` must be more than 0% and at most 50%
12:13: spec.deadline: `15` is not a duration: write a whole number and a unit, as in `250ms`, `15s`, `2m`, `1h` or `7d`
";
    assert_eq!(told(&problems(text)), expected);
}

#[test]
fn what_is_no_experiment_at_all_is_said_to_be_none() {
    let expected =
        "1:1: there is no experiment here: begin with `apiVersion: weir.dev/v1alpha1` and `kind: Experiment`\n";
    for text in ["", "\n\n", "# only a comment\n", "---\n---\n", "null", "\u{feff}"] {
        assert_eq!(told(&problems(text)), expected, "{text:?}");
    }
    let expected =
        "1:1: expected an experiment (`apiVersion: weir.dev/v1alpha1`, `kind: Experiment`, `metadata`, `spec`), found";
    for text in ["hello", "[1, 2]", "5"] {
        assert!(told(&problems(text)).starts_with(expected), "{text:?}");
    }
}

#[test]
fn two_experiments_of_one_name_are_refused() {
    let found = problems(&format!("{LEAST}---\n{LEAST}"));
    assert_eq!(told(&found), "15:1: an experiment named `small` is already above: give this one another name\n");
}

#[test]
fn what_is_too_large_too_deep_or_too_much_is_refused_quickly() {
    let large = format!("# {}\n{LEAST}", "x".repeat(MAX_TEXT));
    assert!(told(&problems(&large)).starts_with("1:1: the text has "));
    for (piece, close) in [("[", ""), ("{a: ", ""), ("- ", ""), ("? ", ""), ("[", "]"), ("{", ""), ("a:\n ", "")] {
        let text = piece.repeat(100_000 / piece.len()) + &close.repeat(100_000 / piece.len());
        assert!(!problems(&text).is_empty(), "{piece}");
    }
    assert!(told(&problems(&"[".repeat(40))).contains("nested too deeply: at most 32 levels"));
    let many = format!("[{}1]", "1, ".repeat(50_000));
    assert!(told(&problems(&many)).contains("this is too much: at most 20000 values"));
}

#[test]
fn no_more_than_a_hundred_problems_are_told() {
    let unknown: String = (0..500).map(|number| format!("q{number}: 1\n")).collect();
    assert_eq!(problems(&unknown).len(), super::MAX_PROBLEMS);
}

/// Pieces that bad documents are made of: what the readers look for, and what YAML trips over.
fn pieces() -> Vec<&'static str> {
    let mut pieces: Vec<&str> = CHECKOUT.split_inclusive([' ', '\n', ':', ',', '{', '}', '[', ']']).collect();
    pieces.extend([
        "\n",
        "  ",
        "\t",
        "\r\n",
        "- ",
        "? ",
        ": ",
        "&a ",
        "*a ",
        "!!str ",
        "!",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "\\",
        "\u{0}",
        "é",
        "😀",
        "\u{feff}",
        "\u{2028}",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "%",
        "@",
        "`",
        "<<: ",
        "~",
        "null",
        "-1",
        "1e999",
        "99999999999999999999",
        "0.1%",
        "💧: ",
        "#",
        "canary: ",
        "steps: ",
        "ab",
        "weights: ",
        "override: ",
        "measure: ",
    ]);
    pieces
}

/// What holds for any text at all.
fn holds_for(text: &str) {
    let lines = text.split(['\n', '\r']).count();
    if let Err(problems) = read(text) {
        assert!(!problems.is_empty(), "{text:?}");
        for problem in &problems {
            assert!((1..=lines + 1).contains(&problem.line), "{text:?}: {problem}");
            assert!(problem.column >= 1 && !problem.message.is_empty(), "{text:?}: {problem}");
        }
        assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)), "{text:?}");
    }
}

// Random cases run natively only; proptest draws its seed from the operating system.
#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read_or_refused_with_lines(text in ".{0,200}") {
        holds_for(&text);
    }

    #[test]
    fn any_mix_of_pieces_is_read_or_refused_with_lines(
        mix in proptest::collection::vec(proptest::sample::select(pieces()), 0..60),
    ) {
        holds_for(&mix.concat());
    }

    #[test]
    fn any_damage_to_a_good_document_is_survived(
        at in 0..CHECKOUT.len(), length in 0_usize..30, piece in proptest::sample::select(pieces()),
    ) {
        let end = (at + length).min(CHECKOUT.len());
        let damaged = format!("{}{piece}{}", &CHECKOUT[..at], &CHECKOUT[end..]);
        holds_for(&damaged);
        // What is accepted in spite of it is an experiment that a plan can carry.
        for experiment in read(&damaged).unwrap_or_default() {
            let planned = crate::planning::planned(&experiment, "id", &crate::state::State::begin(&experiment, 0));
            let plan = weir_core::plan::Plan { experiments: vec![planned], ..weir_core::plan::Plan::empty("r") };
            assert_eq!(plan.validate(), Ok(()), "{damaged}");
        }
    }
}

#[test]
fn every_example_of_the_reference_is_an_experiment() {
    let reference = include_str!("../../../../docs/experiment.md");
    let examples: Vec<&str> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    for example in examples {
        one(example);
    }
}
