//! Watching, approving and commanding from the command line, and what is told of it afterwards.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use support::{DOCUMENT, Ran, Serve, weir};

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
    assert_eq!(
        serve.run(&["apply", "-f", "checkout.yaml"]).out,
        "experiment checkout changed\n  checkout was changed: minExposures 100 → 300.\n  Weights stay.\n"
    );
    while next()["experiment"]["minExposures"] != 300 {}
    assert_eq!(serve.run(&["delete", "checkout", "--reason", "done"]).code, Some(0));
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

#[test]
fn what_waits_to_be_started_is_not_approved_but_started() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", &DOCUMENT.replace("minExposures: 100", "approvals: {start: true}"));
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let listed = serve.run(&["get"]);
    assert!(
        listed.out.ends_with("\n\ncheckout: waits to be started: weir start checkout --reason '…'\n"),
        "{listed:?}"
    );
    let approved = serve.run(&["approve", "checkout", "--reason", "fine"]);
    assert!(!approved.ok() && approved.err.contains("weir start checkout --reason WHY"), "{approved:?}");
    let json = serve.run(&["approve", "checkout", "--reason", "fine", "-o", "json"]);
    assert!(!json.ok() && json.json()["error"].to_string().contains("weir start checkout"), "{json:?}");
    assert_eq!(serve.run(&["get", "checkout", "-o", "json"]).json()["state"]["phase"]["phase"], "pending");
    assert!(serve.run(&["start", "checkout", "--reason", "all hands are here"]).ok());
}

#[test]
fn an_experiment_is_not_deleted_for_an_empty_reason() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    for empty in ["", "  "] {
        let ran = serve.run(&["delete", "checkout", "--reason", empty]);
        assert!(!ran.ok() && ran.err.contains("the reason is empty"), "{ran:?}");
    }
    // Nor for none while it goes on: in a script, where nobody can be asked.
    for (command, stands) in [("resume", "is running"), ("pause", "is paused")] {
        let _ = serve.run(&[command, "checkout", "--reason", "a sale"]);
        let ran = serve.run(&["delete", "checkout"]);
        assert!(ran.code == Some(1) && ran.err.contains(stands) && ran.err.contains("--reason WHY"), "{ran:?}");
        let ran = serve.run(&["delete", "checkout", "-o", "json"]);
        assert!(!ran.ok() && ran.json()["error"].to_string().contains(stands), "{ran:?}");
    }
    assert!(serve.run(&["get", "checkout"]).ok(), "it is there still");
    assert!(serve.run(&["stop", "checkout", "--reason", "the wrong question"]).ok());
    assert!(serve.run(&["delete", "checkout"]).ok(), "one that has concluded needs none");
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    assert!(serve.run(&["delete", "checkout", "--reason", "in the way"]).ok());
}
