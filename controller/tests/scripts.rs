//! The command line as scripts and shells use it: contexts, waiting, formats, completions, the manual.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::process::{Command, Stdio};
use support::{DOCUMENT, Ran, Serve, weir};

/// `weir` with a configuration file in a folder and none of the environment's.
fn configured(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = weir(arguments);
    command.env("WEIR_CONFIG", folder.join("weir.yaml"));
    command
}

fn run(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("`weir` runs"))
}

#[test]
fn contexts_are_kept_where_a_link_leads_and_in_place_of_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let set = |config: &std::path::Path| {
        let mut weir = weir(&["context", "set", "here", "--server", "http://127.0.0.1:1"]);
        run(weir.env("WEIR_CONFIG", config))
    };
    std::os::unix::fs::symlink(path("kept.yaml"), path("link.yaml")).expect("a link");
    std::fs::write(path("kept.yaml"), "").expect("a file");
    assert!(set(&path("link.yaml")).ok());
    assert!(
        path("link.yaml").is_symlink() && std::fs::read(path("kept.yaml")).expect("a file").starts_with(b"current")
    );
    let socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
    let ran = set(&path("socket"));
    assert!(!ran.ok(), "{ran:?}");
    drop(socket);
    assert!(!path("socket").is_file(), "as a device: /dev/null is named by whoever wants no file at all");
}

#[test]
fn contexts_that_are_set_at_once_are_all_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            configured(folder.path(), &["context", "set", name, "--server", "http://a:1"])
                .stdout(Stdio::null())
                .spawn()
                .expect("`weir`")
        })
        .collect();
    for mut one in running {
        assert!(one.wait().expect("it ends").success());
    }
    let listed = run(&mut configured(folder.path(), &["context", "list", "-o", "json"]));
    assert_eq!(listed.json()["contexts"].as_array().map(Vec::len), Some(12), "{listed:?}");
}

#[test]
fn a_context_says_where_commands_go_and_keeps_its_token_to_itself() {
    let serve = Serve::start(&["--token", "operator:ada=s3cret", "--token", "viewer=look"]);
    let folder = serve.folder.path();
    let weir = |arguments: &[&str]| run(&mut configured(folder, arguments));

    let ran = weir(&["context", "list"]);
    assert!(ran.ok() && ran.out.starts_with("no contexts in "), "{ran:?}");
    serve.write("token", "s3cret\n");
    let file = folder.join("token");
    let file = file.to_str().expect("a path");
    let ran = weir(&["context", "set", "here", "--server", &serve.url, "--token-file", file]);
    assert_eq!(ran.out, format!("context here made: {}\n", serve.url), "{ran:?}");
    assert!(weir(&["get"]).ok(), "the first context is the current one, with its token");
    assert!(weir(&["get", "--token-value", "nope"]).err.contains("weir context"), "an argument goes first");

    let ran = weir(&["context", "set", "nowhere", "--server", "http://127.0.0.1:1"]);
    assert!(ran.out.ends_with("`weir context use nowhere` has commands go there\n"), "{ran:?}");
    assert!(weir(&["get", "--context", "nowhere"]).err.contains("no answer from http://127.0.0.1:1"));
    assert!(weir(&["context", "use", "nowhere"]).ok() && !weir(&["get"]).ok());
    assert!(weir(&["get", "--context", "here"]).ok());
    let ran = weir(&["context", "list", "-o", "json"]);
    assert_eq!(ran.json()["contexts"][1]["current"], true, "{ran:?}");
    assert!(!ran.out.contains("s3cret"), "{ran:?}");

    // A token is never taken along to another server.
    let ran = weir(&["context", "set", "here", "--server", "http://127.0.0.1:2"]);
    assert!(ran.code == Some(1) && ran.err.contains("--no-token"), "{ran:?}");
    let ran = weir(&["get", "--context", "gone"]);
    assert_eq!(ran.err, "weir: there is no context gone; there are: here, nowhere\n", "{ran:?}");
    assert!(weir(&["context", "delete", "nowhere"]).ok());
    assert!(weir(&["context", "list"]).out.contains("here"));

    #[cfg(unix)]
    {
        let mode = std::fs::metadata(folder.join("weir.yaml")).expect("the file").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }
    serve.write("weir.yaml", "contexts: [{name: here, server: ftp://a}]\n");
    let ran = weir(&["get"]);
    assert!(ran.code == Some(1) && ran.err.contains("weir.yaml: the server of context here"), "{ran:?}");
    serve.write("weir.yaml", "nonsense: [\n");
    assert_eq!(weir(&["get"]).code, Some(1));
}

#[test]
fn scripts_wait_until_an_experiment_has_come_somewhere() {
    let serve = Serve::start(&[]);
    let wait = |what: &str, more: &[&str]| serve.run(&[&["wait", "checkout", "--for", what], more].concat());
    let ran = wait("concluded", &[]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "weir: There is no experiment `checkout`: `weir get` shows those there are\n"),
        "{ran:?}"
    );

    serve.write(
        "checkout.yaml",
        &DOCUMENT.replace("minExposures: 100", "minExposures: 100\n  approvals: {start: true}"),
    );
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    assert_eq!(wait("approval", &[]).code, Some(0));
    let ran = wait("running", &["--timeout", "200ms"]);
    let said =
        "weir: checkout was not `running` within 200 ms: it is pending; `weir explain checkout` says what is missing\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(4), said), "{ran:?}");
    assert!(serve.run(&["start", "checkout", "--reason", "all hands are here"]).ok());
    assert_eq!(wait("running", &[]).code, Some(0));

    let waiting = serve
        .command(&["wait", "checkout", "--for", "promoted", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`weir wait` starts");
    assert!(serve.run(&["promote", "checkout", "v2", "--reason", "needed"]).ok());
    let ran = Ran::from(waiting.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json(), serde_json::json!({ "name": "checkout", "reached": true, "phase": "concluded" }));
    let ran = wait("rolled-back", &[]);
    let said = "checkout: concluded (promoted v2, by hand: somebody from 127.0.0.1), and will not come there\n";
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), said), "{ran:?}");
    assert_eq!(wait("nonsense", &[]).code, Some(2));
}

#[test]
fn a_services_trend_is_every_experiment_that_concluded_deleted_ones_too() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    assert_eq!(serve.run(&["trend"]).out, "no experiment was ever about a service\n");
    let ran = serve.run(&["trend", "shop"]);
    assert!(ran.ok() && ran.out.starts_with("no experiment of shop has concluded yet"), "{ran:?}");

    for name in ["first", "second"] {
        serve.write("it.yaml", &DOCUMENT.replace("checkout", name));
        assert!(serve.run(&["apply", "-f", "it.yaml"]).ok());
        assert_eq!(serve.run(&["trend"]).out.lines().count(), 2);
        let ran = serve.run(&["promote", name, "v2", "--reason", "needed"]);
        assert!(ran.ok(), "{ran:?}");
        assert!(serve.run(&["delete", name]).ok());
    }
    let ran = serve.run(&["trend", "shop"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("shop: what each experiment found when it concluded (days in UTC"), "{ran:?}");
    assert!(lines[2].starts_with("DAY         NAME    OUTCOME   VERSION  FATE        EXPOSURES"), "{ran:?}");
    assert!(lines[3].contains("-") && lines[3].contains("  first   promoted  v1       replaced"), "{ran:?}");
    assert!(lines[4].contains("v2       promoted ◆") && lines[5].contains("second"), "{ran:?}");
    assert!(ran.out.ends_with("before second somebody changed what serves without Weir\n"), "{ran:?}");
    let json = serve.run(&["trend", "shop", "-o", "json"]).json();
    assert_eq!(json["experiments"][1]["versions"][1]["fate"], "promoted", "{json}");
    let ran = serve.run(&["trend", "shop", "--csv"]);
    assert!(ran.ok() && ran.out.starts_with("experiment,id,"), "{ran:?}");
    assert!(
        ran.out.contains("\"first\"") && ran.out.contains("\"second\""),
        "nothing was measured, and they are told: {ran:?}"
    );
    assert!(serve.run(&["trend", "a/../b"]).out.starts_with("no experiment of a/../b"));
}

#[test]
fn yaml_says_what_json_says() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    let ran = serve.run(&["apply", "-f", "checkout.yaml", "-o", "yaml"]);
    assert!(ran.ok() && ran.out.contains("result: created"), "{ran:?}");
    let read = |format: &str| serve.run(&["get", "checkout", "-o", format]);
    let (json, yaml) = (read("json").json(), read("yaml"));
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml.out).unwrap_or_else(|error| panic!("{error}: {yaml:?}"));
    for field in ["name", "id", "experiment", "weights"] {
        assert_eq!(json[field], yaml[field], "{field}");
    }
    let ran = serve.run(&["get", "nope", "-o", "yaml"]);
    assert!(ran.code == Some(1) && ran.out.starts_with("---\nerror: "), "{ran:?}");
}

#[test]
fn shells_complete_and_the_manual_has_a_page_for_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&mut weir(&["completions", shell]));
        assert!(ran.ok() && ran.out.contains("set-weights"), "{shell}");
    }
    // What it prints is a script that this shell takes, and that knows a command by its beginning.
    let script = "source <(\"$1\" completions bash) && COMP_WORDS=(weir roll) COMP_CWORD=1 && _weir weir roll weir && echo ${COMPREPLY[*]}";
    let ran = run(Command::new("bash").args(["-c", script, "-", env!("CARGO_BIN_EXE_weir")]));
    assert_eq!(ran.out.trim(), "roll-back", "{ran:?}");

    // The others, where they are installed: what `weir` says is loaded, and `weir roll` becomes what it begins.
    let weir_binary = env!("CARGO_BIN_EXE_weir");
    let fish = format!("{weir_binary} completions fish | source; complete --do-complete 'weir roll'");
    // With a home of their own: neither reads its user's settings, nor writes there.
    let home = tempfile::tempdir().expect("a folder");
    match Command::new("fish").args(["--no-config", "-c", &fish]).env("HOME", home.path()).output() {
        Ok(output) => {
            let ran = Ran::from(output);
            assert!(ran.out.starts_with("roll-back\t"), "{ran:?}");
        }
        Err(_) => eprintln!("SKIPPED: there is no fish on this machine; its completions were made and not tried"),
    }
    let zsh = format!(
        "autoload -Uz compinit && compinit -u -D && source <({weir_binary} completions zsh) && print ${{_comps[weir]}} && \
         _describe() {{ print -l ${{(P)4}} }} && _weir_commands"
    );
    match Command::new("zsh").args(["-f", "-c", &zsh]).env("HOME", home.path()).output() {
        Ok(output) => {
            let ran = Ran::from(output);
            assert!(ran.out.starts_with("_weir\n") && ran.out.contains("roll-back:Take all traffic"), "{ran:?}");
        }
        Err(_) => eprintln!("SKIPPED: there is no zsh on this machine; its completions were made and not tried"),
    }

    let ran = run(&mut weir(&["man"]));
    assert!(ran.ok() && ran.out.contains(".TH weir 1"), "{ran:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("made/man1");
    let into = into.to_str().expect("a path");
    assert!(run(&mut weir(&["man", "--into", into])).ok());
    let page = std::fs::read_to_string(std::path::Path::new(into).join("weir-set-weights.1")).expect("its page");
    let example = "\n.SH EXAMPLES\n.nf\nweir set\\-weights checkout v1=90% v2=10% \\-\\-reason ";
    assert!(page.contains(example) && !page.contains("EXTRA"), "{page}");
    assert!(page.contains("load test of v2") && page.contains("\n.fi\n.SH NOTES\nIt is paused"), "{page}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = file.join("man1");
    let ran = run(&mut weir(&["man", "--into", below.to_str().expect("a path")]));
    assert!(!ran.ok() && ran.err.contains("name another folder"), "{ran:?}");
}

/// A server that answers the requests that come with these, one after the other, and the rest with the last; how many came.
fn answering(answers: Vec<String>) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for client in listener.incoming() {
            let mut client = client.expect("somebody");
            let index = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let answer = answers.get(index.min(answers.len() - 1)).expect("one");
            let _ = std::io::Read::read(&mut client, &mut [0; 4_096]);
            std::io::Write::write_all(&mut client, answer.as_bytes()).expect("it is read");
            // One that is to be silent keeps its connection.
            if answer.is_empty() {
                held.push(client);
            }
        }
    });
    (url, count)
}

#[test]
fn waiting_outlives_a_server_that_is_busy_and_one_that_says_nothing() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let view = serve.run(&["get", "checkout", "-o", "json"]).json().to_string();
    let answer = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let fine = answer("200 OK", &view);
    let busy = answer("429 Too Many Requests", "{\"detail\": \"Too many requests.\"}");
    let paused = answer(
        "200 OK",
        &view.replace("{\"phase\":\"running\"}", "{\"phase\":\"paused\",\"cause\":\"asked\",\"since\":1}"),
    );
    assert_ne!(paused, fine, "{view}");
    let (url, count) = answering(vec![fine.clone(), busy.clone(), busy, paused]);
    let ran = run(&mut weir(&["wait", "checkout", "--for", "paused", "--server", &url, "--timeout", "60s"]));
    assert!(ran.ok() && ran.err.contains("429") && ran.err.contains("still waiting"), "{ran:?}");
    assert_eq!(
        (count.load(std::sync::atomic::Ordering::SeqCst), ran.err.lines().count()),
        (4, 1),
        "said once: {ran:?}"
    );

    let (url, _) = answering(vec![fine, String::new()]);
    let began = std::time::Instant::now();
    let ran = run(&mut weir(&["wait", "checkout", "--for", "paused", "--server", &url, "--timeout", "2s"]));
    assert!(ran.code == Some(4) && ran.err.contains("the server does not answer"), "{ran:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "it keeps to its time");
}
