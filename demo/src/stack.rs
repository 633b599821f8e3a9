//! Everything the demo runs: three versions, the controller, Envoy, the users. Owns the processes; they end with it.

use crate::processes::{listening, until};
use crate::service::Version;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use weir_tests::{client, paths, process::Process};

/// What a user loads into Envoy, and the experiment for it: the very files of `envoy-config/standalone`.
const ENVOY: &str = include_str!("../../envoy-config/standalone/envoy.yaml");
const EXPERIMENT: &str = include_str!("../../envoy-config/standalone/shop.yaml");
/// The experiment's name in that file, and the host it matches.
pub(crate) const NAME: &str = "shop";
/// What the demo goes on with when it is kept: the winner is the baseline, and v3, which sells best, is allowed more errors. It goes
/// before the one that has concluded, and its promotion waits for whoever looks.
pub(crate) const NEXT: &str = "shop-next";
const NEXT_EXPERIMENT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop-next}
spec:
  service: shop
  match: {hosts: [shop.example], paths: [{prefix: /}]}
  priority: 1
  versions:
    - {name: v2, baseline: true}
    - {name: v3}
  strategy: {bandit: {floor: 10%, maxStep: 10%}}
  objectives: [{name: errors, errorRate: {max: 10%}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
  approvals: {promotion: true}
  deadline: 2s
  bin: 1s
";
pub(crate) const HOST: &str = "shop.example";
/// The ports in `envoy.yaml`: listener, admin, controller, and those of the versions.
const LISTENER: u16 = 10_000;
const ADMIN: u16 = 9_901;
const CONTROLLER: u16 = 8_181;
const VERSIONS: [u16; 3] = [8_001, 8_002, 8_003];
/// Threads of Envoy that serve requests: more than one, since each has its own copy of the filter.
pub(crate) const WORKERS: u32 = 2;

/// The running demo. Order of fields is order of ending: the users leave first.
#[derive(Debug)]
pub(crate) struct Stack {
    processes: Vec<Process>,
    /// Where users connect.
    pub(crate) envoy: SocketAddr,
    /// Envoy's own pages.
    pub(crate) admin: SocketAddr,
    /// The controller's API.
    pub(crate) controller: SocketAddr,
    directory: TempDir,
}

impl Stack {
    /// Starts everything but the users, and applies the experiment.
    pub(crate) async fn start(seed: Option<u64>) -> anyhow::Result<Self> {
        let (weir, envoy, filter) = (paths::weir()?, paths::envoy()?, paths::filter()?);
        let directory = tempfile::Builder::new().prefix("weir-demo-").tempdir()?;
        let at = |name: &str| directory.path().join(name);
        let mut processes = Vec::new();

        let mut versions = Vec::new();
        for (version, salt) in Version::ALL.into_iter().zip(1..) {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["service", "--version", version.name()]);
            if let Some(seed) = seed {
                // Each version has chances of its own.
                command.args(["--seed", &seed.wrapping_mul(4).wrapping_add(salt).to_string()]);
            }
            let name = format!("shop-{}", version.name());
            let mut process = Process::start(&name, &mut command, &at(&format!("{name}.log")))?;
            versions.push(listening(&mut process).await?);
            processes.push(process);
        }

        let mut command = Command::new(&weir);
        command.args(["serve", "--listen", "127.0.0.1:0", "--decision-interval", "1s", "--ledger"]).arg(at("weir.db"));
        let mut process = Process::start("weir", &mut command, &at("weir.log"))?;
        let controller = listening(&mut process).await?;
        processes.push(process);
        apply(&weir, controller, directory.path(), "shop.yaml", EXPERIMENT)?;

        std::fs::write(at("envoy.yaml"), configuration(&filter, controller, &versions)?)?;
        let mut command = Command::new(envoy);
        command.arg("-c").arg(at("envoy.yaml")).arg("--admin-address-path").arg(at("admin"));
        command.args(["--concurrency", &WORKERS.to_string(), "--disable-hot-restart", "--log-level", "warning"]);
        let mut process = Process::start("envoy", &mut command, &at("envoy.log"))?;
        let admin: SocketAddr = until(&mut process, "Envoy is up", async |_| {
            std::fs::read_to_string(at("admin")).ok()?.trim().parse().ok()
        })
        .await?;
        let envoy = until(&mut process, "Envoy listens", async |_| listener(admin).await).await?;
        processes.push(process);
        Ok(Self { processes, envoy, admin, controller, directory })
    }

    /// Lets the users in.
    pub(crate) fn open(&mut self, rate: u32, seed: Option<u64>) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load", "--target", &self.envoy.to_string(), "--host", HOST, "--rate", &rate.to_string()]);
        if let Some(seed) = seed {
            command.args(["--seed", &seed.wrapping_mul(4).to_string()]);
        }
        self.processes.insert(0, Process::start("users", &mut command, &self.directory.path().join("users.log"))?);
        Ok(())
    }

    /// Fails when something has ended that should run.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.ended() {
                bail!("{} ended ({status}); its last output:\n{}", process.name(), process.tail());
            }
        }
        Ok(())
    }

    /// What the controller says of the experiment; `None` while it does not answer.
    pub(crate) async fn experiment(&self) -> Option<Value> {
        let path = format!("/v1/experiments/{NAME}");
        let reply = client::call(self.controller, "GET", &path, &[], Vec::new()).await.ok()?;
        serde_json::from_slice(&reply.body).ok().filter(|_| reply.status.is_success())
    }

    /// Begins the next experiment on the same service.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        apply(&paths::weir()?, self.controller, self.directory.path(), "next.yaml", NEXT_EXPERIMENT)
    }

    /// Which version one more visitor gets.
    pub(crate) async fn visit(&self) -> Option<String> {
        let host = ("host", HOST);
        let reply = client::call(self.envoy, "GET", "/", &[host], Vec::new()).await.ok()?;
        Some(reply.version().to_owned())
    }

    /// Where logs and the ledger are while it runs.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends everything, politely first.
    pub(crate) fn stop(&mut self) {
        for process in &mut self.processes {
            process.terminate(Duration::from_secs(2));
        }
        self.processes.clear();
    }
}

fn apply(weir: &Path, controller: SocketAddr, directory: &Path, name: &str, document: &str) -> anyhow::Result<()> {
    let file = directory.join(name);
    std::fs::write(&file, document)?;
    let output = Command::new(weir)
        .args(["apply", "-f"])
        .arg(file)
        .env("WEIR_SERVER", format!("http://{controller}"))
        .output()
        .context("cannot run `weir apply`")?;
    ensure!(
        output.status.success(),
        "`weir apply` refused the experiment:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn listener(admin: SocketAddr) -> Option<SocketAddr> {
    let ready = client::call(admin, "GET", "/ready", &[], Vec::new()).await.ok()?;
    let listeners = client::call(admin, "GET", "/listeners?format=json", &[], Vec::new()).await.ok()?;
    let listeners: Value = serde_json::from_slice(&listeners.body).ok().filter(|_| ready.status.is_success())?;
    let port = listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?.as_u64()?;
    Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
}

/// `envoy.yaml` with other ports, so that any number of demos can run.
fn configuration(filter: &Path, controller: SocketAddr, versions: &[SocketAddr]) -> anyhow::Result<String> {
    let mut text = ENVOY.to_owned();
    let mut replace = |from: String, to: String| {
        ensure!(text.matches(&from).count() == 1, "envoy-config/standalone/envoy.yaml should say `{from}` once");
        text = text.replace(&from, &to);
        Ok(())
    };
    let port = |port: u16| format!("port_value: {port}}}");
    replace(port(LISTENER), port(0))?;
    replace(port(ADMIN), port(0))?;
    replace(port(CONTROLLER), port(controller.port()))?;
    for (from, to) in VERSIONS.into_iter().zip(versions) {
        replace(port(from), port(to.port()))?;
    }
    replace("filename: target/weir-filter.wasm".to_owned(), format!("filename: '{}'", filter.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configuration_has_every_port_the_demo_replaces() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let text = configuration(Path::new("/filter.wasm"), address, &[address; 3]).unwrap();
        assert!(text.contains("filename: '/filter.wasm'"));
        assert_eq!(text.matches("port_value: 1}").count(), 4);
    }
}
