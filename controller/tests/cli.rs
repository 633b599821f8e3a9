//! The command line against a real `weir serve`: what people see, what programs see, and what happens when it goes wrong.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::io::Write;
use std::process::Stdio;
use support::{DOCUMENT, Ran, Serve, weir};

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
    let reasons = ["checkout was changed: minExposures 100 → 200.", "Weights stay."];
    let json = ran.json();
    let id = json["experiments"][0]["id"].as_str().expect("an id");
    assert!(id.starts_with("checkout-"), "{ran:?}");
    let expected = serde_json::json!({
        "experiments": [{ "name": "checkout", "id": id, "result": "changed", "reasons": reasons }]
    });
    assert_eq!((ran.code, &json), (Some(0), &expected), "{ran:?}");

    let ran = serve.run(&["get"]);
    assert!(ran.out.contains("checkout  shop     running  v1 99%, v2 1%"), "{ran:?}");
    let ran = serve.run(&["get", "checkout"]);
    assert!(ran.out.starts_with("checkout · service shop · canary (1%, 5%, 25%, 50%) · running · "), "{ran:?}");
    let ran = serve.run(&["get", "checkout", "-o", "json"]);
    assert_eq!(ran.json()["experiment"]["minExposures"], 200, "{ran:?}");

    let ran = serve.run(&["delete", "checkout", "--reason", "done"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "experiment checkout deleted\n"), "{ran:?}");
    let ran = serve.run(&["get", "checkout"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "weir: There is no experiment `checkout`: `weir get` shows those there are\n"),
        "{ran:?}"
    );
    let ran = serve.run(&["delete", "checkout"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn health_is_an_exit_code_and_asks_for_no_token() {
    let serve = Serve::start(&["--token", "operator=secret"]);
    let ran = serve.run(&["health"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "ready\n"), "{ran:?}");
    assert_eq!(serve.run(&["get"]).code, Some(1));
    let ran = serve.run(&["health", "--server", "http://127.0.0.1:1"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.err.contains("no answer from http://127.0.0.1:1"), "{ran:?}");
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
    for usage in [
        &["get", "--server", "somewhere"] as &[&str],
        &["delete", "../plan"],
        &["apply"],
        &["nonsense"],
        &["serve", "--listen", "1234", "--ledger", "/no/such/folder/weir.db"],
        &["serve", "--token", "boss=x", "--ledger", "/no/such/folder/weir.db"],
        &["set-weights", "checkout", "v1=90%", "v2=5%", "--reason", "a try"],
        &["set-weights", "checkout", "v1=50%", "v1=50%", "--reason", "a try"],
    ] {
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
fn an_empty_variable_of_the_environment_is_one_that_is_not_set() {
    let serve = Serve::start(&["--token", "operator=change-too-0123456789"]);
    serve.write("token", "change-too-0123456789");
    let run = |arguments: &[&str], empty: &[&str]| {
        let mut command = serve.command(arguments);
        command.env("WEIR_CONFIG", serve.folder.path().join("config.yaml"));
        for name in empty {
            command.env(name, "");
        }
        Ran::from(command.output().expect("`weir` runs"))
    };
    let ran = run(&["context", "set", "here", "--server", &serve.url, "--token-file", "token"], &[]);
    assert!(ran.ok(), "{ran:?}");
    for empty in ["WEIR_TOKEN", "WEIR_SERVER", "WEIR_CONTEXT", "WEIR_CA_FILE"] {
        let ran = run(&["get"], &[empty]);
        assert!(ran.ok(), "{empty}: {ran:?}");
    }
    let all = ["WEIR_LISTEN", "WEIR_TLS_CERT", "WEIR_RATE_LIMIT", "WEIR_LOG_FORMAT", "WEIR_HSTS"];
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--ledger", "/no/such/folder/weir.db"], &all);
    assert!(ran.code == Some(1) && ran.err.contains("whose folder has to be there"), "{ran:?}");
}

#[test]
fn two_experiments_of_one_name_in_two_files_are_found_before_anything_is_sent() {
    let serve = Serve::start(&[]);
    serve.write("a.yaml", DOCUMENT);
    serve.write("b.yaml", &DOCUMENT.replace("max: 2%", "max: 3%"));
    let expected =
        "b.yaml: metadata.name: a.yaml has another experiment named checkout: give one of them a name of its own\n";
    let ran = serve.run(&["validate", "-f", "a.yaml", "-f", "b.yaml"]);
    assert_eq!((ran.code, ran.out.lines().next()), (Some(1), expected.lines().next()), "{ran:?}");
    let ran = serve.run(&["apply", "-f", "a.yaml", "-f", "b.yaml"]);
    assert_eq!((ran.code, ran.err), (Some(1), format!("{expected}weir: nothing was applied\n")));
    assert_eq!(serve.run(&["get", "-o", "json"]).json()["experiments"], serde_json::json!([]));
    // The same twice is the same.
    let ran = serve.run(&["validate", "-f", "a.yaml", "-f", "a.yaml"]);
    assert!(ran.ok(), "{ran:?}");
}

#[test]
fn whatever_fails_says_so_to_programs_too() {
    let serve = Serve::start(&[]);
    let failing: [&[&str]; 8] = [
        &["get", "nope"],
        &["explain", "nope"],
        &["replay", "nope"],
        &["watch", "nope"],
        &["apply", "-f", "missing.yaml"],
        &["simulate", "missing.yaml"],
        &["power", "-f", "missing.yaml", "--rate", "1/s"],
        &["start", "nope", "--reason", "x"],
    ];
    for arguments in failing {
        let ran = serve.run(&[arguments, &["-o", "json"]].concat());
        let error = ran.json()["error"].as_str().expect("an error").to_owned();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(error.contains("nope") || error.contains("missing.yaml"), "{ran:?}");
    }
}

#[test]
fn options_stand_before_the_command_or_behind_it_and_nowhere_where_they_mean_nothing() {
    let serve = Serve::start(&[]);
    let run = |arguments: &[&str]| Ran::from(weir(arguments).output().expect("`weir` runs"));
    let ran = run(&["--server", &serve.url, "-o", "json", "get"]);
    assert_eq!(ran.json()["experiments"], serde_json::json!([]), "{ran:?}");
    let ran = run(&["--output=json", "--server", &serve.url, "token", "list"]);
    assert!(ran.ok() && ran.json()["tokens"].is_array(), "{ran:?}");
    let ran = run(&["--server", &serve.url, "completions", "bash"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn what_was_looked_at_is_applied_and_nothing_that_changed_since_is_overwritten() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--dry-run"]);
    let expected =
        "experiment checkout would be created\n  to apply just this: weir apply -f checkout.yaml --if-match none\n";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    assert!(serve.run(&["get"]).out.starts_with("no experiments"), "nothing was done");
    let create = ["apply", "-f", "checkout.yaml", "--if-match", "none"];
    assert!(serve.run(&create).ok());
    let ran = serve.run(&create);
    assert!(!ran.ok() && ran.err.contains("There is an experiment `checkout` already"), "{ran:?}");

    let changed = |exposures: &str| DOCUMENT.replace("minExposures: 100", &format!("minExposures: {exposures}"));
    serve.write("checkout.yaml", &changed("200"));
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--dry-run", "-o", "json"]);
    let tag = ran.json()["experiments"][0]["etag"].as_str().expect("a tag").to_owned();
    assert_eq!(serve.run(&["get", "checkout", "--etag"]).out.trim(), tag.trim_matches('"'));
    serve.write("other.yaml", &changed("300"));
    assert!(serve.run(&["apply", "-f", "other.yaml"]).ok(), "somebody else");
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "--if-match", &tag]);
    assert!(!ran.ok() && ran.err.contains("not as you saw it"), "{ran:?}");
    assert_eq!(serve.run(&["get", "checkout", "-o", "json"]).json()["experiment"]["minExposures"], 300);
    let now = serve.run(&["get", "checkout", "--etag"]).out;
    assert!(serve.run(&["apply", "-f", "checkout.yaml", "--if-match", now.trim()]).ok(), "without its quotes");
}

/// The head and the body of a request.
fn request(stream: &mut std::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut some = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = |head: &str| {
            let line =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            line.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        if text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= length(head)) {
            return text;
        }
        match std::io::Read::read(stream, &mut some) {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(some.get(..read).expect("what was read")),
        }
    }
}

#[test]
fn a_lost_answer_is_asked_for_once_more_and_the_act_is_done_once() {
    let mut serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    // Between the two: passes requests on, and loses the first answer.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let between = format!("http://{}", listener.local_addr().expect("its address"));
    let to = serve.url.replace("http://", "");
    let passing = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for lose in [true, false, true, true] {
            let (mut client, _) = listener.accept().expect("somebody");
            let asked = request(&mut client);
            let mut server = std::net::TcpStream::connect(&to).expect("the controller");
            server
                .write_all(asked.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes())
                .expect("it takes it");
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut server, &mut answer).expect("an answer");
            if !lose {
                client.write_all(&answer).expect("it is read");
            }
            seen.push(asked);
        }
        seen
    });
    let act = |what: &str, arguments: &[&str]| {
        Ran::from(
            weir(&[&[what, "checkout", "--server", &between, "--reason", "a sale"], arguments].concat())
                .output()
                .expect("`weir` runs"),
        )
    };
    let paused = act("pause", &[]);
    assert!(paused.ok() && paused.out.starts_with("experiment checkout: pause"), "{paused:?}");
    let lost = act("resume", &[]);
    assert!(!lost.ok() && lost.err.contains("whether it was done is not known"), "{lost:?}");
    let seen = passing.join().expect("its end");
    let key = |request: &String| request.lines().find(|line| line.starts_with("idempotency-key: ")).map(str::to_owned);
    let keys: Vec<_> = seen.iter().map(key).collect();
    assert!(keys[0].is_some() && keys[0] == keys[1] && keys[1] != keys[2] && keys[2] == keys[3], "{keys:?}");
    let journal = serve.run(&["audit"]).out;
    assert_eq!(journal.matches("/commands").count(), 4, "each was asked for twice: {journal}");
    let story = serve.run(&["explain", "checkout"]).out;
    assert_eq!(story.matches("a sale").count(), 2, "and done once: {story}");
    serve.terminate();
}

#[test]
fn what_commands_a_terminal_is_never_printed_raw() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let services =
            serde_json::json!({ "services": [{ "service": "a\u{1b}[2J\nb", "experiments": 1, "concluded": 0 }] });
        let problem = serde_json::json!({ "detail": "no \u{1b}]0;owned\u{7}" });
        let token = serde_json::json!({ "name": "eve", "role": "viewer", "createdAt": 1, "createdBy": "\u{1b}c" });
        let tokens = serde_json::json!({ "tokens": [token], "configured": [{ "name": "\u{9b}2J", "role": "viewer" }] });
        let made = serde_json::json!({ "name": "eve", "token": "weir_\u{1b}]52;c;b3duZWQ=\u{7}" });
        let answers = [
            ("200 OK", &services),
            ("200 OK", &services),
            ("409 Conflict", &problem),
            ("200 OK", &tokens),
            ("201 Created", &made),
        ];
        for (status, body) in answers {
            let (mut client, _) = listener.accept().expect("somebody");
            request(&mut client);
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            client.write_all(format!("{head}{body}").as_bytes()).expect("it is read");
        }
    });
    let run = |arguments: &[&str]| Ran::from(weir(arguments).output().expect("`weir` runs"));
    let shown = run(&["trend", "--server", &url]);
    assert!(shown.ok() && shown.out.contains("a\\u{1b}[2J\\nb ") && !shown.out.contains('\u{1b}'), "{shown:?}");
    let structured = run(&["trend", "--server", &url, "-o", "json"]);
    assert_eq!(structured.json()["services"][0]["service"], "a\u{1b}[2J\nb", "programs get it as it is");
    let refused = run(&["trend", "--server", &url]);
    assert!(!refused.ok() && refused.err.contains("no \\u{1b}]0;owned\\u{7}"), "{refused:?}");
    let tokens = run(&["token", "list", "--server", &url]);
    let raw = tokens.out.contains(['\u{1b}', '\u{9b}']);
    assert!(tokens.ok() && !raw && tokens.out.contains("\\u{1b}c") && tokens.out.contains("\\u{9b}2J"), "{tokens:?}");
    let made = run(&["token", "create", "eve", "--role", "viewer", "--server", &url]);
    assert!(!made.ok() && made.out.is_empty() && made.err.contains("weir token revoke eve"), "{made:?}");
    assert!(!made.err.contains('\u{1b}'), "{made:?}");
}
