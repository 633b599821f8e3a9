//! `weir serve` and the command line against it.
#![allow(dead_code, reason = "each test file is a program of its own, and none uses all of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

pub(crate) const DOCUMENT: &str = "\
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
pub(crate) struct Serve {
    pub(crate) process: Child,
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Serve {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (process, url) = serve(&folder, arguments);
        Self { process, url, folder }
    }

    /// Ends it as a crash would, and starts it again on its ledger.
    pub(crate) fn restart(&mut self, arguments: &[&str]) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        (self.process, self.url) = serve(&self.folder, arguments);
    }

    /// Ends it in order, and waits for that.
    pub(crate) fn terminate(&mut self) {
        let id = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().expect("`kill` runs");
        assert!(told.success(), "nobody was told");
        self.process.wait().expect("it ends");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = weir(arguments);
        command.env("WEIR_SERVER", &self.url).current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("`weir` runs"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }
}

/// Starts `weir serve`; where it listens.
fn serve(folder: &tempfile::TempDir, arguments: &[&str]) -> (Child, String) {
    let listen = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"][..] };
    let mut process = weir(&["serve", "--ledger"])
        .arg(folder.path().join("weir.db"))
        .args(listen)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("`weir serve` starts");
    let mut line = String::new();
    let output = process.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
    (process, url.replace("0.0.0.0", "127.0.0.1"))
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `weir` without the environment's own settings.
pub(crate) fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_")) {
        command.env_remove(name);
    }
    // Nor its user's own contexts.
    command.env("WEIR_CONFIG", "/dev/null");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
