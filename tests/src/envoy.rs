//! A real Envoy with the filter in front of versions: configuration built as JSON, free ports, nothing shared.

mod builder;
mod pieces;

pub use builder::EnvoyBuilder;
pub use pieces::{cluster, cluster_speaking};

use crate::wait::{PATIENCE, eventually, holds};
use crate::{client, paths, process::Process};
use builder::HotRestart;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Envoy's name of the controller's cluster in every configuration here.
pub const CONTROLLER: &str = "weir-controller";
/// The node id that reports carry.
pub const NODE: &str = "envoy-under-test";

/// A running Envoy. Killed on drop.
#[derive(Debug)]
pub struct Envoy {
    process: Option<Process>,
    /// Those that it has taken over from.
    before: Vec<Process>,
    directory: TempDir,
    builder: EnvoyBuilder,
    admin: Option<SocketAddr>,
    listener: Option<SocketAddr>,
}

impl Envoy {
    /// Begins to describe one.
    #[must_use]
    pub fn builder() -> EnvoyBuilder {
        EnvoyBuilder::default()
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.expect("Envoy is ready")
    }

    /// Where its admin pages are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("Envoy is ready")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().output()
    }

    /// One connection over HTTP/1.1.
    pub async fn connect(&self) -> client::Client {
        client::Client::http1(self.address()).await
    }

    /// One connection to every worker: they are handed out in turn, so as many as there are workers reach all.
    pub async fn connect_to_every_worker(&self) -> Vec<client::Client> {
        let mut connections = Vec::new();
        for _ in 0..self.builder.concurrency {
            connections.push(self.connect().await);
        }
        connections
    }

    /// Connects to every worker and waits until each uses a plan that [`crate::plans::plan`] made.
    pub async fn workers_with_plan(&self, revision: &str) -> Vec<client::Client> {
        let mut workers = self.connect_to_every_worker().await;
        self.wait_for_plan(&mut workers, revision).await;
        workers
    }

    /// Waits until the workers behind connections use a plan.
    pub async fn wait_for_plan(&self, workers: &mut [client::Client], revision: &str) {
        let marker = format!("{}: {revision}", crate::plans::MARKER_HEADER);
        for (at, worker) in workers.iter_mut().enumerate() {
            eventually(PATIENCE, &format!("worker {at} uses plan {revision}"), async || {
                let reply = worker.get("/echo", &[("host", crate::plans::MARKER_HOST)]).await;
                holds(reply.text().lines().any(|line| line == marker))
            })
            .await;
        }
    }

    /// Waits until each VM, the workers' and the main thread's, has said in the log that it uses so many plans with experiments, one after
    /// the other; so nobody is exposed before.
    pub async fn wait_for_plans_in_log(&self, plans: usize) {
        let wanted = plans * (self.builder.concurrency as usize + 1);
        eventually(PATIENCE, &format!("every VM has taken {plans} plans"), async || {
            let log = self.log();
            let taken = |line: &&str| line.contains("weir: plan ") && !line.ends_with(" with 0 experiments");
            holds(log.lines().filter(taken).count() >= wanted)
        })
        .await;
    }

    /// Kills it and starts another with the same configuration, on other ports.
    pub async fn restart(&mut self) {
        self.process = None;
        self.before.clear();
        let builder = self.builder.clone();
        *self = builder.launch();
        self.wait_until_ready().await;
    }

    /// Starts another on the same ports that takes over from this one, which ends when it has drained (3 s).
    pub async fn hot_restart(&mut self) {
        let hot = self.builder.hot_restart.as_mut().expect("an Envoy that is hot-restartable");
        hot.epoch += 1;
        self.before.extend(self.process.take());
        let _ = fs::remove_file(self.directory.path().join("admin-address"));
        self.spawn();
        self.wait_until_ready().await;
    }

    /// Waits until all those that it took over from have ended by themselves.
    pub async fn predecessors_ended(&mut self) {
        let before = &mut self.before;
        eventually(PATIENCE, "the Envoy before has ended", async || {
            holds(before.iter_mut().all(|process| process.ended().is_some()))
        })
        .await;
    }

    /// Kills it (SIGKILL), as a crash or the kernel does.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("Envoy was started").kill();
    }

    /// Waits until it has ended by itself; the exit code, `None` for a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        let process = self.process.as_mut().expect("Envoy was started");
        eventually(PATIENCE, "Envoy ends by itself", async || process.ended()).await.code()
    }

    /// Gives the filter another configuration, through the watched file.
    pub fn update_plugin(&mut self, configuration: &str) {
        self.builder.plugin = Some(configuration.to_owned());
        if self.builder.plugin_from_file { self.write_plugin() } else { self.write_listeners() }
    }

    /// Where its admin pages are, once it has said so.
    pub(crate) const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Starts it without waiting for anything.
    fn launch(builder: EnvoyBuilder) -> Self {
        let directory = tempfile::Builder::new().prefix("weir-envoy-").tempdir().expect("a folder");
        let mut envoy = Self { process: None, before: Vec::new(), directory, builder, admin: None, listener: None };
        envoy.spawn();
        envoy
    }

    async fn wait_until_ready(&mut self) {
        let path = self.directory.path().join("admin-address");
        let admin: SocketAddr = eventually(PATIENCE, "Envoy opens its admin port", async || {
            self.must_run();
            fs::read_to_string(&path).ok()?.trim().parse().ok()
        })
        .await;
        self.admin = Some(admin);
        let listener = eventually(PATIENCE, "Envoy listens", async || {
            self.must_run();
            self.admin_get("/ready").await.filter(|answer| answer.trim() == "LIVE")?;
            if let Some(address) = self.builder.listens_at {
                let listeners = self.admin_get("/listeners").await?;
                return listeners.contains(&format!("::{address}\n")).then_some(address);
            }
            let listeners: Value = serde_json::from_str(&self.admin_get("/listeners?format=json").await?).ok()?;
            let socket = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            format!("{}:{}", socket["address"].as_str()?, socket["port_value"].as_u64()?).parse().ok()
        })
        .await;
        self.listener = Some(listener);
        if self.builder.concurrency > 0 {
            let workers = u64::from(self.builder.concurrency);
            eventually(PATIENCE, "all workers run", async || holds(self.stat("server.concurrency").await? == workers))
                .await;
        }
    }

    fn must_run(&mut self) {
        let process = self.process.as_mut().expect("Envoy was started");
        if let Some(status) = process.ended() {
            panic!("Envoy ended ({status}) instead of serving:\n{}", process.tail());
        }
    }

    fn spawn(&mut self) {
        let binary = paths::envoy().unwrap_or_else(|error| panic!("Envoy: {error}"));
        let directory = self.directory.path();
        // JSON is YAML too.
        let bootstrap = directory.join("envoy.yaml");
        let text = self.builder.text.clone().unwrap_or_else(|| self.builder.bootstrap(directory).to_string());
        fs::write(&bootstrap, text).expect("a file");
        if self.builder.listener_from_file {
            self.write_listeners();
        }
        if self.builder.plugin_from_file {
            self.write_plugin();
        }
        let mut command = Command::new(binary);
        command
            .arg("-c")
            .arg(bootstrap)
            .arg("--admin-address-path")
            .arg(directory.join("admin-address"))
            .args(["--concurrency", &self.builder.concurrency.to_string()])
            .args(["--log-level", "warning", "--component-log-level", "wasm:info,config:info"]);
        match self.builder.hot_restart {
            // No shared memory: many Envoys run beside each other.
            None => drop(command.args(["--disable-hot-restart", "--drain-time-s", "1"])),
            Some(HotRestart { base_id, epoch, .. }) => {
                command.args(["--base-id", &base_id.to_string(), "--restart-epoch", &epoch.to_string()]);
                command.args(["--drain-time-s", "2", "--parent-shutdown-time-s", "3"]);
            }
        }
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start("envoy", &mut command, &self.log_path());
        self.process = Some(process.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Envoy takes up a file that is moved into place.
    fn write_plugin(&self) {
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "weir",
            "typed_config": self.builder.wasm().expect("a plugin")["typed_config"],
        });
        self.write("plugin.json", &json!({"resources": [resource]}));
    }

    fn write(&self, name: &str, content: &Value) {
        let temporary = self.directory.path().join("new");
        fs::write(&temporary, content.to_string()).expect("a file");
        fs::rename(temporary, self.directory.path().join(name)).expect("a file");
    }

    fn write_listeners(&self) {
        let mut listener = self.builder.listener(self.directory.path());
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        self.write("listeners.json", &json!({"resources": [listener]}));
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("envoy.log")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("Envoy was started")
    }
}
