//! `weir analyze` as people and programs see it: the documentation's examples print what the documentation says they print.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `weir` in the repository's root, which the documentation's commands are written for.
fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    fn of(arguments: &[&str]) -> Self {
        Self::from(weir(arguments).output().expect("`weir` runs"))
    }

    /// With this text as the standard input.
    fn with_input(arguments: &[&str], text: &str) -> Self {
        let mut child = weir(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`weir` starts");
        let mut input = child.stdin.take().expect("its input");
        // It may end before it has read all.
        let _ = input.write_all(text.as_bytes());
        drop(input);
        Self::from(child.wait_with_output().expect("an end"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect(name)
}

/// The fenced blocks of a page: the language, the text, and the last line before it that is not empty.
fn blocks(page: &str) -> Vec<(String, String, String)> {
    let mut blocks = Vec::new();
    let (mut open, mut before) = (None::<(String, String)>, String::new());
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some((language, text))) => blocks.push((language, text, before.clone())),
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (None, Some((language, text))) => open = Some((language, text + line + "\n")),
            (None, None) if !line.trim().is_empty() => line.clone_into(&mut before),
            (None, None) => {}
        }
    }
    blocks
}

fn examples() -> Vec<String> {
    let files = std::fs::read_dir(root().join("docs/examples")).expect("docs/examples");
    // Folders hold examples of something else.
    let files = files.map(|file| file.expect("a file")).filter(|file| file.path().is_file());
    let mut names: Vec<String> = files.map(|file| file.file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

/// Whether a text is what is shown, in which a line `…` stands for any lines.
fn is_shown(text: &str, shown: &str) -> bool {
    let mut rest = text;
    for (at, part) in shown.split("…\n").enumerate() {
        let Some(found) = rest.find(part) else { return false };
        if at == 0 && found != 0 {
            return false;
        }
        rest = rest.get(found + part.len()..).unwrap_or_default();
    }
    rest.trim().is_empty() || shown.ends_with("…\n")
}

#[test]
fn the_page_prints_what_weir_prints() {
    let page = document("analyze.md");
    let mut commands = 0;
    for (_, text, _) in blocks(&page) {
        let Some((command, shown)) = text.split_once('\n') else { continue };
        let Some(arguments) = command.strip_prefix("$ weir ") else { continue };
        let ran = Ran::of(&arguments.split(' ').collect::<Vec<_>>());
        let printed = ran.out.clone() + &ran.err;
        assert!(is_shown(&printed, shown), "{command}\n--- shown\n{shown}\n--- printed\n{printed}");
        assert_eq!(ran.code, Some(i32::from(!ran.err.is_empty())), "{command}");
        commands += 1;
    }
    assert!(commands >= 4, "{commands} commands are shown");
}

#[test]
fn the_pages_examples_are_the_files_and_every_file_is_on_the_page() {
    let page = document("analyze.md");
    let mut shown = BTreeSet::new();
    for (language, text, before) in blocks(&page) {
        if language != "yaml" && language != "json" {
            continue;
        }
        let ran = Ran::with_input(&["analyze", "-"], &text);
        assert_eq!(ran.code, Some(0), "{text}\n{ran:?}");
        // The page names the file in the paragraph before.
        let paragraph = page.split(&text).next().unwrap_or_default();
        let named = paragraph.rsplit("](examples/").next().and_then(|rest| rest.split(')').next()).expect(&before);
        assert_eq!(document(&format!("examples/{named}")), text, "docs/examples/{named}");
        shown.insert(named.to_owned());
    }
    assert!(shown.len() >= 5, "{shown:?}");
    for name in examples() {
        assert!(page.contains(&format!("examples/{name}")), "docs/examples/{name} is nowhere on the page");
    }
}

#[test]
fn every_example_is_analysed_for_people_and_for_programs() {
    for name in examples().iter().filter(|name| *name != "wrong.yaml") {
        let path = format!("docs/examples/{name}");
        let (text, json) = (Ran::of(&["analyze", &path]), Ran::of(&["analyze", &path, "--output", "json"]));
        assert_eq!((text.code, json.code), (Some(0), Some(0)), "{text:?}\n{json:?}");
        assert!(text.err.is_empty() && json.err.is_empty());
        let json = json.json();
        // The answer is the first thing that is said, and the same in both.
        let conclusion = json["conclusion"].as_str().expect("a sentence");
        assert_eq!(text.out.lines().nth(3), Some(conclusion), "{}", text.out);
        for version in json["assessment"]["versions"].as_array().expect("versions") {
            assert!(text.out.contains(version["why"].as_str().expect("a sentence")), "{version}\n{}", text.out);
            for gate in version["gates"].as_array().expect("gates") {
                assert!(text.out.contains(gate["why"].as_str().expect("a sentence")), "{gate}\n{}", text.out);
            }
        }
        for heading in ["How each stands", "What was measured", "How they compare", "The α spent"] {
            assert!(text.out.contains(heading), "{name} has no `{heading}`\n{}", text.out);
        }
    }
}

#[test]
fn what_the_examples_show() {
    let of = |name: &str| Ran::of(&["analyze", &format!("docs/examples/{name}"), "-o", "json"]).json();
    let answer = |json: &Value| (json["answer"].as_str().expect("an answer").to_owned(), json["winner"].clone());
    assert_eq!(answer(&of("errors.yaml")), ("notEnoughEvidence".to_owned(), Value::Null));
    assert_eq!(answer(&of("latency-buckets.yaml")), ("noCandidateLeft".to_owned(), Value::Null));
    assert_eq!(answer(&of("conversion.yaml")), ("winner".to_owned(), "v2".into()));
    assert_eq!(answer(&of("amounts.yaml")), ("winner".to_owned(), "v2".into()));
    assert_eq!(answer(&of("users.yaml")), ("winner".to_owned(), "v2".into()));
    assert_eq!(answer(&of("raw.json")), ("notEnoughEvidence".to_owned(), Value::Null));
    // A version is compared with every other, and the budgets are told version by version, claim by claim.
    let json = of("conversion.yaml");
    let reward = json["assessment"]["versions"][1]["metrics"].as_array().expect("metrics").last().cloned();
    let with: Vec<Value> = reward.expect("a reward")["comparisons"]
        .as_array()
        .expect("comparisons")
        .iter()
        .map(|comparison| comparison["with"].clone())
        .collect();
    assert_eq!(with, ["v1", "v3"]);
    let spent = &json["alphaSpent"];
    assert_eq!((&spent["rollBack"][2]["version"], &spent["rollBack"][2]["spent"]), (&"v3".into(), &0.05.into()));
    assert_eq!((&spent["rollBack"][1]["spent"], &spent["promotion"]["spent"]), (&0.0.into(), &0.05.into()));
    let met = &spent["promotion"]["claims"][0];
    assert_eq!((&met["version"], &met["gate"], &met["alpha"]), (&"v2".into(), &"errors".into(), &0.025.into()));
}

/// Every name of a field in a JSON value.
fn names(json: &Value, into: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            names(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_is_on_the_page() {
    let page = document("analyze.md");
    let section = page.split("## The JSON").nth(1).expect("a section on the JSON");
    let words: BTreeSet<&str> = section
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    let mut found = BTreeSet::new();
    for name in examples().iter().filter(|name| *name != "wrong.yaml") {
        names(&Ran::of(&["analyze", &format!("docs/examples/{name}"), "-o", "json"]).json(), &mut found);
    }
    names(&Ran::of(&["analyze", "docs/examples/wrong.yaml", "-o", "json"]).json(), &mut found);
    let missing: Vec<&String> = found.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} are in the output and not on the page");
    assert!(found.len() > 60, "{found:?}");
}

#[test]
fn an_experiment_and_its_epochs_may_be_two_files_put_together() {
    let text = document("examples/errors.yaml");
    let (experiment, epochs) = text.split_once("epochs:").expect("epochs");
    let whole = Ran::with_input(&["analyze", "-"], &text);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    // The order of the fields does not matter either.
    let turned = Ran::with_input(&["analyze", "-", "--output", "table"], &format!("epochs:{epochs}{experiment}"));
    assert_eq!(whole.out, turned.out);
}

#[test]
fn what_is_wrong_goes_to_stderr_with_lines_or_to_programs_as_json() {
    let path = "docs/examples/wrong.yaml";
    let ran = Ran::of(&["analyze", path]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.lines().all(|line| line.starts_with(&format!("{path}:"))), "{ran:?}");
    let json = Ran::of(&["analyze", path, "-o", "json"]);
    assert_eq!((json.code, json.err.as_str()), (Some(1), ""), "{json:?}");
    let json = json.json();
    let problems = json["problems"].as_array().expect("problems");
    assert_eq!(problems.len(), ran.err.lines().count());
    assert_eq!(
        (&problems[0]["file"], &problems[0]["line"], &problems[0]["path"]),
        (&path.into(), &8.into(), &"epochs[0].weights".into())
    );

    let missing = Ran::of(&["analyze", "/no/such/file"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.err.starts_with("weir: /no/such/file cannot be opened"), "{missing:?}");
    assert_eq!(Ran::of(&["analyze"]).code, Some(2));
    let empty = Ran::with_input(&["analyze", "-"], "");
    assert_eq!(empty.code, Some(1), "{empty:?}");
    assert!(empty.err.starts_with("(standard input):1:1: there is no experiment here"), "{empty:?}");
    let long = Ran::with_input(&["analyze", "-"], &"# a comment\n".repeat(1_500_000));
    assert!(long.err.contains("at most 16777216 are read"), "{long:?}");
}

#[test]
fn what_cannot_be_read_is_a_problem_for_programs_too() {
    let file = std::env::temp_dir().join(format!("weir-not-text-{}.yaml", std::process::id()));
    std::fs::write(&file, [0xff, 0xfe, 0x00]).expect("a file");
    let not_text = file.to_str().expect("a path");
    for (path, message) in [("/no/such/file", "cannot be opened"), (not_text, "is not UTF-8 text")] {
        for command in ["analyze", "validate"] {
            let ran = Ran::of(&[command, path, "-o", "json"]);
            assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:?}");
            let problem = ran.json()["problems"][0].clone();
            assert_eq!((&problem["file"], &problem["line"]), (&path.into(), &Value::Null), "{problem}");
            assert!(problem["message"].as_str().is_some_and(|said| said.contains(message)), "{problem}");
            // For people it is one line, and no stack of ours helps them.
            let output = weir(&[command, path]).env("RUST_BACKTRACE", "1").output().expect("`weir` runs");
            let ran = Ran::from(output);
            assert!(ran.err.contains(message) && ran.err.lines().count() == 1, "{ran:?}");
        }
    }
    std::fs::remove_file(&file).expect("it was there");
}

#[test]
fn a_file_is_named_with_and_without_f() {
    let path = "docs/examples/errors.yaml";
    assert_eq!(Ran::of(&["analyze", "-f", path]).out, Ran::of(&["analyze", path]).out);
    assert_eq!(Ran::of(&["analyze", path, "-f", path]).code, Some(2), "which of the two?");
    let experiment = document("examples/errors.yaml").replace("spec:\n", "spec:\n  service: shop\n");
    let experiment = experiment.split("epochs:").next().expect("a text");
    for arguments in [["validate", "-"].as_slice(), &["validate", "-f", "-"], &["validate", "--file", "-"]] {
        let ran = Ran::with_input(arguments, experiment);
        assert_eq!((ran.code, ran.out.contains("is valid")), (Some(0), true), "{arguments:?} {ran:?}");
    }
    assert_eq!(Ran::of(&["validate"]).code, Some(2));
}

#[test]
fn a_file_with_counts_cannot_be_applied_by_mistake() {
    let ran = Ran::of(&["validate", "-f", "docs/examples/errors.yaml"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("counts are for `weir analyze` alone"), "{ran:?}");
}

#[test]
fn help_has_an_example_that_works() {
    let ran = Ran::of(&["analyze", "--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("Examples:\n  weir analyze "), "{ran:?}");
    let example: String = ran
        .out
        .lines()
        .skip_while(|line| !line.contains("apiVersion"))
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line)))
        .collect();
    let ran = Ran::with_input(&["analyze", "-"], &example);
    assert_eq!(ran.code, Some(0), "{example}\n{ran:?}");
}

/// iter8 declared false winners on data in milliseconds that it did not declare on the same data in seconds.
#[test]
fn regression_iter8_units_and_the_order_of_versions_change_nothing_that_is_printed() {
    let seconds = document("examples/raw.json");
    let in_seconds = |list: &str| {
        let values: Vec<String> = list
            .split(',')
            .map(|value| format!("{:.6}", value.trim().parse::<f64>().expect("a number") / 1_000.0))
            .collect();
        values.join(", ")
    };
    let mut text = String::new();
    let mut rest = seconds.as_str();
    while let Some((before, after)) = rest.split_once("{\"ms\": [") {
        let (list, after) = after.split_once(']').expect("an end");
        text += &format!("{before}{{\"s\": [{}]", in_seconds(list));
        rest = after;
    }
    text += rest;
    assert_ne!(text, seconds);
    let run = |text: &str| Ran::with_input(&["analyze", "-", "-o", "json"], text).json();
    assert_eq!(run(&seconds), run(&text));

    let text = document("examples/errors.yaml");
    let turned = text.replace("[{name: v1, baseline: true}, {name: v2}]", "[{name: v2}, {name: v1, baseline: true}]");
    assert_ne!(text, turned);
    let (one, other) = (run(&text), run(&turned));
    assert_eq!(one["conclusion"], other["conclusion"]);
    let version = |json: &Value, at: usize| json["assessment"]["versions"][at]["gates"].clone();
    assert_eq!((version(&one, 0), version(&one, 1)), (version(&other, 1), version(&other, 0)));
}
