//! `weir simulate` and `weir power` as people and programs use them.
#![expect(clippy::expect_used, reason = "helpers of tests: to panic is to fail")]

use std::process::{Command, Output};

const EXPERIMENT: &str = "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: checkout
  versions: [{name: v1, baseline: true}, {name: v2}]
  guardrails: [{name: errors, errorRate: {ratio: 1, margin: 0.5%}}]
";
const SCENARIO: &str = "apiVersion: weir.dev/v1alpha1
kind: Scenario
traffic: 50/s
duration: 30m
versions: {v2: {errors: 50%}}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Self(folder)
    }

    fn weir(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("`weir` runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }
}

#[test]
fn a_run_is_told_and_drawn() {
    let folder = Folder::with(&[("a.yaml", &format!("{EXPERIMENT}---\n{SCENARIO}"))]);
    let (code, out, err) = folder.weir(&["simulate", "a.yaml", "--plot", "a.svg"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("rolled back to v1 after") && out.contains("v2 (bad)"), "{out}");
    let picture = std::fs::read_to_string(folder.0.path().join("a.svg")).expect("the picture");
    assert!(picture.starts_with("<svg"));
    // The same seed: the same run.
    assert_eq!(folder.weir(&["simulate", "a.yaml", "--plot", "a.svg"]).1, out);
}

#[test]
fn many_runs_are_a_distribution_for_programs_too() {
    let folder = Folder::with(&[("e.yaml", EXPERIMENT), ("s.yaml", SCENARIO)]);
    let arguments = ["simulate", "s.yaml", "--experiment", "e.yaml", "--runs", "5", "--output", "json"];
    let (code, out, _) = folder.weir(&arguments);
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &answer["runs"], &answer["bad"][0]), (Some(0), &5.into(), &"v2".into()));
    assert_eq!(answer["missed"]["count"], 0);
}

#[test]
fn an_expectation_that_fails_is_an_error_and_so_is_a_misspelt_field() {
    let text = format!("{EXPERIMENT}---\n{SCENARIO}expect: {{outcome: promoted}}\n");
    let folder = Folder::with(&[("a.yaml", &text), ("b.yaml", &text.replace("traffic", "trafic"))]);
    let (code, out, _) = folder.weir(&["simulate", "a.yaml"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("not as expected: it ended rolledBack, not promoted"), "{out}");
    let many = folder.weir(&["simulate", "a.yaml", "--runs", "3"]);
    assert_eq!(many.0, Some(1), "{many:?}");
    assert!(
        many.1.contains("rolled back to v1") && many.1.ends_with("of runs must come out so, and fewer do\n"),
        "{many:?}"
    );
    let json = folder.weir(&["simulate", "a.yaml", "--runs", "3", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&json.1).expect("JSON");
    assert_eq!((json.0, &answer["asExpected"]), (Some(1), &false.into()));
    let (code, _, err) = folder.weir(&["simulate", "b.yaml"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("b.yaml:11:1: unknown field `trafic`; did you mean `traffic`?"), "{err}");
}

#[test]
fn power_answers_for_several_effects() {
    let folder = Folder::with(&[("e.yaml", EXPERIMENT)]);
    let arguments =
        ["power", "-f", "e.yaml", "--rate", "100/s", "--candidate-errors", "0%,50%", "--runs", "5", "--duration", "2h"];
    let (code, out, err) = folder.weir(&arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("errors 0%") && out.contains("errors 50.0%") && out.contains("ROLLED BACK"), "{out}");
}

#[test]
fn a_fault_that_no_run_met_is_told_once_and_over_many_runs() {
    let scenario = format!("{EXPERIMENT}---\n{SCENARIO}faults: {{silences: [{{from: 29m, until: 30m}}]}}\n");
    let folder = Folder::with(&[("a.yaml", &scenario)]);
    let one = folder.weir(&["simulate", "a.yaml"]).1;
    assert!(one.contains("never reached: the silence at 29m (it ended after"), "{one}");
    let many = folder.weir(&["simulate", "a.yaml", "--runs", "3"]).1;
    assert!(many.contains("never reached in 100% of runs: the silence at 29m"), "{many}");
}

#[test]
fn power_takes_a_scenarios_experiment_and_no_conversion_without_a_reward() {
    let folder = Folder::with(&[("a.yaml", &format!("{EXPERIMENT}---\n{SCENARIO}"))]);
    let arguments = ["power", "-f", "a.yaml", "--rate", "100/s", "--runs", "2", "--duration", "10m"];
    let (code, out, err) = folder.weir(&arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("checkout at 100"), "{out}");
    for also in ["--baseline-conversion", "--candidate-conversion"] {
        let (code, _, err) = folder.weir(&[&arguments[..], &[also, "5%"]].concat());
        assert!(code == Some(1) && err.contains("checkout has no reward"), "{err}");
    }
}

#[test]
fn of_many_runs_as_large_a_share_must_come_out_as_the_scenario_says_unless_chance_explains_it() {
    // None of four is as expected: that refutes 90% (0.1⁴ is rare), but not 20% (0.8⁴ = 41%).
    for (share, code) in [("90%", 1), ("20%", 0)] {
        let text = format!("{EXPERIMENT}---\n{SCENARIO}expect: {{outcome: promoted, share: {share}}}\n");
        let folder = Folder::with(&[("a.yaml", &text)]);
        let ran = folder.weir(&["simulate", "a.yaml", "--runs", "4", "-o", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&ran.1).expect("JSON");
        assert_eq!((ran.0, &answer["unexpected"]["count"]), (Some(code), &4.into()), "{share}: {ran:?}");
        assert_eq!(answer["asExpected"], code == 0);
    }
}

#[test]
fn power_says_where_nobody_can_win_for_want_of_rewards() {
    let rewarded = format!("{EXPERIMENT}  reward: {{responseHeader: x-reward, direction: maximize}}\n");
    let folder = Folder::with(&[("e.yaml", &rewarded)]);
    let arguments = ["power", "-f", "e.yaml", "--rate", "100/s", "--runs", "2", "--duration", "2m"];
    let (code, out, err) = folder.weir(&arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("note: checkout is decided by a reward, and no version earns one here"), "{out}");
    let also = ["--baseline-conversion", "5%"];
    let (_, out, _) = folder.weir(&[&arguments[..], &also].concat());
    assert!(!out.contains("note:"), "{out}");
}
