//! What `weir serve` says when it starts.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use support::{Ran, weir};

#[test]
fn a_program_without_the_dashboard_says_so_when_it_starts_and_how_to_get_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = weir(&["serve", "--listen", "127.0.0.1:0", "--ledger"]);
    command.arg(folder.path().join("weir.db")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("`weir serve` starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("listening on ").expect("where").to_owned();
    let page = ureq::get(format!("{url}/")).call().expect("a page").body_mut().read_to_string().expect("text");
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    let mut said = String::new();
    process.stderr.take().expect("its log").read_to_string(&mut said).expect("text");
    // The page that stands in for it names the command, too.
    let missing = page.contains("make ui");
    assert_eq!(said.lines().filter(|line| line.contains("no dashboard")).count(), usize::from(missing), "{said}");
    assert_eq!(said.contains("make ui"), missing, "{said}");
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_served() {
    for wrong in ["https://weir.example", "a b", "ada@weir.example"] {
        let refused = Ran::from(weir(&["serve", "--host", wrong]).output().expect("`weir` runs"));
        assert!(refused.code == Some(2) && refused.err.contains("write a name alone"), "{wrong}: {refused:?}");
    }
}

#[test]
fn where_it_cannot_start_it_says_what_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let (here, nowhere) = (folder.path().join("weir.db"), folder.path().join("none/weir.db"));
    for (listen, ledger, says, code) in [
        ("8181", &here, "write it as `127.0.0.1:8181`", 2),
        ("127.0.0.1:0", &nowhere, "whose folder has to be there", 1),
        (address.as_str(), &here, "is given with --listen", 1),
    ] {
        let mut command = weir(&["serve", "--listen", listen, "--ledger"]);
        let refused = Ran::from(command.arg(ledger).output().expect("`weir` runs"));
        assert!(refused.code == Some(code) && refused.err.contains(says), "{listen}: {refused:?}");
    }
}
