//! What `weir serve` has of the machine: its files, how many it may have open, its cores; and what it says of secrets.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Ran, Serve, weir};

#[test]
fn the_ledger_and_what_lies_beside_it_are_their_owners_alone() {
    let serve = Serve::start(&[]);
    let mut seen = Vec::new();
    for file in std::fs::read_dir(serve.folder.path()).expect("a folder") {
        let file = file.expect("a file");
        let name = file.file_name().to_string_lossy().into_owned();
        // The lock has nothing in it.
        if name.starts_with("weir.db") && file.metadata().expect("its size").len() > 0 {
            let mode = file.metadata().expect("its mode").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
            seen.push(name);
        }
    }
    assert!(seen.iter().any(|name| name == "weir.db") && seen.iter().any(|name| name.ends_with("-wal")), "{seen:?}");
}

#[test]
fn the_controller_has_as_many_files_as_it_may_whatever_the_shell_begins_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = Command::new("sh")
        .args(["-c", "ulimit -Sn 96 && ulimit -Hn 512 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_weir"), "serve"])
        .args(["--listen", "127.0.0.1:0", "--ledger"])
        .arg(folder.path().join("weir.db"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` runs");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on http://").expect("an address").to_owned();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("its limits");
    // Half of 512 less 64 for one address: more than the soft limit had room for.
    let held: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(&address).expect("a connection")).collect();
    let mut last = TcpStream::connect(&address).expect("a connection");
    last.set_read_timeout(Some(Duration::from_secs(15))).expect("a limit");
    let asked = last.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let answered = asked.and_then(|()| last.read_to_string(&mut answer));
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("its files").count();
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    drop(held);
    assert!(answered.is_ok() && answer.starts_with("HTTP/1.1 200"), "{answered:?} {answer}");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("the line");
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "512"], "{files}");
    assert!((200..300).contains(&open), "{open} files: half of the room is one address's");
}

#[test]
fn a_rehearsal_ends_when_whoever_asked_for_it_hangs_up() {
    let serve = Serve::start(&[]);
    let address = serve.url.strip_prefix("http://").expect("http");
    let ask = |scenario: &str, runs: u32| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let (length, more) = (scenario.len(), "connection: close");
        write!(stream, "POST /v1/rehearsals?runs={runs} HTTP/1.1\r\nhost: {address}\r\n{more}\r\ncontent-length: {length}\r\n\r\n{scenario}")
            .expect("a request");
        stream
    };
    let begin = Instant::now();
    // Computes for the ten seconds that there are.
    let long = ask(include_str!("../../docs/scenarios/bad-canary.yaml"), 200);
    std::thread::sleep(Duration::from_millis(500));
    let mut short = ask(include_str!("../../docs/scenarios/broken.yaml"), 0);
    short.set_read_timeout(Some(Duration::from_secs(2))).expect("a limit");
    let mut byte = [0];
    assert!(short.read(&mut byte).is_err(), "it waits its turn");
    drop(long);
    short.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let mut answer = String::new();
    short.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begin.elapsed() < Duration::from_secs(8), "the first went on: {:?}", begin.elapsed());
}

#[test]
fn no_secret_is_repeated_in_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let refused = |ran: Ran| {
        assert!(!ran.ok() && !ran.err.is_empty(), "{ran:?}");
        assert!(!ran.err.contains("s3cret") && !ran.out.contains("s3cret"), "{ran:?}");
    };
    // With the role left out, both the wrong way round, of no role, twice, and not ASCII.
    for wrong in [
        "s3cret",
        "s3cret=operator",
        "s3cret:ada=operator",
        "ada:s3cret=x",
        "king=s3cret",
        "operator=s3cret,viewer=s3cret",
        "operator=s3cret\u{e9}",
        "operator:s3cret 7=x",
    ] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--ledger", &path("weir.db"), "--token", wrong];
        refused(Ran::from(weir(&serve).output().expect("`weir` runs")));
        std::fs::write(path("tokens"), wrong.replace(',', "\n")).expect("a file");
        let serve = ["serve", "--listen", "127.0.0.1:0", "--ledger", &path("weir.db"), "--token-file", &path("tokens")];
        refused(Ran::from(weir(&serve).output().expect("`weir` runs")));
    }
    for wrong in [
        "contexts: [{name: a, server: 'http://x', token: s3cret, tokn: 1}]",
        "contexts: [{name: a, server: 'http://x', token: [s3cret]}]",
        "contexts:\n- name: a\n  token: s3cret\n server: x",
        "token: s3cret",
        "s3cret",
    ] {
        std::fs::write(path("config"), wrong).expect("a file");
        refused(Ran::from(weir(&["get"]).env("WEIR_CONFIG", path("config")).output().expect("`weir` runs")));
    }
}
