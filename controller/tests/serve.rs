//! What `weir serve` has of the machine: its files, and how many it may have open.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]
#![cfg(target_os = "linux")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::Serve;

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
