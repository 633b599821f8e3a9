//! The real controller, `weir serve`, on a ledger of its own; killed and started again as a test asks.

use crate::wait::{PATIENCE, eventually};
use crate::{Reply, client, paths, process::Process};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A controller, running or killed. Killed on drop.
#[derive(Debug)]
pub struct Controller {
    process: Option<Process>,
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    starts: u32,
    address: SocketAddr,
}

impl Controller {
    /// Starts one on a free port with a new ledger.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments of `weir serve`.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(arguments, Vec::new()).await
    }

    /// The same with variables of its environment.
    pub async fn start_in(arguments: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let mut controller = Self {
            process: None,
            directory: tempfile::Builder::new().prefix("weir-controller-").tempdir().expect("a folder"),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment,
            starts: 0,
            address: "127.0.0.1:0".parse().expect("an address"),
        };
        controller.resume().await;
        controller
    }

    /// Where it listens; the same after [`Self::resume`].
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of its ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.directory.path().join("weir.db")
    }

    /// Kills it (SIGKILL), as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Sends it a signal: SIGSTOP and SIGCONT, to let it stand still and go on.
    pub fn signal(&self, signal: libc::c_int) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// Starts it, again, with the same ledger and port.
    pub async fn resume(&mut self) {
        let binary = paths::weir().unwrap_or_else(|error| panic!("the controller: {error}"));
        self.starts += 1;
        let log = self.directory.path().join(format!("weir-{}.log", self.starts));
        let mut command = Command::new(binary);
        command.arg("serve").args(["--listen", &self.address.to_string()]).arg("--ledger").arg(self.ledger());
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start("weir serve", &mut command, &log).unwrap_or_else(|error| panic!("{error}"));
        self.address = eventually(PATIENCE, "`weir serve` listens", async || {
            if let Some(status) = process.ended() {
                panic!("`weir serve` ended ({status}):\n{}", process.tail());
            }
            listening(&process.output())
        })
        .await;
        self.process = Some(process);
    }

    /// Runs the command line against it.
    #[must_use]
    pub fn weir(&self, arguments: &[&str]) -> Output {
        let binary = paths::weir().unwrap_or_else(|error| panic!("the controller: {error}"));
        let mut command = Command::new(binary);
        command.args(arguments).env("WEIR_SERVER", format!("http://{}", self.address)).current_dir(&self.directory);
        command.output().expect("`weir` starts")
    }

    /// Applies an experiment document.
    ///
    /// # Panics
    /// When it is refused, with what was said.
    pub fn apply(&self, document: &str) {
        let path = self.directory.path().join("experiment.yaml");
        std::fs::write(&path, document).expect("a file");
        let output = self.weir(&["apply", "-f", path.to_str().expect("a path of characters")]);
        assert!(
            output.status.success(),
            "`weir apply` refused:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Calls its API.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Reply> {
        client::call(self.address, method, path, headers, body).await.ok()
    }

    /// A JSON resource of its API; `None` unless it answers 200 with JSON.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let reply = self.call("GET", path, &[], Vec::new()).await?;
        (reply.status == 200).then(|| serde_json::from_slice(&reply.body).ok()).flatten()
    }
}

/// The address in the line with which `weir serve` says that it listens.
#[must_use]
pub fn listening(output: &str) -> Option<SocketAddr> {
    output.lines().find_map(|line| line.strip_prefix("listening on http://")?.trim().parse().ok())
}
