//! The command line against a real `weir serve`: what people see, what programs see, and what happens when it goes wrong.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

const DOCUMENT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: shop
  versions:
    - {name: v1, baseline: true}
    - {name: v2}
  objectives: [{name: errors, errorRate: {max: 2%}}]
  minExposures: 100
";

/// `weir serve` on a port and a ledger of its own; killed on drop.
struct Serve {
    process: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Serve {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = weir(&["serve", "--listen", "127.0.0.1:0", "--ledger"])
            .arg(folder.path().join("weir.db"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`weir serve` starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, url, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = weir(arguments);
        command.env("WEIR_SERVER", &self.url).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("`weir` runs"))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `weir` without the environment's own settings.
fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
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
    fn ok(&self) -> bool {
        self.code == Some(0)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[test]
fn an_experiment_is_created_shown_changed_and_deleted() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    let ran = serve.run(&["get"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "no experiments; `weir apply -f FILE` creates one\n"),
        "{ran:?}"
    );

    let ran = serve.run(&["apply", "-f", "checkout.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "experiment checkout created\n"), "{ran:?}");
    let ran = serve.run(&["apply", "-f", "checkout.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "experiment checkout unchanged\n"), "{ran:?}");
    serve.write("checkout.yaml", &DOCUMENT.replace("minExposures: 100", "minExposures: 200"));
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--output", "json"]);
    let expected = serde_json::json!({ "experiments": [{ "name": "checkout", "result": "changed" }] });
    assert_eq!((ran.code, ran.json()), (Some(0), expected), "{ran:?}");

    let ran = serve.run(&["get"]);
    assert!(ran.out.contains("checkout  shop     running  v1 99%, v2 1%"), "{ran:?}");
    let ran = serve.run(&["get", "checkout"]);
    assert!(ran.out.starts_with("checkout · service shop · canary (1%, 5%, 25%, 50%) · running · "), "{ran:?}");
    let ran = serve.run(&["get", "checkout", "-o", "json"]);
    assert_eq!(ran.json()["experiment"]["minExposures"], 200, "{ran:?}");

    let ran = serve.run(&["delete", "checkout"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "experiment checkout deleted\n"), "{ran:?}");
    let ran = serve.run(&["get", "checkout"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "weir: There is no experiment `checkout`\n"), "{ran:?}");
    let ran = serve.run(&["delete", "checkout"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn an_experiment_is_shown_in_depth_once_it_is_assessed() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    serve.write("checkout.yaml", DOCUMENT);
    assert_eq!(serve.run(&["apply", "-f", "checkout.yaml"]).code, Some(0));
    let begin = std::time::Instant::now();
    let shown = loop {
        let out = serve.run(&["get", "checkout"]).out;
        if !out.contains("nothing assessed yet") {
            break out;
        }
        assert!(begin.elapsed().as_secs() < 30, "{out}");
    };
    assert!(shown.contains("\nHow each stands\n") && shown.contains(" v2 meets errors "), "{shown}");
}

#[test]
fn documents_come_from_several_files_and_from_the_standard_input() {
    let serve = Serve::start(&[]);
    // Each for requests of its own.
    let named = |name: &str| {
        let service = format!("service: shop\n  match: {{hosts: [{name}.example]}}");
        DOCUMENT.replace("checkout", name).replace("service: shop", &service)
    };
    serve.write("a.yaml", &named("a"));
    serve.write("b.yaml", &format!("{}---\n{}", named("b"), named("c")));
    let ran = serve.run(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    assert_eq!(ran.out, "experiment a created\nexperiment b created\nexperiment c created\n", "{ran:?}");
    let mut child = serve
        .command(&["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`weir apply`");
    child.stdin.take().expect("its input").write_all(named("checkout").as_bytes()).expect("the document");
    let ran = Ran::from(child.wait_with_output().expect("an end"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "experiment checkout created\n"), "{ran:?}");
}

#[test]
fn what_would_change_the_evidence_is_refused_with_the_field() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert_eq!(serve.run(&["apply", "-f", "checkout.yaml"]).code, Some(0));
    serve.write("checkout.yaml", &DOCUMENT.replace("max: 2%", "max: 3%"));
    let ran = serve.run(&["apply", "-f", "checkout.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.starts_with("checkout.yaml: spec.objectives: "), "{ran:?}");
    assert!(ran.err.ends_with("weir: nothing was applied\n"), "{ran:?}");
}

#[test]
fn one_bad_file_keeps_the_others_from_being_applied() {
    let serve = Serve::start(&[]);
    serve.write("good.yaml", DOCUMENT);
    serve.write("bad.yaml", &DOCUMENT.replace("checkout", "bad").replace("baseline", "baselin"));
    let ran = serve.run(&["apply", "-f", "good.yaml", "-f", "bad.yaml"]);
    let expected = "bad.yaml:7:18: spec.versions[0]: unknown field `baselin`; did you mean `baseline`?\n\
                    weir: nothing was applied\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), expected), "{ran:?}");
    assert_eq!(serve.run(&["get", "-o", "json"]).json()["experiments"], serde_json::json!([]));
}

#[test]
fn validate_needs_no_server_and_says_everything_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.yaml");
    let path = path.to_str().expect("a path of characters");
    std::fs::write(path, DOCUMENT).expect("a file");
    let ran = Ran::from(weir(&["validate", "-f", path]).output().expect("`weir validate`"));
    assert_eq!((ran.code, ran.out), (Some(0), format!("{path}: experiment checkout is valid\n")));

    std::fs::write(path, DOCUMENT.replace("baseline", "baselin").replace("2%", "2")).expect("a file");
    let ran = Ran::from(weir(&["validate", "-f", path]).output().expect("`weir validate`"));
    let expected = format!(
        "{path}:7:18: spec.versions[0]: unknown field `baselin`; did you mean `baseline`?\n\
         {path}:9:48: spec.objectives[0].errorRate.max: `2` is neither a percentage nor below 1: \
         write a percentage such as `2%`, or a fraction below 1 such as `0.02`\n"
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), expected.as_str()), "{ran:?}");
    let ran = Ran::from(weir(&["validate", "-f", path, "-o", "json"]).output().expect("`weir validate`"));
    let json = ran.json();
    assert_eq!((ran.code, &json["valid"]), (Some(1), &serde_json::json!(false)));
    assert_eq!(json["problems"][1]["line"], 9);
}

#[test]
fn validate_says_which_experiments_could_match_the_same_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path of characters").to_owned()
    };
    let both = write("both.yaml", &format!("{DOCUMENT}---\n{}", DOCUMENT.replace("checkout", "search")));
    let ran = Ran::from(weir(&["validate", &both]).output().expect("`weir validate`"));
    let expected =
        format!("{both}: spec.match: checkout and search could match the same request, and both have priority 0");
    assert!(ran.code == Some(1) && ran.out.starts_with(&expected) && ran.out.lines().count() == 1, "{ran:?}");
    let one = write("one.yaml", DOCUMENT);
    let other = write("other.yaml", &DOCUMENT.replace("checkout", "search"));
    let ran = Ran::from(weir(&["validate", &one, &other, "-o", "json"]).output().expect("`weir validate`"));
    let json = ran.json();
    assert_eq!((ran.code, &json["problems"][0]["file"]), (Some(1), &serde_json::json!(other)), "{ran:?}");
    let higher = DOCUMENT.replace("checkout", "search").replace("minExposures", "priority: 1\n  minExposures");
    let other = write("other.yaml", &higher);
    let ran = Ran::from(weir(&["validate", &one, &other]).output().expect("`weir validate`"));
    assert!(ran.ok() && ran.out.lines().count() == 2, "{ran:?}");
}

#[test]
fn a_server_that_is_not_there_and_wrong_usage_are_told_apart() {
    // Nobody can listen on port 0.
    let url = "http://127.0.0.1:0";
    let ran = Ran::from(weir(&["get", "--server", url]).output().expect("`weir get`"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains(url) && ran.err.contains("is `weir serve` running") && ran.err.contains("--server"),
        "{ran:?}"
    );
    for usage in [&["get", "--server", "somewhere"] as &[&str], &["delete", "../plan"], &["apply"], &["nonsense"]] {
        let ran = Ran::from(weir(usage).output().expect("`weir`"));
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    let ran = Ran::from(weir(&["validate", "-f", "/no/such/file"]).output().expect("`weir`"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn help_teaches_with_examples() {
    for command in ["apply", "get", "watch", "delete", "validate", "analyze"] {
        let ran = Ran::from(weir(&[command, "--help"]).output().expect("`weir`"));
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains(&format!("Examples:\n  weir {command} ")), "{ran:?}");
    }
}

#[test]
fn a_token_is_asked_for_by_name_and_taken_from_the_environment() {
    let serve = Serve::start(&["--token", "viewer=look-only-0123456789", "--token", "operator=change-too-0123456789"]);
    let ran = serve.run(&["get"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("--token-value") && ran.err.contains("WEIR_TOKEN"), "{ran:?}");
    let ran =
        Ran::from(serve.command(&["get"]).env("WEIR_TOKEN", "look-only-0123456789").output().expect("`weir get`"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serve.write("checkout.yaml", DOCUMENT);
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--token-value", "look-only-0123456789"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--token-value", "change-too-0123456789"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_watch_prints_each_change_and_ends_when_the_experiment_is_deleted() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert_eq!(serve.run(&["apply", "-f", "checkout.yaml"]).code, Some(0));
    let mut watch = serve
        .command(&["watch", "checkout", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`weir watch`");
    let mut lines = BufReader::new(watch.stdout.take().expect("its output")).lines();
    let mut next = || -> serde_json::Value {
        serde_json::from_str(&lines.next().expect("another line").expect("text")).expect("an object a line")
    };
    assert_eq!(next()["experiment"]["minExposures"], 100);
    serve.write("checkout.yaml", &DOCUMENT.replace("minExposures: 100", "minExposures: 300"));
    assert_eq!(serve.run(&["apply", "-f", "checkout.yaml"]).out, "experiment checkout changed\n");
    while next()["experiment"]["minExposures"] != 300 {}
    assert_eq!(serve.run(&["delete", "checkout"]).code, Some(0));
    assert_eq!(watch.wait().expect("an end").code(), Some(1));
    let mut err = String::new();
    watch.stderr.take().expect("its errors").read_to_string(&mut err).expect("text");
    assert!(err.contains("There is no experiment `checkout`"), "{err}");
}

/// Answers one request after the other on a free port with these; ends with the last, and gives the bodies that were sent.
fn answer_in_turn(answers: Vec<(&'static str, String)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        let mut sent = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).expect("a header") > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body_sent = vec![0; length];
            reader.read_exact(&mut body_sent).expect("the body");
            sent.push(String::from_utf8(body_sent).expect("text"));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).expect("an answer");
        }
        sent
    });
    (url, thread)
}

#[test]
fn a_watch_outlives_a_server_that_restarts_and_ends_when_the_experiment_has_concluded() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert_eq!(serve.run(&["apply", "-f", "checkout.yaml"]).code, Some(0));
    let running = serve.run(&["get", "checkout", "-o", "json"]).json();
    let mut concluded = running.clone();
    let began = running["state"]["startedAt"].as_u64().expect("a time");
    concluded["state"]["phase"] =
        serde_json::json!({ "phase": "concluded", "outcome": "promoted", "version": 1, "at": began + 90_000 });
    let (url, thread) = answer_in_turn(vec![
        ("200 OK", running.to_string()),
        ("200 OK", running.to_string()),
        ("503 Service Unavailable", r#"{"title":"Service Unavailable","detail":"Shutting down."}"#.to_owned()),
        ("200 OK", concluded.to_string()),
    ]);
    let ran = weir(&["watch", "checkout", "--until-concluded", "--server", &url]).output().expect("`weir watch`");
    let ran = Ran::from(ran);
    thread.join().expect("every answer was asked for");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].contains(" · running · v1 99%, v2 1%"), "{ran:?}");
    assert!(lines[1].starts_with("after 1 m 30 s · promoted v2 · v2 100%"), "{ran:?}");
    assert!(ran.err.contains("answered 503: Shutting down; still trying"), "{ran:?}");
}

#[test]
fn what_is_approved_is_what_was_shown_and_no_other() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut view = serve.run(&["get", "checkout", "-o", "json"]).json();
    view["state"]["awaited"] =
        serde_json::json!({ "since": 21_000, "step": { "weights": { "weights": [9_500, 500], "rung": 1 } } });
    let decision = serve.run(&["pause", "checkout", "--reason", "x", "-o", "json"]).json();
    for (also, expected) in [(&[] as &[&str], 21_000), (&["--awaited-since", "5"], 5)] {
        let (url, thread) = answer_in_turn(vec![("200 OK", view.to_string()), ("200 OK", decision.to_string())]);
        let arguments = ["approve", "checkout", "--reason", "fine", "--server", &url];
        let ran = Ran::from(weir(&arguments).args(also).output().expect("`weir approve`"));
        let sent = thread.join().expect("both were asked for");
        let command: serde_json::Value = serde_json::from_str(&sent[1]).expect("a command");
        assert_eq!(
            command,
            serde_json::json!({ "command": "approve", "awaitedSince": expected, "reason": "fine" }),
            "{ran:?}"
        );
        assert_eq!(ran.out.contains(": v1 95%, v2 5%\n"), also.is_empty(), "what waits is shown first: {ran:?}");
    }
    let nothing = serve.run(&["approve", "checkout", "--reason", "fine"]);
    assert!(!nothing.ok() && nothing.err.contains("nothing of checkout waits for approval"), "{nothing:?}");
}

#[test]
fn people_command_an_experiment_and_its_journal_is_explained_and_replayed() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let ran = |arguments: &[&str]| {
        let mut command = serve.command(arguments);
        Ran::from(command.env("WEIR_ACTOR", "ada@laptop").output().expect("`weir` runs"))
    };
    let no_reason = ran(&["pause", "checkout"]);
    assert!(!no_reason.ok() && no_reason.err.contains("--reason"), "{no_reason:?}");
    let paused = ran(&["pause", "checkout", "--reason", "a meeting"]);
    assert!(paused.ok() && paused.out.starts_with("experiment checkout: pause\n"), "{paused:?}");
    let again = ran(&["pause", "checkout", "--reason", "a meeting", "-o", "json"]);
    assert!(!again.ok() && again.json()["error"].to_string().contains("paused already"), "{again:?}");
    let nobody = ran(&["delete", "nobody", "-o", "json"]);
    assert!(!nobody.ok() && nobody.json()["error"].to_string().contains("no experiment `nobody`"), "{nobody:?}");
    let again = ran(&["pause", "checkout", "--reason", "a meeting"]);
    assert!(!again.ok() && again.err.contains("paused already"), "{again:?}");
    let wrong = ran(&["set-weights", "checkout", "v1=50%", "--reason", "x"]);
    assert!(!wrong.ok() && wrong.err.contains("50.00% in all"), "{wrong:?}");
    let set = ran(&["set-weights", "checkout", "v1=70%", "v2=30%", "--reason", "a load test"]);
    assert!(set.ok() && set.out.contains("experiment checkout: shift, and paused until it is resumed\n"), "{set:?}");
    let shown = ran(&["get", "checkout"]).out;
    assert!(shown.contains("paused, weights by hand") && shown.contains("ada@laptop (as they say)"), "{shown}");
    assert!(ran(&["resume", "checkout", "--reason", "done"]).ok());
    let promoted = ran(&["promote", "checkout", "v2", "--reason", "the launch"]);
    assert!(promoted.ok(), "{promoted:?}");
    let watched = ran(&["watch", "checkout"]);
    assert!(watched.ok() && watched.out.contains("promoted v2, by hand: ada@laptop (as they say)"), "{watched:?}");
    assert!(watched.err.contains("checkout has concluded: there is nothing more to watch"), "{watched:?}");

    let told = ran(&["explain", "checkout"]);
    for part in ["checkout is a canary release of v2", "It was paused by hand. “a meeting”", "v2 was promoted by hand"]
    {
        assert!(told.ok() && told.out.contains(part), "{part}: {told:?}");
    }
    let replayed = ran(&["replay", "checkout"]);
    assert!(replayed.ok() && replayed.out.contains("all equal"), "{replayed:?}");
    let offline = ran(&["replay", "checkout", "--ledger", "weir.db"]);
    assert!(offline.ok() && offline.out == replayed.out, "{offline:?} {replayed:?}");
    serve.write("steps.yaml", &DOCUMENT.replace("minExposures: 100", "strategy: {canary: {steps: [1%, 20%]}}"));
    let with = ran(&["replay", "checkout", "--with", "steps.yaml"]);
    assert!(with.ok() && with.out.contains("this is counterfactual"), "{with:?}");
    serve.write("alien.yaml", &DOCUMENT.replace("minExposures: 100", "deadline: 3s"));
    let alien = ran(&["replay", "checkout", "--with", "alien.yaml"]);
    assert!(!alien.ok() && alien.err.contains("spec.deadline"), "{alien:?}");
    let json = ran(&["replay", "checkout", "--with", "checkout.yaml", "-o", "json"]).json();
    assert_eq!((&json["was"]["version"], &json["would"]["phase"]["version"]), (&"v2".into(), &"v2".into()), "{json}");
    assert_eq!(json["versions"], serde_json::json!(["v1", "v2"]));
    serve.write("other.yaml", &DOCUMENT.replace("checkout", "other"));
    let other = ran(&["replay", "checkout", "--with", "other.yaml"]);
    assert!(!other.ok() && other.err.contains("metadata.name is another"), "{other:?}");
    let nobody = ran(&["replay", "nobody", "--ledger", "weir.db"]);
    assert!(!nobody.ok() && nobody.err.contains("no experiment `nobody`"), "{nobody:?}");
    assert!(ran(&["delete", "checkout", "--reason", "it's over & done"]).ok());
}
