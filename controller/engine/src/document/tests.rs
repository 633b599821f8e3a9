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

#[test]
fn the_strategy_has_short_forms_and_defaults_that_fit_the_number_of_versions() {
    let strategy = |lines: &str| one(&rewarded(lines)).strategy;
    assert_eq!(strategy(""), Strategy::Bandit { floor: 500, max_step: 2_000 });
    assert_eq!(strategy("strategy: bandit"), Strategy::Bandit { floor: 500, max_step: 2_000 });
    assert_eq!(strategy("strategy: {bandit: {maxStep: 100%}}"), Strategy::Bandit { floor: 500, max_step: 10_000 });
    assert_eq!(strategy("strategy: ab"), Strategy::Ab { weights: vec![5_000, 5_000] });
    assert_eq!(strategy("strategy: {ab: {}}"), Strategy::Ab { weights: vec![5_000, 5_000] });
    assert_eq!(strategy("strategy: canary"), Strategy::Canary { steps: vec![100, 500, 2_500, 5_000] });
    assert_eq!(strategy("strategy: {canary: {steps: [0.01%, 99%]}}"), Strategy::Canary { steps: vec![1, 9_900] });
    let three = rewarded("strategy: canary").replace("    - name: v2\n", "    - name: v2\n    - name: v3\n");
    assert_eq!(one(&three).strategy, Strategy::Canary { steps: vec![100, 500, 2_500] });
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
10:30: spec.strategy.bandit.floor: a floor of `40%` for each of 3 versions is 120%, more than there is: lower it to 33.33% or less
10:44: spec.strategy.bandit.maxStep: `0.5%` is not within 1% to 100%
11:10: spec.alpha: `0.7` must be more than 0% and at most 50%
12:13: spec.deadline: `15` is not a duration: write a whole number and a unit, as in `250ms`, `15s`, `2m`, `1h` or `7d`
";
    assert_eq!(told(&problems(text)), expected);
}

/// One bad field each: what is appended to the `spec` of [`LEAST`] (which ends in line 13), and all that is said.
const BAD: &[(&str, &str)] = &[
    ("strategy: bandits", "14:13: spec.strategy: unknown strategy `bandits`; did you mean `bandit`?"),
    ("strategy: {}", "14:13: spec.strategy: write exactly one of `bandit`, `canary` or `ab`, or one of them with its details as in `{bandit: {floor: 5%}}`"),
    ("strategy: {canary: {}, ab: {}}", "14:13: spec.strategy: write exactly one of `bandit`, `canary` or `ab`, or one of them with its details as in `{bandit: {floor: 5%}}`"),
    ("strategy: {ladder: {}}", "14:14: spec.strategy: unknown field `ladder`; known here: `bandit`, `canary`, `ab`"),
    ("strategy: ab", "14:13: spec.strategy: an A/B test compares rewards, and there is none: write `reward: {responseHeader: …, direction: maximize}`"),
    ("strategy: {canary: {steps: [5%, 5%]}}", "14:35: spec.strategy.canary.steps[1]: steps must rise: this one is not above 5%"),
    ("strategy: {canary: {steps: [50%, 100%]}}", "14:36: spec.strategy.canary.steps[1]: `100%` is too much: every candidate gets it, and the baseline keeps at least 1%; write at most 99%"),
    ("strategy: {canary: {steps: []}}", "14:30: spec.strategy.canary.steps: a list of 0; 1 to 20 entries are allowed"),
    ("strategy: {canary: {steps: [1]}}", "14:31: spec.strategy.canary.steps[0]: `1` is neither a percentage nor below 1: write a percentage such as `2%`, or a fraction below 1 such as `0.02`"),
    ("strategy: {canary: {steps: [0.001%]}}", "14:31: spec.strategy.canary.steps[0]: `0.001%` is not within 0.01% to 100%"),
    ("strategy: {canary: {steps: [1.005%]}}", "14:31: spec.strategy.canary.steps[0]: `1.005%` is finer than the smallest step, 0.01%"),
    ("alpha: 0", "14:10: spec.alpha: `0` must be more than 0% and at most 50%"),
    ("alpha: {rollback: 0.1}", "14:11: spec.alpha: unknown field `rollback`; did you mean `rollBack`?"),
    ("alpha: [0.1]", "14:10: spec.alpha: expected a probability of error such as `0.05`, or `{rollBack: 0.05, promotion: 0.01}`, found a list"),
    ("deadline: 2h", "14:13: spec.deadline: `2h` is not within 1ms to 1h"),
    ("deadline:\nbin: 1s", "14:3: spec.deadline: there is no value: write a duration such as `250ms` or `15s`, or leave the field out"),
    ("bin: 99ms", "14:8: spec.bin: `99ms` is not within 100ms to 1h"),
    ("maxDuration: 30s", "14:16: spec.maxDuration: `30s` is not within 1m to 90d"),
    ("maxDuration: 1m\nbin: 1h", "14:16: spec.maxDuration: `maxDuration` ends before the first bin settles: make it longer than `deadline` and `bin` together"),
    ("minExposures: 0", "14:17: spec.minExposures: `0` is not a whole number within 1 to 1000000000"),
    ("minExposures: 1e3", "14:17: spec.minExposures: `1e3` is not a whole number within 1 to 1000000000"),
    ("measure: body", "14:12: spec.measure: expected `end` or `headers`, found `body`"),
    ("failure: {codes: [5xx]}", "14:21: spec.failure.codes[0]: `5xx` is not a status code or a range within 100 to 599, as `429` or `500-599`"),
    ("failure: {codes: [599-500]}", "14:21: spec.failure.codes[0]: `599-500` is not a status code or a range within 100 to 599, as `429` or `500-599`"),
    ("failure: {grpc: [0]}", "14:20: spec.failure.grpc[0]: `0` is not a whole number within 1 to 16"),
    ("override: x-test", "14:13: spec.override: expected `{header: x-weir-override}`, found `x-test`"),
    ("override: {header: X-Weir-Version}", "14:13: spec.override: `x-weir-version` routes requests to versions; a client cannot send it: use another header"),
    ("unit: {header: x-weir-version}", "14:9: spec.unit: `x-weir-version` routes requests to versions; a client cannot send it: use another header"),
    ("match: {headers: [{name: x-weir-version}]}", "14:28: spec.match.headers[0].name: `x-weir-version` routes requests to versions; a client cannot send it: use another header"),
    ("unit: user", "14:9: spec.unit: `user` is not a unit: write `request`, `{header: x-user}` or `{cookie: uid}`"),
    ("unit: {header: a, cookie: b}", "14:9: spec.unit: write one of `request`, `{header: x-user}` or `{cookie: uid}`"),
    ("unit: {header: host}", "14:18: spec.unit.header: `host` is not the name of a header that may be used: write letters, digits, `-`, `_` or `.`, and none that carries the request itself (as `host` does)"),
    ("unit: {cookie: a=b}", "14:18: spec.unit.cookie: `a=b` is not the name of a cookie"),
    ("match: {host: [a]}", "14:11: spec.match: unknown field `host`; did you mean `hosts`?"),
    ("match: {hosts: ['https://a']}", "14:19: spec.match.hosts[0]: `https://a` is not a host: write `shop.example`, `*.shop.example` or `*`, without a port or a scheme"),
    ("match: {hosts: a}", "14:18: spec.match.hosts: expected a list of hosts, found `a`"),
    ("match: {paths: [/cart]}", "14:19: spec.match.paths[0]: expected `{prefix: /cart}` or `{exact: /cart}`, found `/cart`"),
    ("match: {paths: [{prefix: cart}]}", "14:28: spec.match.paths[0].prefix: `cart` is not a path: begin with `/`, and leave the query out"),
    ("match: {paths: [{}]}", "14:19: spec.match.paths[0]: write one of `{prefix: /cart}` or `{exact: /cart}`"),
    ("match: {headers: [{exact: a}]}", "14:21: spec.match.headers[0]: the field `name` is missing: write the name of a request header"),
    ("match: {share: 0%}", "14:18: spec.match.share: `0%` is not within 0.0001% to 100%"),
    ("match: {share: 0.00015%}", "14:18: spec.match.share: `0.00015%` is finer than the smallest step, 0.0001%"),
    ("reward: {responseHeader: x-r}", "14:11: spec.reward: the field `direction` is missing: write which way is better: `maximize` or `minimize`"),
    ("reward: {responseHeader: x-r, direction: maximise}", "14:44: spec.reward.direction: unknown direction `maximise`; did you mean `maximize`?"),
    ("reward: {header: x-r, direction: minimize}", "14:11: spec.reward: the field `responseHeader` is missing: write the response header that carries it\n14:12: spec.reward: unknown field `header`; known here: `responseHeader`, `direction`"),
    ("bin: 1s\nbin: 2s", "15:3: the field `bin` is already there, in line 14: keep one of them"),
    ("bin: &b 1s\ndeadline: *b", "14:8: anchors (`&name`) and aliases (`*name`) are not read: write the value out\n15:13: anchors (`&name`) and aliases (`*name`) are not read: write the value out"),
    ("bin: !!str 1s", "14:8: tags (`!name`) are not read: leave the tag out"),
    ("? [a]\n: b", "14:5: the name of a field must be plain text"),
    ("guardrails: []", "14:3: spec: unknown field `guardrails`; known here: `service`, `match`, `unit`, `versions`, `strategy`, `objectives`, `reward`, `alpha`, `deadline`, `bin`, `minExposures`, `maxDuration`, `measure`, `failure`, `override`"),
];

#[test]
fn what_is_misspelt_is_not_called_missing_as_well() {
    let text = LEAST.replace("baseline", "baseLine").replace("objectives", "objective").replace("service", "Service");
    let expected = "\
6:3: spec: unknown field `Service`; did you mean `service`?
9:7: spec.versions[0]: unknown field `baseLine`; did you mean `baseline`?
11:3: spec: unknown field `objective`; did you mean `objectives`?
";
    assert_eq!(told(&problems(&text)), expected);
}

#[test]
fn each_bad_field_gets_its_message() {
    for (lines, expected) in BAD {
        assert_eq!(told(&problems(&with(lines))).trim_end(), *expected, "{lines}");
    }
}

/// Replacements in [`LEAST`], and all that is then said.
const BROKEN: &[(&str, &str, &str)] = &[
    ("kind: Experiment\n", "", "1:1: the field `kind` is missing: write `kind: Experiment`"),
    ("kind: Experiment", "kind: Gateway", "2:7: kind: `Gateway` is not known here: write `Experiment`"),
    ("  name: small\n", "  labels: {}\n", "4:3: metadata: the field `name` is missing: write the experiment's name, as `name: checkout`"),
    ("name: small", "name: -small", "4:9: metadata.name: `-small` is not a name of 1 to 63 lower-case letters, digits and dashes that begins and ends with a letter or a digit"),
    ("service: small", "service: 'a b'", "6:12: spec.service: `a b` is not a name of 1 to 128 visible ASCII characters without blanks"),
    ("      baseline: true\n", "", "8:5: spec.versions: no version is the baseline: add `baseline: true` to the one that serves today"),
    ("- name: v2", "- {name: v2, baseline: true}", "10:28: spec.versions[1].baseline: `spec.versions[0]` is the baseline already: keep one"),
    ("    - name: v2\n", "", "8:5: spec.versions: a list of 1; 2 to 16 entries are allowed"),
    ("- name: v2", "- name: v2\n      headers: {X-Weir-Version: v1}", "11:16: spec.versions[1].headers: these routing headers are also those of `v1`: requests could not be told apart"),
    ("- name: v2", "- name: v2\n      headers: {}", "11:16: spec.versions[1].headers: only the baseline may go without a routing header: leave `headers` out for the usual one"),
    ("- name: v2", "- name: v2\n      headers: {x-a: 1, X-A: 2}", "11:30: spec.versions[1].headers.X-A: the header `x-a` is already there in another case"),
    ("- name: v2", "- name: v2\n      headers: {x-a: \"a\\tb\"}", "11:22: spec.versions[1].headers.x-a: `a\u{fffd}b` must be 1 to 1024 printable ASCII characters"),
    ("- name: v2", "- v2", "10:7: spec.versions[1]: expected a version such as `{name: v2}`, found `v2`"),
    ("- name: v2", "- name: v2\n    - name: v3", "6:3: spec: with several candidates only a reward can say which is better: write `reward: {responseHeader: …, direction: maximize}`"),
    ("  objectives:\n    - name: errors\n      errorRate: {max: 1%}\n", "", "6:3: spec: a canary climbs while it keeps its objectives, and there is none: write `objectives: [{name: errors, errorRate: {max: 1%}}]`"),
    ("max: 1%", "max: 100%", "13:24: spec.objectives[0].errorRate.max: `100%` must be more than 0% and less than 100%"),
    ("errorRate: {max: 1%}", "errorRate: 1%", "13:18: spec.objectives[0].errorRate: expected `{max: 2%}`, found `1%`"),
    ("      errorRate: {max: 1%}\n", "    - name: errors\n      errorRate: {max: 1%}\n", "12:7: spec.objectives[0]: the field `errorRate` is missing: write the most errors it allows, as `errorRate: {max: 2%}`\n13:13: spec.objectives[1].name: an objective named `errors` is already above"),
    ("spec:\n  service: small", "spec:\n service: small", "7:11: this is not valid YAML: "),
];

#[test]
fn each_broken_document_gets_its_message() {
    for (from, to, expected) in BROKEN {
        assert!(LEAST.contains(from), "{from}");
        let told = told(&problems(&LEAST.replace(from, to)));
        // What the YAML parser says is its own.
        let same = if expected.ends_with("YAML: ") { told.starts_with(expected) } else { told.trim_end() == *expected };
        assert!(same, "{from:?} → {to:?}\nexpected {expected}\nfound    {told}");
    }
}

#[test]
fn weights_of_a_fixed_split_name_every_version_and_sum_to_the_whole() {
    for (weights, expected) in [
        ("{v1: 50%, v2: 40%}", "15:28: spec.strategy.ab.weights: the weights sum to 90%: they must sum to 100%"),
        ("{v1: 100%}", "15:28: spec.strategy.ab.weights: version `v2` has no weight: give it one"),
        (
            "{v1: 50%, v2: 25%, v22: 25%}",
            "15:28: spec.strategy.ab.weights: there is no version `v22`; did you mean `v2`?",
        ),
        ("{v1: 100%, v2: 0%}", "15:43: spec.strategy.ab.weights.v2: `0%` is not within 0.01% to 100%"),
    ] {
        let found = problems(&rewarded(&format!("strategy: {{ab: {{weights: {weights}}}}}")));
        assert!(told(&found).starts_with(expected), "{weights}\nexpected {expected}\nfound    {}", told(&found));
    }
}

#[test]
fn what_is_no_experiment_at_all_is_said_to_be_none() {
    let expected = "1:1: there is no experiment here: begin with `apiVersion: weir.dev/v1alpha1` and `kind: Experiment`\n";
    for text in ["", "\n\n", "# only a comment\n", "---\n---\n", "null", "\u{feff}"] {
        assert_eq!(told(&problems(text)), expected, "{text:?}");
    }
    let expected = "1:1: expected an experiment (`apiVersion: weir.dev/v1alpha1`, `kind: Experiment`, `metadata`, `spec`), found";
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
        "\n", "  ", "\t", "\r\n", "- ", "? ", ": ", "&a ", "*a ", "!!str ", "!", "|\n", ">-\n", "'", "\"", "\\", "\u{0}",
        "é", "😀", "\u{feff}", "\u{2028}", "---\n", "...\n", "%YAML 1.2\n", "%", "@", "`", "<<: ", "~", "null", "-1", "1e999",
        "99999999999999999999", "0.1%", "💧: ", "#", "canary: ", "steps: ", "ab", "weights: ", "override: ", "measure: ",
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
