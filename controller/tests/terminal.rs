//! `weir watch` as a person has it: on a pseudo-terminal, with keys.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests: to panic is to fail")]

mod support;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use support::{DOCUMENT, Serve};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal of 120 columns and 40 rows.
struct Terminal {
    screen: vt100::Parser,
    output: Receiver<Vec<u8>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Terminal {
    fn start(serve: &Serve, arguments: &[&str]) -> Self {
        let size = PtySize { rows: 40, cols: 120, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments);
        command.env("WEIR_SERVER", &serve.url);
        command.env("WEIR_CONFIG", "/dev/null");
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).expect("`weir` starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("its output");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(read) = reader.read(&mut bytes) {
                let some = bytes.get(..read).filter(|bytes| !bytes.is_empty());
                if some.is_none_or(|some| send.send(some.to_vec()).is_err()) {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().expect("its input");
        Self { screen: vt100::Parser::new(40, 120, 0), output, keys, child, _master: pair.master }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads");
        self.keys.flush().expect("it reads");
    }

    /// Waits until the screen says something.
    fn until(&mut self, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let shown = self.screen.screen().contents();
            if shown.contains(text) {
                return shown;
            }
            assert!(begin.elapsed() < PATIENCE, "no {text:?} on:\n{shown}");
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&bytes);
            }
        }
    }

    /// Waits until the screen no longer says something.
    fn until_gone(&mut self, text: &str) {
        let begin = Instant::now();
        while self.screen.screen().contents().contains(text) {
            assert!(begin.elapsed() < PATIENCE, "{text:?} stays");
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&bytes);
            }
        }
    }

    /// Waits until the full-screen view is left.
    fn until_left(&mut self) {
        let begin = Instant::now();
        while self.screen.screen().alternate_screen() {
            assert!(begin.elapsed() < PATIENCE, "it stays in the alternate screen");
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&bytes);
            }
        }
    }

    /// Waits until it ends. Its exit code, and what is then on the screen.
    fn end(mut self) -> (u32, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its end") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end:\n{}", self.screen.screen().contents());
            std::thread::sleep(Duration::from_millis(20));
        };
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(500)) {
            self.screen.process(&bytes);
        }
        (status.exit_code(), self.screen.screen().contents())
    }
}

fn phase(serve: &Serve) -> String {
    let ran = serve.run(&["get", "checkout", "-o", "json"]);
    assert_eq!(ran.err, "");
    ran.json().pointer("/phase").and_then(serde_json::Value::as_str).expect("a phase").to_owned()
}

#[test]
fn a_person_pauses_and_promotes_from_the_full_screen_and_is_asked_before() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut terminal = Terminal::start(&serve, &["watch", "checkout"]);
    let shown = terminal.until("p pause");
    assert!(shown.contains("v1 █") && shown.contains("o promote") && !shown.contains("a approve"), "{shown}");

    // What is left again has not happened.
    terminal.press("p");
    terminal.until("Pause: weights stay as they are");
    terminal.press("no\r");
    terminal.until("Really? y does it");
    terminal.press("n");
    assert_eq!(phase(&serve), "running");

    terminal.press("p");
    terminal.until("Why?");
    terminal.press("sale until six\r");
    terminal.until("Reason: sale until six");
    terminal.press("y");
    terminal.until("done:");
    terminal.until("p resume");
    assert_eq!(phase(&serve), "paused");

    terminal.press("o");
    let shown = terminal.until("Promote which version?");
    assert!(shown.contains("1  v1") && shown.contains("2  v2"), "{shown}");
    terminal.press("2");
    terminal.until("Promote v2: all traffic goes to it, whatever the evidence, and the experiment ends.");
    terminal.press("needed for the launch\ry");
    terminal.until("done: v2 was promoted by hand");
    assert_eq!(phase(&serve), "concluded");
    terminal.press("q");
    let (code, left) = terminal.end();
    assert_eq!(code, 0, "{left}");
    assert!(left.contains("checkout · service shop") && !left.contains("q leave"), "the last picture stays:\n{left}");
}

#[test]
fn it_ends_with_the_experiment_if_asked_and_says_when_the_server_is_away() {
    let mut serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut watching = Terminal::start(&serve, &["watch", "checkout", "--until-concluded"]);
    let mut left_alone = Terminal::start(&serve, &["watch", "checkout"]);
    watching.until("p pause");
    left_alone.until("p pause");
    assert!(serve.run(&["promote", "checkout", "v2", "--reason", "needed"]).ok());
    assert_eq!(watching.end().0, 0);
    serve.process.kill().expect("it is killed");
    left_alone.until("not up to date: no answer from");
    left_alone.press("\u{3}");
    assert_eq!(left_alone.end().0, 0, "Ctrl-C is no failure");

    let mut nowhere = Terminal::start(&serve, &["watch", "checkout"]);
    nowhere.until("is `weir serve` running there?");
    assert_eq!(nowhere.end().0, 1);
}

#[test]
fn a_person_rolls_back_from_the_full_screen_and_leaves_the_chooser_without_a_choice() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut terminal = Terminal::start(&serve, &["watch", "checkout"]);
    terminal.until("r roll back");
    // The chooser is left by q as by Esc, and the view stays.
    for leave in ["q", "\u{1b}"] {
        terminal.press("r");
        terminal.until("Roll back which version?");
        terminal.press(leave);
        terminal.until_gone("Roll back which version?");
    }
    terminal.press("r");
    terminal.until("Roll back which version?");
    terminal.press("1");
    terminal.until("Roll back v2:");
    terminal.press("a wrong build\ry");
    terminal.until("done:");
    terminal.until("rolled back");
    assert_eq!(phase(&serve), "concluded");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_person_approves_from_the_full_screen_what_waits() {
    let serve = Serve::start(&["--decision-interval", "100ms"]);
    let split = |v2: u32| {
        let more = format!(
            "reward: {{responseHeader: x-buys, direction: maximize}}\n  approvals: {{step: true}}\n  strategy: {{ab: {{weights: {{v1: {}%, v2: {v2}%}}}}}}",
            100 - v2
        );
        DOCUMENT.replace("minExposures: 100", &more)
    };
    serve.write("checkout.yaml", &split(10));
    let ran = serve.run(&["apply", "-f", "checkout.yaml"]);
    assert!(ran.ok(), "{ran:?}");
    let mut terminal = Terminal::start(&serve, &["watch", "checkout"]);
    assert!(!terminal.until("r roll back").contains("a approve"), "nothing waits yet");
    serve.write("checkout.yaml", &split(30));
    let ran = serve.run(&["apply", "-f", "checkout.yaml"]);
    assert!(ran.ok(), "{ran:?}");
    terminal.until("a approve");
    terminal.press("a");
    terminal.until("Approve what waits: v1 70%, v2 30%.");
    terminal.press("seen the dashboards\r");
    terminal.until("Really? y does it");
    terminal.press("y");
    terminal.until("done:");
    terminal.until("30%");
    let weights = serve.run(&["get", "checkout", "-o", "json"]).json();
    assert_eq!(weights["weights"][1]["weight"], 3_000, "{weights}");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_signal_ends_the_full_screen_and_leaves_the_terminal_as_it_was() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut terminal = Terminal::start(&serve, &["watch", "checkout"]);
        terminal.until("p pause");
        assert!(terminal.screen.screen().alternate_screen());
        let id = terminal.child.process_id().expect("its number").to_string();
        assert!(
            std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status().expect("`kill`").success()
        );
        terminal.until("checkout · service shop");
        terminal.until_left();
        assert_eq!(terminal.end().0, code, "{signal}");
    }
}

#[test]
fn closing_the_terminal_ends_the_full_screen() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut terminal = Terminal::start(&serve, &["watch", "checkout"]);
    terminal.until("p pause");
    // Its last reader goes with the next change of the picture, which is a second away.
    let Terminal { mut child, output, keys, _master, .. } = terminal;
    drop((output, keys, _master));
    let begin = Instant::now();
    while child.try_wait().expect("its state").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("it is killed");
            panic!("it runs on without a terminal");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn whoever_deletes_what_runs_is_asked_why_and_nothing_said_deletes_nothing() {
    let serve = Serve::start(&[]);
    serve.write("checkout.yaml", DOCUMENT);
    assert!(serve.run(&["apply", "-f", "checkout.yaml"]).ok());
    let mut terminal = Terminal::start(&serve, &["delete", "checkout"]);
    terminal.until("checkout is running. It ends");
    terminal.press("\r");
    let (code, shown) = terminal.end();
    assert!(code == 1 && shown.contains("nothing was"), "{shown}");
    assert!(serve.run(&["get", "checkout"]).ok(), "it is there still");
    let mut terminal = Terminal::start(&serve, &["delete", "checkout"]);
    terminal.until("Why is it deleted");
    terminal.press("the wrong question\r");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains("experiment checkout deleted"), "{shown}");
    assert!(!serve.run(&["get", "checkout"]).ok());
}
